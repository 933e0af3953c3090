package wire

import (
	"context"
	"net"
)

// Upgrade sends cmd ("AUTH TLS", "CCC") and, if the reply is positive, lets wrap change the transport before anything
// else is read or written. wrap gets the connection below (in clear) and the present one, and returns the new one and
// whether it is TLS. Bytes that came behind the reply already end the line with ErrInjected: whoever put them there
// wants them to be taken for protected ones (the STARTTLS injection).
//
// A reply that is not positive is returned with a nil error and leaves the line as it was.
func (c *Conn) Upgrade(ctx context.Context, cmd string, wrap func(below, present net.Conn) (net.Conn, bool, error)) (Reply, error) {
	pending, err := c.send(ctx, true, []string{cmd})
	if err != nil {
		return Reply{}, err
	}
	r, err := pending[0].WaitFinal(ctx)
	if err != nil || !r.OK() {
		return r, err
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	<-c.reader // ends behind this reply
	if err := c.Err(); err != nil {
		return r, err
	}
	if c.br.Buffered() > 0 {
		c.fail(ErrInjected)
		return r, ErrInjected
	}
	nc, secure, err := wrap(c.cork, c.nc)
	if err != nil {
		c.fail(err)
		return r, err
	}
	c.nc = nc
	c.mu.Lock()
	c.secure = secure
	c.mu.Unlock()
	c.startReader(nc)
	return r, nil
}
