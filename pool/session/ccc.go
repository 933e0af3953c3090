package session

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// clear takes TLS off the control connection (RFC 4217 section 12.3: CCC). Only on the user's demand.
func (s *Session) clear(ctx context.Context) error {
	r, err := s.line.Upgrade(ctx, "CCC", func(below, present net.Conn) (net.Conn, bool, error) {
		c, ok := present.(*tls.Conn)
		if !ok {
			return nil, false, fmt.Errorf("CCC on a connection without TLS")
		}
		return below, false, endTLS(c)
	})
	if err != nil {
		return s.explain(err)
	}
	if !r.OK() {
		return s.refusal("CCC", r)
	}
	return nil
}

// endTLS exchanges close_notify. Some servers never send theirs, so its absence within a moment is no failure.
func endTLS(c *tls.Conn) error {
	if err := c.CloseWrite(); err != nil {
		return fmt.Errorf("end TLS: %w", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(byeTimeout))
	_, _ = io.Copy(io.Discard, io.LimitReader(c, 1))
	return c.NetConn().SetDeadline(time.Time{}) // CloseWrite leaves one in the past
}

// recordConn never reads beyond the TLS record that it is in, so that what follows the last record stays in the socket
// for whoever goes on in clear.
type recordConn struct {
	net.Conn
	header [5]byte // of the present record, as far as it was read
	have   int
	left   int // bytes of its body not read yet
}

// Read gives bytes of one record only.
func (c *recordConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		if len(p) > len(c.header)-c.have {
			p = p[:len(c.header)-c.have]
		}
		n, err := c.Conn.Read(p)
		copy(c.header[c.have:], p[:n])
		if c.have += n; c.have == len(c.header) {
			c.left, c.have = int(binary.BigEndian.Uint16(c.header[3:])), 0
		}
		return n, err
	}
	if len(p) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= n
	return n, err
}
