package wire

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Pending is a command that was sent and is not finally answered yet. It has one waiter at a time.
type Pending struct {
	c     *Conn
	cmd   string        // as it may be shown
	ready chan struct{} // capacity 1: something changed

	got      []Reply // guarded by c.mu
	taken    int     // replies handed out. guarded by c.mu
	final    bool    // the last of got is the final one. guarded by c.mu
	anyFinal bool    // after the first reply, any further one is final. guarded by c.mu
	stop     bool    // the reading goroutine ends behind a positive final reply
}

const maxPreliminary = 64

func (c *Conn) newPending(cmd string, stop bool) *Pending {
	return &Pending{c: c, cmd: c.shown(cmd), stop: stop, ready: make(chan struct{}, 1)}
}

func (p *Pending) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// Send writes the commands, each as one line and one TLS record, and returns without waiting for replies. An error means
// that nothing is to be waited for: ErrName, ErrTooLong and ErrClear left the line alone, any other made it unusable.
// ctx bounds the writing.
func (c *Conn) Send(ctx context.Context, cmds ...string) ([]*Pending, error) {
	return c.send(ctx, false, cmds)
}

func (c *Conn) send(ctx context.Context, stop bool, cmds []string) ([]*Pending, error) {
	for _, cmd := range cmds {
		if err := checkCommand(cmd); err != nil {
			return nil, err
		}
		if private(Verb(cmd)) && !c.Secure() {
			return nil, ErrClear
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	defer c.watch(ctx)()
	c.cork.Hold()
	pending := make([]*Pending, 0, len(cmds))
	for _, cmd := range cmds {
		p, err := c.enqueue(cmd, stop)
		if err != nil {
			return nil, err
		}
		pending = append(pending, p)
		if err := c.write(cmd); err != nil {
			return nil, err
		}
	}
	if err := c.flush(); err != nil {
		return nil, err
	}
	_ = c.cork.SetWriteDeadline(time.Time{})
	return pending, nil
}

// watch fails the line when ctx ends before the function that it gives was called. Once that has returned nothing of the kind happens
// any more: the line may be another's by then.
func (c *Conn) watch(ctx context.Context) (unwatch func()) {
	var once sync.Once
	stop := context.AfterFunc(ctx, func() { once.Do(func() { c.fail(ctx.Err()) }) })
	return func() {
		if !stop() {
			once.Do(func() {})
		}
	}
}

// enqueue registers a command before it is written, as its reply may be there before the write returns. c.wmu is held.
func (c *Conn) enqueue(cmd string, stop bool) (*Pending, error) {
	select {
	case c.slots <- struct{}{}:
	default: // as many commands outstanding as we allow: let replies come in
		if err := c.flush(); err != nil {
			return nil, err
		}
		if err := c.awaitSlot(); err != nil {
			return nil, err
		}
		c.cork.Hold()
	}
	if v, arg, ok := strings.Cut(cmd, " "); ok && secret(Verb(v)) {
		c.AddSecret(arg)
	}
	p := c.newPending(cmd, stop)
	c.logCommand(p.cmd)
	if c.o.Counter != nil {
		c.o.Counter.Command(Verb(cmd))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		<-c.slots
		return nil, c.err
	}
	c.queue = append(c.queue, p)
	return p, nil
}

// awaitSlot waits until the number of outstanding commands goes down.
func (c *Conn) awaitSlot() error {
	t := time.NewTimer(c.o.Timeout)
	defer t.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-c.dead:
	case <-t.C:
		c.fail(ErrTimeout)
	}
	return c.Err()
}

// write hands one command to the transport. c.wmu is held.
func (c *Conn) write(cmd string) error {
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.o.Timeout))
	_, err := c.nc.Write([]byte(cmd + "\r\n"))
	return c.writeFailed(err)
}

// flush sends what write gathered. c.wmu is held.
func (c *Conn) flush() error {
	_ = c.cork.SetWriteDeadline(time.Now().Add(c.o.Timeout))
	return c.writeFailed(c.cork.Flush())
}

func (c *Conn) writeFailed(err error) error {
	if err == nil {
		return nil
	}
	c.fail(lineError(err))
	return c.Err()
}

type boundKey struct{}

// WithBound replaces Options.Timeout for waits under ctx: for commands that may rightly take longer (a hash of a large
// file, the end of a large upload).
func WithBound(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, boundKey{}, d)
}

func (c *Conn) bound(ctx context.Context) time.Duration {
	if d, ok := ctx.Value(boundKey{}).(time.Duration); ok {
		return d
	}
	return c.o.Timeout
}

// Wait gives the next reply to the command: a preliminary one or the final one. It counts as a wait if the reply is not
// there yet. When ctx ends or the bound passes without progress the line becomes unusable, as a reply is owed.
func (p *Pending) Wait(ctx context.Context) (Reply, error) {
	if r, ok := p.next(); ok {
		return r, nil
	}
	p.c.CountWait(ctx)
	return p.await(ctx)
}

// waitOn is Wait within a round trip that was counted already.
func (p *Pending) waitOn(ctx context.Context) (Reply, error) {
	if r, ok := p.next(); ok {
		return r, nil
	}
	return p.await(ctx)
}

