package session

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout makes the kernel give up a connection whose peer acknowledges nothing for d: a changed network is
// noticed while data is on its way, not after many minutes.
func setUserTimeout(c *net.TCPConn, d time.Duration) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// unsent gives the number of bytes that the peer has not acknowledged yet.
func unsent(c net.Conn) int {
	n, _ := sendQueue(c, unix.SIOCOUTQ)
	return n
}

// flown says that all bytes, and our end of data, have left for the peer.
func flown(c net.Conn) bool {
	n, ok := sendQueue(c, unix.SIOCOUTQNSD)
	return ok && n == 0
}

func sendQueue(c net.Conn, what uint) (n int, ok bool) {
	t, ok := c.(*net.TCPConn)
	if !ok {
		return 0, false
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return 0, false
	}
	cerr := raw.Control(func(fd uintptr) {
		n, err = unix.IoctlGetInt(int(fd), what)
	})
	return n, cerr == nil && err == nil
}
