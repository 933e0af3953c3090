// Package emulate keeps modes and modification times locally where the server cannot (-o emulate=mode+mtime). It stands
// between the pool and everything above, so that all of them see the same: what the server told, with what was kept
// here laid over it.
//
// A time is believed as long as the server's own time and size of the file are those that it had when the time
// was set: a change by another host shows. Other hosts and other programs do not see what is kept here.
package emulate