// WaitFinal gives the final reply, passing over preliminary ones.
func (p *Pending) WaitFinal(ctx context.Context) (Reply, error) {
	counted := false
	return p.waitFinal(ctx, &counted)
}

// JoinFinal is WaitFinal for a reply that comes in a round trip that was counted already: nothing was sent since that
// the server waits for.
func (p *Pending) JoinFinal(ctx context.Context) (Reply, error) {
	counted := true
	return p.waitFinal(ctx, &counted)
}

// waitFinal counts a wait unless counted says that it was; it is set when it is.
func (p *Pending) waitFinal(ctx context.Context, counted *bool) (Reply, error) {
	for {
		r, ok := p.next()
		if !ok {
			if !*counted {
				p.c.CountWait(ctx)
				*counted = true
			}
			var err error
			if r, err = p.await(ctx); err != nil {
				return Reply{}, err
			}
		}
		if p.Done() || !r.Preliminary() {
			return r, nil
		}
	}
}

// CountWait tells the counter that somebody waits for the peer.
func (c *Conn) CountWait(ctx context.Context) {
	if c.o.Counter != nil {
		c.o.Counter.Wait(IsBackground(ctx))
	}
}

// next takes a reply that is there already.
func (p *Pending) next() (Reply, bool) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	if p.taken == len(p.got) {
		return Reply{}, false
	}
	p.taken++
	return p.got[p.taken-1], true
}

// Done says that the final reply was taken.
func (p *Pending) Done() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.final && p.taken == len(p.got)
}

// Ready says that a reply can be taken without waiting.
func (p *Pending) Ready() bool {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	return p.taken < len(p.got)
}

// await blocks until there is a reply. Progress is the final reply to another command, of which there are only so many, and any byte
// on the line; what arrives more slowly than `slowest` in the long run is none.
func (p *Pending) await(ctx context.Context) (Reply, error) {
	c := p.c
	bound := c.bound(ctx)
	start, before := time.Now(), c.arrived.Load()
	t := time.NewTimer(bound)
	defer t.Stop()
	for {
		select {
		case <-p.ready:
		case <-c.dead:
		case <-ctx.Done():
			if r, ok := p.next(); ok {
				return r, nil
			}
			c.fail(ctx.Err())
			return Reply{}, ctx.Err()
		case now := <-t.C:
			if at := c.answered.Load(); at > start.UnixNano() {
				start, before = time.Unix(0, at), c.arrived.Load()
			}
			quiet := min(now.Sub(start), now.Sub(time.Unix(0, c.lastByte.Load())))
			earned := time.Duration(c.arrived.Load()-before) * time.Second / slowest
			left := bound - max(quiet, now.Sub(start)-earned)
			if left > 0 {
				t.Reset(left)
				continue
			}
			c.fail(ErrTimeout)
		}
		if r, ok := p.next(); ok {
			return r, nil
		}
		if err := c.Err(); err != nil {
			return Reply{}, err
		}
	}
}

// Abandon says that the command's work was cut off: whatever comes next, even a 1yz, is its final reply (one server
// ends an aborted transfer with a 150).
func (p *Pending) Abandon() {
	c := p.c
	c.mu.Lock()
	defer c.mu.Unlock()
	p.anyFinal = true
	if !p.final && len(p.got) > 1 && len(c.queue) > 0 && c.queue[0] == p {
		c.finishLocked(p)
	}
}

// Command gives the command as it may be shown.
func (p *Pending) Command() string { return p.cmd }

// Flight sends all commands, then gives the final reply of each, in order. A refusal is a reply here, not an error. It
// counts as one wait. An error other than ErrName, ErrTooLong and ErrClear leaves the line unusable.
func (c *Conn) Flight(ctx context.Context, cmds ...string) ([]Reply, error) {
	pending, err := c.Send(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	return Collect(ctx, pending)
}

// Collect gives the final replies of commands that were sent together, as one wait.
func Collect(ctx context.Context, pending []*Pending) ([]Reply, error) {
	replies, _, err := collect(ctx, pending)
	return replies, err
}

// Begin gives the final replies of all commands but the last, and the first reply to that, of commands that were sent
// together: one wait.
func Begin(ctx context.Context, pending []*Pending) (told []Reply, first Reply, err error) {
	last := pending[len(pending)-1]
	told, counted, err := collect(ctx, pending[:len(pending)-1])
	if err != nil {
		return told, Reply{}, err
	}
	if counted {
		first, err = last.waitOn(ctx)
	} else {
		first, err = last.Wait(ctx)
	}
	return told, first, err
}

func collect(ctx context.Context, pending []*Pending) (_ []Reply, counted bool, _ error) {
	replies := make([]Reply, 0, len(pending))
	for _, p := range pending {
		r, err := p.waitFinal(ctx, &counted)
		if err != nil {
			return replies, counted, err
		}
		replies = append(replies, r)
	}
	return replies, counted, nil
}

// Notify has an element when something changed since the last wait. It is for selecting beside other events; what came
// is taken with Wait.
func (p *Pending) Notify() <-chan struct{} { return p.ready }
