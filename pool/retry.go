package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// maxTries bounds attempts that reached a server and failed there. Failed connects are not among them: those are tried
// again in the queue as long as there is time.
const (
	maxTries = 8
	// maxGarbage bounds those that a server answered with what is no FTP: it will say the same again.
	maxGarbage = 3
)

// call is one operation: what it is, and what may be done when a connection fails in the middle of it.
type call struct {
	op, path string
	claim    claim
	share    bool // one flight of commands, or several: others' may be on their way on the same connection. For do only
	// settle is asked, for an operation that must not be repeated blindly, what became of it: done with its result, or not
	// done, to be tried again. It is asked on another connection. nil: repeating does no harm.
	settle func(ctx context.Context) (done bool, err error)
}

// budget is the time that an operation has, retries included: a bound on doing no progress.
type budget struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	bound    time.Duration
	short    bool  // it began with less than bound, the server being silent
	received int64 // bytes of listings; of whoever runs the operation
	// unwanted: work ahead whose connection a caller has waited for long enough.
	unwanted atomic.Bool
}

// newBudget gives an operation its time, within ctx and the pool's life.
func (p *Pool) newBudget(ctx context.Context) *budget {
	b := &budget{bound: p.cfg.Timeout}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	first := p.silence.wait(b.bound, p.now())
	b.short = first < b.bound
	b.timer = time.AfterFunc(first, func() { b.cancel(context.DeadlineExceeded) })
	return b
}

// progress starts the time anew.
func (b *budget) progress() { b.timer.Reset(b.bound) }

// grudging is how long work ahead that is not wanted any more may go on without getting further.
const grudging = 500 * time.Millisecond

// giveWay ends work ahead with its next bytes, so that the connection lives, or without it when none come.
func (b *budget) giveWay() {
	b.unwanted.Store(true)
	time.AfterFunc(grudging, func() { b.cancel(noSpare()) })
}

func (b *budget) end() {
	b.timer.Stop()
	b.cancel(context.Canceled)
}

// do runs fn on a connection, and again on another when the connection failed. fn leaves the connection in step or
// poisoned. The error is nil or an *Error.
func (p *Pool) do(ctx context.Context, cl call, fn func(ctx context.Context, c *conn) error) error {
	b := p.newBudget(ctx)
	defer b.end()
	if cl.share {
		cl.claim.share = b
	}
	c, err := p.borrow(b, cl, fn)
	if err != nil {
		return p.fail(b.ctx, cl.op, cl.path, err)
	}
	p.leave(c, cl.claim.share)
	return nil
}

// borrow is do that keeps the connection: on success the caller must release it. Its errors are raw.
func (p *Pool) borrow(b *budget, cl call, fn func(ctx context.Context, c *conn) error) (*conn, error) {
	fresh, doubt := false, false
	for try := 1; ; try++ {
		c, err := p.acquire(b.ctx, cl.claim)
		if err != nil {
			return nil, err
		}
		if b.short && !p.silence.now() {
			b.short = false
			b.progress()
		}
		first := p.firstUse(c)
		err = fn(b.ctx, c)
		p.heard(err)
		if err == nil {
			return c, nil
		}
		lost := c.s.Poisoned() != nil
		reuse := p.sessionReuse(err)
		p.leave(c, cl.claim.share)
		switch {
		case reuse && fresh && !p.carried():
			return nil, p.reuseError(err)
		case reuse && !fresh:
			// Tickets die of age, and all connections are about as old: a new one is tried, once.
			fresh = true
			p.retireAll()
		case reuse:
		case notSent(err), said(err), errors.Is(err, errEndless), errors.Is(err, errNoSpare), !lost && !dataFailed(err):
			if doubt { // what an attempt had sent before it was lost may have been read behind the look at what became of it
				if done, serr := cl.settle(b.ctx); done || serr != nil {
					return p.settled(b, cl, serr)
				}
			}
			return nil, err
		}
		if b.ctx.Err() != nil || try == maxTries || try >= maxGarbage && transportKind(err) == KindProtocol {
			return nil, err
		}
		p.counters.retries.Add(1)
		p.log.Debug("again", "op", cl.op, "path", cl.path, "try", try, "err", err)
		if first || try > 1 { // an old connection may have died while it was idle: no reason to wait
			if !pause(b.ctx, jitter(exponential(firstBackOff, lastBackOff, try))) {
				return nil, err
			}
		}
		if cl.settle != nil && !reuse {
			if done, err := cl.settle(b.ctx); done || err != nil {
				return p.settled(b, cl, err)
			}
			doubt = true
		}
	}
}

// heard notes that the server answers.
func (p *Pool) heard(err error) {
	if err == nil || said(err) {
		p.silence.end()
	}
}

// settled ends an operation that was found done: the caller expects a connection to release.
func (p *Pool) settled(b *budget, cl call, err error) (*conn, error) {
	if err != nil {
		return nil, err
	}
	return p.acquire(b.ctx, cl.claim)
}

// firstUse says that nothing was done with the connection yet.
func (p *Pool) firstUse(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.used.Equal(c.born)
}

// notSent says that err came before anything was sent.
func notSent(err error) bool {
	return errors.Is(err, wire.ErrName) || errors.Is(err, wire.ErrTooLong)
}

// said says that err is the server's answer to what was asked, also where the session was lost over it.
func said(err error) bool {
	var refused *wire.ReplyError
	return errors.As(err, &refused) && !dataFailed(err) && (refused.Reply.Code != 421 || judge(refused.Reply).kind == KindTLSPolicy)
}

// pause waits, and reports false when ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// flight sends commands and reads their replies, refusals among them.
func (c *conn) flight(ctx context.Context, cmds ...string) ([]wire.Reply, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	return c.s.Flight(ctx, cmds...)
}

// transfer starts a transfer and counts what it found ready.
func (p *Pool) transfer(ctx context.Context, c *conn, r session.TransferRequest) (*session.Data, error) {
	if c.s.HasSpare() {
		p.counters.sparesUsed.Add(1)
	}
	r.Next = !p.cfg.Session.Active
	d, err := c.s.Transfer(ctx, r)
	if err != nil {
		return nil, err
	}
	p.counters.transfers.Add(1)
	if !p.cfg.Session.ProtClear {
		p.counters.handshakes.Add(1)
		if d.Resumed() {
			p.counters.resumptions.Add(1)
		}
	}
	return d, nil
}
