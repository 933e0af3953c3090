// Package pool turns file system questions into FTPS dialogue.
//
// It owns the connections to one server (how many, who borrows which, when one is too old), the operations that a file
// system needs of FTP (attributes, listings, changes, downloads, uploads) and the one place where a reply or a
// transport failure becomes a [Kind]. Nothing above this package knows a reply code, a command name or TLS.
//
// Inside the room: wire is the control line, trust decides whom to believe, session is one logged-in control
// connection with its data channels, listing parses what servers say of files, embedded is a small FTPS server for
// the demo and for tests. None of them knows connections in the plural; this package does.
//
// Paths are slash-separated, absolute within the mount ("/" is the folder that the URL names), raw bytes as the server
// sent them. CR, LF, NUL and 0xFF are refused with [KindInvalidName].
//
// It imports nothing of cache, fs or cmd.
package pool
