// Package stage keeps file content on the local disk until the server has it: sparse staging files with range maps, a
// journal, and recovery after a crash. It knows neither FUSE nor FTP.
package stage
