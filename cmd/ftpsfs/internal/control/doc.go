// Package control is how other processes of the same user talk to a running mount: a unix socket in a private folder, found
// by the mount point, with HTTP and JSON over it.
//
//	GET  /status           the status as JSON
//	POST /sync             JSON lines: what is waited for, then the outcome
//	POST /umount[?lazy=1]  the same; the connection stays open until the process has ended
package control
