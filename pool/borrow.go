package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// lane says what a connection is wanted for.
type lane uint8

// The lanes. Where two connections or more are allowed one is never given to laneTransfer, nor to laneBackground while callers come: short
// dialogues, listings and transfers that are known to be short always find it soon. After half a second without any laneBackground may have all of
// them, and gives one back to the first who comes.
const (
	laneMeta       lane = iota // a dialogue of a few round trips, or a listing
	laneShort                  // a transfer known to be short
	laneTransfer               // a transfer of any length
	laneAhead                  // a dialogue, a listing or a short transfer that nobody asked for yet
	laneBackground             // a transfer of any length that nobody asked for yet
	lanes
)

// ahead says that nobody waits for the work.
func (l lane) ahead() bool { return l >= laneAhead }

// pressAfter is how long a caller waits for something short of another to end before holders are asked to make room.
const pressAfter = 250 * time.Millisecond

var (
	errClosed = &Error{Kind: KindClosed}
	errBusy   = errors.New("no connection became free")
	errDeaf   = fmt.Errorf("%w, and nothing was heard from the server", errBusy)
)

// laneOf gives the lane of a dialogue.
func laneOf(ctx context.Context) lane {
	if wire.IsBackground(ctx) {
		return laneAhead
	}
	return laneMeta
}

// claim is a wish for a connection.
type claim struct {
	lane  lane
	press func() // how to ask the future holder to make room; nil: it cannot
	first bool   // a failed connect is the answer, do not wait for a better time
	ahead bool   // fails rather than wait while others need the connections
	aside bool   // leaves the only connection alone
	now   bool   // fails unless a connection is idle and has its data channel
	data  bool   // a transfer: a connection with its data channel made ahead is as good as two round trips
	list  bool   // a listing, which is a dialogue by its lane
	far   int64  // in laneBackground: what is less far from being needed goes first
	// share is the time of an operation whose commands may go behind others' of that kind on one connection. nil: it wants one for itself.
	share *budget
}

// waiter is a caller in the queue. It gets a connection or an error, once.
type waiter struct {
	claim
	wish    *wish         // of work ahead; nil: none
	ready   chan struct{} // closed when c or err is set
	c       *conn         // set under Pool.mu before ready is closed
	err     error
	signs   int64     // of life of the server until it queued
	pressAt time.Time // when it may ask others to make room although short dialogues are under way
}

func (w *waiter) fail(err error) {
	w.err = err
	close(w.ready)
}

// acquire lends a connection that was alive a moment ago, to one caller or to several that share it. The caller must release it.
// Callers of one lane are served in order. The error is a ctx error, or an *Error without operation and path.
func (p *Pool) acquire(ctx context.Context, cl claim) (*conn, error) {
	for {
		c, err := p.wait(ctx, cl)
		if err != nil {
			return nil, err
		}
		if p.alive(ctx, c) {
			return c, nil
		}
		p.leave(c, cl.share)
	}
}

// wait queues for a connection.
func (p *Pool) wait(ctx context.Context, cl claim) (*conn, error) {
	w := &waiter{claim: cl, ready: make(chan struct{})}
	if w.ahead {
		w.wish, _ = ctx.Value(wishKey{}).(*wish)
	}
	if err := p.enqueue(w); err != nil {
		return nil, err
	}
	select {
	case <-w.ready:
		return w.c, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.queue, w); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		err := p.waitedInVainLocked(ctx, w)
		p.pumpLocked()
		p.mu.Unlock()
		return nil, err
	}
	p.mu.Unlock()
	<-w.ready // it was served at the last moment
	if w.c != nil {
		p.leave(w.c, w.share)
	}
	return nil, context.Cause(ctx)
}

func (p *Pool) enqueue(w *waiter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.wish != nil && w.wish.wanted {
		w.callers()
	}
	switch {
	case p.closed:
		return errClosed
	case w.lane.ahead() && p.limit.now(p.cfg.MaxConns, p.now()) < 2:
		return noSpare()
	case len(p.conns) == 0 && p.limit.err != nil && hopeless(p.limit.err.Kind) && p.now().Before(p.limit.dialAt):
		return p.limit.err
	}
	now := p.now()
	w.signs = p.signs()
	w.pressAt = now.Add(pressAfter)
	if !w.lane.ahead() {
		p.called = now
	}
	p.queueLocked(w)
	p.startLocked()
	p.pumpLocked()
	p.counters.noteQueued(w)
	return nil
}

