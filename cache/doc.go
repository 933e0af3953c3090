// Package cache remembers listings, attributes and absences in an LRU with expiry and a byte budget. It knows neither
// the kernel nor FTP replies, and only it knows golang-lru.
package cache
