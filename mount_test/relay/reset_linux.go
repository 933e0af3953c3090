package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// wasReset says that the peer reset the connection, whether or not what it had sent before was read.
func wasReset(c *net.TCPConn) bool {
	const closed = 7 // TCP_CLOSE of the kernel
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); cerr != nil || err != nil {
		return true
	}
	return info.State == closed
}