// queueLocked puts a caller behind those who wait already, and ahead of work that nobody waits for; a transfer of that kind ahead of those that
// are needed later.
func (p *Pool) queueLocked(w *waiter) {
	at := len(p.queue)
	if !w.lane.ahead() {
		if i := slices.IndexFunc(p.queue, func(o *waiter) bool { return o.lane.ahead() }); i >= 0 {
			at = i
		}
	}
	if w.lane == laneBackground {
		if i := slices.IndexFunc(p.queue, func(o *waiter) bool { return o.lane == laneBackground && o.far > w.far }); i >= 0 {
			at = i
		}
	}
	p.queue = slices.Insert(p.queue, at, w)
}

// signs counts what the server gave as signs of life: answers, content taken and given.
func (p *Pool) signs() int64 {
	return p.silence.words() + p.counters.bytesIn.Load() + p.counters.bytesOut.Load()
}

// waitedInVainLocked says why there was no connection for w within ctx.
func (p *Pool) waitedInVainLocked(ctx context.Context, w *waiter) error {
	cause := context.Cause(ctx)
	switch {
	case w.lane.ahead():
		return noSpare()
	case errors.Is(cause, context.Canceled):
		return cause
	}
	switch e := p.limit.err; {
	case e == nil:
	case e.Kind == KindNetwork: // it was tried for as long as there was time
		return &Error{Kind: KindTimeout, Err: e, Advice: e.Advice}
	default:
		return e
	}
	if p.signs() == w.signs { // nobody got any further
		return &Error{Kind: KindTimeout, Err: errDeaf}
	}
	kind := KindTimeout
	if p.limit.learned > 0 && p.limit.said && !p.silence.now() {
		kind = KindLimit
	}
	return &Error{Kind: kind, Err: errBusy}
}

// checkTime is how long an idle connection that is asked may take to answer: so short that an operation which waits for it
// has time for another connection.
func (p *Pool) checkTime() time.Duration { return min(checkBound, p.cfg.Timeout/3) }

// alive asks a connection that was silent for long. Others may share it only while it is no such one.
func (p *Pool) alive(ctx context.Context, c *conn) bool {
	p.mu.Lock()
	stale := len(c.sharers) < 2 && c.stale(p.now())
	p.mu.Unlock()
	if !stale {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, p.checkTime())
	defer cancel()
	return c.s.KeepAlive(ctx) == nil && p.proved(c)
}

// proved notes that the connection answered just now.
func (p *Pool) proved(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.proven = p.now()
	return true
}

// leave is release by one who may have shared the connection, with the time of his operation. The last one gives it back. While it
// lives the others' time begins anew: the server is getting on.
func (p *Pool) leave(c *conn, b *budget) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(c.sharers, b)
	if len(c.sharers) == 0 {
		c.sharers = nil
		p.releaseLocked(c)
		return
	}
	c.used = p.now()
	if c.s.Healthy() {
		for other := range c.sharers {
			other.progress()
		}
	}
	p.pumpLocked()
}

// release gives a connection back, or up if it is not usable any more.
func (p *Pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.releaseLocked(c)
}

func (p *Pool) releaseLocked(c *conn) {
	now := p.now()
	p.held[c.lane]--
	if c.talks {
		p.talked = now
	}
	if c.lane == laneAhead {
		p.lasted += (now.Sub(c.since) - p.lasted) / 4
	}
	if c.pressed {
		p.pressed--
	}
	c.press, c.pressed, c.since = nil, false, time.Time{}
	p.rememberLocked(c)
	if _, ours := p.conns[c]; !ours {
		return
	}
	c.used = now
	if p.closed || !c.usable(now) || len(p.conns) > p.limit.now(p.cfg.MaxConns, now) {
		p.dropLocked(c)
	} else {
		c.proven = now
		p.idle = append(p.idle, c)
	}
	p.pumpLocked()
	p.poke()
}
