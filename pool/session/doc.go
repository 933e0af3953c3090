// Package session is one logged-in FTPS control connection and its data channels.
//
// github.com/jlaffaye/ftp speaks the session (greeting, login, FEAT, TYPE, PBSZ, PROT and one-line commands) over our
// own transport: we dial, do TLS and own every byte; raw and pipelined commands share the line with the library. A
// session has one user at a time; it knows nothing of other sessions, of retries or of limits.
package session
