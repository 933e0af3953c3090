package session

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// dataConn is the TCP connection of a data channel. It puts a bound of no progress on each write and, once it is told
// to, on each read; and it notes what TLS does not tell: whether the peer's FIN was seen, and whether anything came at
// all.
type dataConn struct {
	net.Conn
	timeout time.Duration
	br      *bufio.Reader // made at the first read; used by one reader at a time

	bounded atomic.Bool // reads have a bound each
	fin     atomic.Bool // the peer's FIN was handed up
	heard   atomic.Bool // the peer has sent something
}

// readBuffer holds several TLS records, so that a fast line costs fewer system calls than records.
const readBuffer = 64 << 10

func newDataConn(nc net.Conn, timeout time.Duration) *dataConn {
	return &dataConn{Conn: nc, timeout: timeout}
}

// Read gives io.EOF at the peer's FIN.
func (c *dataConn) Read(p []byte) (int, error) {
	if c.br == nil {
		c.br = bufio.NewReaderSize(boundedReader{c}, readBuffer)
	}
	n, err := c.br.Read(p)
	if n > 0 {
		c.heard.Store(true)
	}
	if err == io.EOF {
		c.fin.Store(true)
	}
	return n, err
}

// boundedReader reads the socket.
type boundedReader struct{ c *dataConn }

func (r boundedReader) Read(p []byte) (int, error) {
	if r.c.bounded.Load() {
		_ = r.c.SetReadDeadline(time.Now().Add(r.c.timeout))
	}
	return r.c.Conn.Read(p)
}

// lookEvery is how often a transfer that does not go on looks whether the send queue gets shorter: often enough that the
// bound is kept within a fraction of a second.
func lookEvery(bound time.Duration) time.Duration {
	return min(max(bound/8, time.Millisecond), 200*time.Millisecond)
}

// Write sends all of p. It goes on as long as the peer takes anything of what is queued: on a slow line the kernel has room
// again only when a good part of a long queue has left.
func (c *dataConn) Write(p []byte) (int, error) {
	queued, since, sent := -1, time.Now(), 0
	for {
		_ = c.SetWriteDeadline(time.Now().Add(lookEvery(c.timeout)))
		n, err := c.Conn.Write(p[sent:])
		sent += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return sent, err
		}
		now, q := time.Now(), unsent(c.Conn)
		if n > 0 || q < queued {
			since = now
		}
		queued = q
		if now.Sub(since) >= c.timeout {
			return sent, err
		}
	}
}

// closeWrite sends a FIN.
func (c *dataConn) closeWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// reset closes so that the peer sees a RST at once: a close in order would let some servers die of a broken pipe.
func (c *dataConn) reset() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
