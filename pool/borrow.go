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

// The lanes. Where two connections or more are allowed one is never given to laneTransfer or laneBackground: short
// dialogues, listings and transfers that are known to be short always find it soon.
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

// acquire lends a connection that was alive a moment ago. The caller must release it. Callers of one lane are served in
// order. The error is a ctx error, or an *Error without operation and path.
func (p *Pool) acquire(ctx context.Context, cl claim) (*conn, error) {
	for {
		c, err := p.wait(ctx, cl)
		if err != nil {
			return nil, err
		}
		if p.alive(ctx, c) {
			return c, nil
		}
		p.release(c)
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
		p.release(w.c)
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
	w.signs = p.signs()
	w.pressAt = p.now().Add(pressAfter)
	p.queueLocked(w)
	p.startLocked()
	p.pumpLocked()
	return nil
}

// queueLocked puts a caller behind those who wait already, and ahead of work that nobody waits for.
func (p *Pool) queueLocked(w *waiter) {
	at := len(p.queue)
	if !w.lane.ahead() {
		if i := slices.IndexFunc(p.queue, func(o *waiter) bool { return o.lane.ahead() }); i >= 0 {
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

// alive asks a connection that was silent for long.
func (p *Pool) alive(ctx context.Context, c *conn) bool {
	p.mu.Lock()
	stale := c.stale(p.now())
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

// release gives a connection back, or up if it is not usable any more.
func (p *Pool) release(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
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

// pumpLocked serves the queue: with idle connections, by opening new ones, by asking holders to make room.
func (p *Pool) pumpLocked() {
	if p.closed || len(p.queue) == 0 {
		return
	}
	now := p.now()
	most := p.limit.now(p.cfg.MaxConns, now)
	held, dials, blocked, foreground := p.held, 0, 0, false
	soon := p.aheadSoonLocked(now)
	more := most - len(p.conns) // connections that are being made, or may be
	if now.Before(p.limit.dialAt) {
		more = p.dialing
	}
	later := p.dialing > 0 && len(p.idle) > 0 // what is left for callers meanwhile is for one who waits, in the end
	kept := p.queue[:0]
	for _, w := range p.queue {
		free := room(w.lane, held, most, soon)
		left := free && w.ahead && !w.now && !foreground && !p.spareLocked(now)
		ok := free && (!w.lane.ahead() || !foreground) && !left
		if left && later {
			held[w.lane]++
			later = false
			kept = append(kept, w)
			continue
		}
		if w.ahead && !ok && (!free || dials >= more) {
			w.fail(noSpare())
			continue
		}
		if w.now {
			var c *conn
			if ok {
				c = p.takeReadyLocked(now)
			}
			if c == nil {
				w.fail(noSpare())
				continue
			}
			held[w.lane]++
			p.grantLocked(w, c, now)
			continue
		}
		switch {
		case ok && w.aside && len(p.conns) == 1 && dials < more: // a login later there are two
			held[w.lane]++
			dials++
		case ok:
			held[w.lane]++
			if c := p.takeIdleLocked(now, w.data); c != nil {
				p.grantLocked(w, c, now)
				if w.data && !c.s.SpareReady() && c.inARow(now) && len(p.conns)+p.dialing < min(most, fewConns) {
					dials++ // one transfer follows the other: two connections take turns
				}
				continue
			}
			dials++
		case w.ahead: // behind a caller, or what is there is left for one, and a connection of its own is on its way
			held[w.lane]++
			dials++
		case !w.lane.ahead() && p.mayPressLocked(w, most, now):
			blocked++
		}
		foreground = foreground || !w.lane.ahead()
		kept = append(kept, w)
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	p.dialLocked(dials-(p.dialing-p.slow)-p.serviced, most, now, !foreground)
	p.pressLocked(blocked)
}

// room says whether one more connection may be held for l. soon: what is done ahead in laneAhead is over within a moment.
func room(l lane, held [lanes]int, most int, soon bool) bool {
	transfers := held[laneTransfer] + held[laneBackground]
	free := most - transfers - held[laneMeta] - held[laneShort] - held[laneAhead]
	few := free >= min(3, most) && transfers+held[laneAhead] < most-1
	switch l {
	case laneTransfer:
		return free >= 1 && (most == 1 || transfers < most-1)
	case laneBackground: // leaves one for a dialogue and one for a transfer, where there are so many
		return few
	case laneAhead: // where there are many, whoever comes has one of them in no time
		return few || most >= manyConns && (free >= 2 || free == 1 && soon)
	}
	return free >= 1
}

const (
	// fewConns is how many connections take turns at transfers one after the other.
	fewConns = 4
	// again is how soon a caller comes again who does one thing after the other.
	again = 100 * time.Millisecond
)

// inARow says that the connection was in use just now.
func (c *conn) inARow(now time.Time) bool {
	return now.Sub(c.used) < again && !c.used.Equal(c.born)
}

// takeIdleLocked gives the connection that was used last and is fit, and gives up those found unfit on the way. With data,
// one whose data channel is there goes first.
func (p *Pool) takeIdleLocked(now time.Time, data bool) *conn {
	if data {
		if c := p.takeReadyLocked(now); c != nil {
			return c
		}
	}
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if c.usable(now) && c.s.Healthy() {
			return c
		}
		p.dropLocked(c)
	}
	return nil
}

// takeReadyLocked gives the connection that was used last of those whose data channel is there.
func (p *Pool) takeReadyLocked(now time.Time) *conn {
	for i := len(p.idle) - 1; i >= 0; i-- {
		if c := p.idle[i]; c.ready(now) {
			p.idle = slices.Delete(p.idle, i, i+1)
			return c
		}
	}
	return nil
}

func (p *Pool) grantLocked(w *waiter, c *conn, now time.Time) {
	p.held[w.lane]++
	c.lane, c.press, c.since, c.talks = w.lane, w.press, now, w.lane == laneMeta && !w.list
	w.c = c
	close(w.ready)
}

// dialLocked opens up to n more connections.
func (p *Pool) dialLocked(n, most int, now time.Time, background bool) {
	if now.Before(p.limit.dialAt) {
		p.laterLocked() // at dialAt
		return
	}
	for n = min(n, most-len(p.conns)-(p.dialing-p.slow)); n > 0; n-- {
		if !p.spawnLocked(func() { p.open(background) }) {
			return
		}
		p.dialing++
	}
}

// mayPressLocked says whether w is stuck: behind transfers, or behind something short that is not short.
func (p *Pool) mayPressLocked(w *waiter, most int, now time.Time) bool {
	short := p.held[laneAhead]
	switch {
	case w.lane != laneTransfer:
		short += p.held[laneMeta] + p.held[laneShort]
	case p.held[laneTransfer]+p.held[laneBackground] >= most-1: // the end of something short is of no use
		short = 0
	}
	if short == 0 || !now.Before(w.pressAt) {
		return true
	}
	p.laterLocked() // at pressAt
	return false
}

// pressLocked asks holders to make room until as many were asked as there are callers stuck: work ahead first, then who
// has held longest.
func (p *Pool) pressLocked(blocked int) {
	for p.pressed < blocked {
		var victim *conn
		for c := range p.conns {
			if c.press == nil || c.pressed {
				continue
			}
			if victim == nil || c.lane > victim.lane || c.lane == victim.lane && c.since.Before(victim.since) {
				victim = c
			}
		}
		if victim == nil {
			return
		}
		victim.pressed = true
		p.pressed++
		p.counters.press.Add(1)
		p.spawnLocked(victim.press)
	}
}
