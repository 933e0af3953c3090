// Package options turns a command line into what the user asked for: the URL, the mount point and the values of all
// options, checked. It opens no file and no connection; it knows the types of the rooms below and nothing of how they
// are put together.
//
// The options are rows of one table (table.go); the man page and `ftpsfs help` are tested against it.
package options
