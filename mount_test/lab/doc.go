// Package lab starts real FTPS servers for tests: vsftpd, ProFTPD, Pure-FTPd, and the embedded one as `ftpsfs demo`,
// each with its own folder, its own ports and a throwaway certificate authority. setup.sh beside this folder installs
// what it needs. It imports nothing of the project, so the tests of every room may use it.
//
// vsftpd and ProFTPD are run as they are strictest: a data channel must resume the TLS session of its own control
// channel. ProFTPD gets no TLSSessionCache, because with one its children crash or send data in clear under TLS 1.3.
//
// A server belongs to the test that started it and ends with it. All functions may be called from several
// goroutines, but one Server belongs to one test at a time.
package lab
