// Package mountpoint looks at folders that are, or are about to be, mount points: whether one will do, what is mounted there,
// who uses it, and how to get rid of it.
package mountpoint
