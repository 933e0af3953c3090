package relay

import (
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disconnect resets the connection, also while another process has a copy of the descriptor: close(2) says nothing to the peer before the last
// copy is closed. A test that starts a program while it has files of a frozen mount open leaves it standing on its way into execve(2), where
// the kernel closes those, with copies of all sockets (connect(2): AF_UNSPEC dissolves).
func disconnect(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	nowhere := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_ = raw.Control(func(fd uintptr) { // fails only on a closed connection
		_, _, _ = unix.Syscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&nowhere)), unsafe.Sizeof(nowhere))
	})
}

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
