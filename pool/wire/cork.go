package wire

import (
	"net"
	"sync"
)

// cork gathers writes, so that many small TLS records travel in few segments and cost few system calls. While it is
// out, writes pass directly.
type cork struct {
	net.Conn

	mu   sync.Mutex // held across the network: it keeps the records in order
	buf  []byte     // guarded by mu
	hold bool       // guarded by mu
}

const corkSize = 16 << 10

// Write sends b, or keeps a copy while the cork is in.
func (c *cork) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.hold {
		return c.Conn.Write(b)
	}
	c.buf = append(c.buf, b...)
	if len(c.buf) < corkSize {
		return len(b), nil
	}
	if err := c.flushLocked(); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Hold puts the cork in.
func (c *cork) Hold() {
	c.mu.Lock()
	c.hold = true
	c.mu.Unlock()
}

// Flush takes the cork out and sends what it held.
func (c *cork) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = false
	return c.flushLocked()
}

func (c *cork) flushLocked() error {
	if len(c.buf) == 0 {
		return nil
	}
	_, err := c.Conn.Write(c.buf)
	c.buf = c.buf[:0]
	return err
}
