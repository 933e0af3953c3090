package main

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func pidfdOpen(pid int) (int, error) { return unix.PidfdOpen(pid, 0) }

// pollIn waits until fd can be read; a pidfd can when its process has ended.
func pollIn(fd int, timeout time.Duration) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(timeout.Milliseconds()))
		if err != unix.EINTR {
			return err == nil && n == 1
		}
	}
}

// notify is systemd's end of sd_notify(3).
type notify struct {
	name string
	conn *net.UnixConn
}

func newNotify(t *testing.T, name string) *notify {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &notify{name, conn}
}

// next is the next state that a service told, "" if there is none within a time.
func (n *notify) next(t *testing.T) string {
	t.Helper()
	b := make([]byte, 4096)
	if err := n.conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c, err := n.conn.Read(b)
	if err != nil {
		t.Error(err)
	}
	return string(b[:c])
}
