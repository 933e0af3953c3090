// Package relay is a TCP relay between a client and an FTP server on loopback addresses. It counts, delays, throttles,
// cuts, resets, freezes, corrupts and records what passes, control and data connections apart, under a test's control.
//
// EPSV names only a port, so a client connects for data to the address that it knows as the server's: the relay
// listens on an address of its own (127.0.0.2, or ::1 before a server on 127.0.0.1) on the server's control port and
// all of its passive ports, and forwards each to the same port of the server.
//
// The control channel is encrypted, so commands cannot be seen: faults fire at byte counts, at the n-th connection of
// a kind, or when the test says so.
//
// What a delay cannot imitate: the kernel answers a connect at once. The round trip of connecting is charged to the
// first bytes of the connection instead, which is the same for who talks at once.
//
// It imports nothing of the project. All methods may be called from any goroutine.
package relay
