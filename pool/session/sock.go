package session

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Keep-alive probes: a peer that vanished without a word is noticed within about a minute.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// dialTCP connects to address within ctx.
func (c *Config) dialTCP(ctx context.Context, address string) (net.Conn, error) {
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext
	}
	nc, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if t, ok := nc.(*net.TCPConn); ok {
		setUserTimeout(t, c.Timeout)
	}
	return nc, nil
}

// alive looks whether the peer of a connection that nobody reads from at present is still there, without waiting. Before
// TLS has begun, a peer that says something is not what it should be. Connections that are no sockets are believed.
func alive(nc net.Conn, begun bool) bool {
	t, ok := nc.(*net.TCPConn)
	if !ok {
		return true
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	good := false
	err = raw.Control(func(fd uintptr) { // not Read, which would wait for a handshake's goroutine
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		good = errors.Is(err, unix.EAGAIN) || err == nil && n > 0 && begun
	})
	return err == nil && good
}
