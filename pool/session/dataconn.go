package session

import (
	"bufio"
	"io"
	"net"
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

// Write sends all of p; the bound is for each call, of which TLS makes one per record.
func (c *dataConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.timeout))
	return c.Conn.Write(p)
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
