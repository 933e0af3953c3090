package pool

import (
	"slices"
	"time"
)

// pumpLocked serves the queue: with idle connections, by opening new ones, by asking holders to make room.
func (p *Pool) pumpLocked() {
	if p.closed || len(p.queue) == 0 {
		return
	}
	r := p.roundLocked()
	kept := p.queue[:0]
	for _, w := range p.queue {
		if r.staysLocked(w) {
			kept = append(kept, w)
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
	p.dialLocked(r.dials-(p.dialing-p.slow)-p.serviced, r.most, r.now, !r.foreground)
	p.pressLocked(r.blocked)
}

// round is one pass over the queue. Pool.mu is held from its beginning to its end.
type round struct {
	p    *Pool
	now  time.Time
	most int // connections that are allowed
	more int // that are being made, or may be
	calm calm
	kept bool       // one that comes while others are being made is kept for a question ahead already
	held [lanes]int // the pool's, and what was given or promised in this round

	foreground bool // a caller stays in the queue
	alone      bool // and is to have the next connection that comes free: those that are shared have to come to an end
	dials      int  // connections wanted besides those that are there
	blocked    int  // callers who need that somebody makes room
}

func (p *Pool) roundLocked() *round {
	now := p.now()
	r := &round{p: p, now: now, most: p.limit.now(p.cfg.MaxConns, now), calm: p.calmLocked(now), held: p.held}
	r.more = r.most - len(p.conns)
	if now.Before(p.limit.dialAt) {
		r.more = p.dialing
	}
	r.kept = p.dialing == 0 || len(p.idle) == 0
	return r
}

// staysLocked serves w, or refuses it, as far as that can be done now, and says whether it stays in the queue.
func (r *round) staysLocked(w *waiter) bool {
	free := room(w.lane, r.held, r.most, r.calm)
	switch {
	case w.now:
		return r.atOnceLocked(w, free)
	case w.ahead:
		return r.aheadLocked(w, free)
	case w.lane.ahead():
		return !free || r.foreground || !r.lendLocked(w)
	case free && r.lendLocked(w), !free && w.share != nil && r.joinLocked(w):
		return false
	case !free && r.p.mayPressLocked(w, r.most, r.now):
		r.blocked++
	}
	r.foreground = true
	r.alone = r.alone || r.awaitsShared(w, free)
	return true
}

// maxSharers is how many have their commands on the way to the server on one connection: who comes later waits for all of theirs.
const maxSharers = 16

// joinLocked lets w, for whom there is no connection, send its commands behind those of others: they are all on their way in the same
// round trip.
func (r *round) joinLocked(w *waiter) (joined bool) {
	if r.alone {
		return false
	}
	var best *conn
	for c := range r.p.conns {
		n := len(c.sharers)
		fit := n > 0 && n < maxSharers && c.usable(r.now) && !c.stale(r.now) && c.s.Healthy()
		if fit && (best == nil || n < len(best.sharers)) {
			best = c
		}
	}
	if best == nil {
		return false
	}
	best.sharers[w.share] = struct{}{}
	r.p.counters.shared.Add(1)
	w.c = best
	close(w.ready)
	return true
}

// awaitsShared says whether w, who stays in the queue, would have a connection that is shared now as soon as it came free, and has no
// other one on its way.
func (r *round) awaitsShared(w *waiter, free bool) bool {
	switch {
	case w.share != nil:
		return false
	case free:
		return r.dials > r.more
	}
	held := r.held
	held[laneMeta]--
	return room(w.lane, held, r.most, r.calm)
}

// atOnceLocked serves a question ahead that is not to wait.
func (r *round) atOnceLocked(w *waiter, free bool) (stays bool) {
	var c *conn
	if free && !r.foreground {
		c = r.p.takeReadyLocked(r.now)
	}
	if c == nil {
		w.fail(noSpare())
		return false
	}
	r.held[w.lane]++
	r.p.grantLocked(w, c, r.now)
	return false
}

// aheadLocked serves a question that nobody waits for yet. Where a caller is in the queue, or what is there is left for one, it
// waits for a connection that is made for it, or fails where none can be.
func (r *round) aheadLocked(w *waiter, free bool) (stays bool) {
	spare := free && !r.foreground && r.p.spareLocked(r.now)
	switch {
	case spare && (!w.aside || len(r.p.conns) != 1 || r.dials >= r.more):
		return !r.lendLocked(w)
	case spare: // beside the only connection: a login later there are two
	case free && !r.foreground && !r.kept: // what is left for callers meanwhile is for one who waits, in the end
		r.kept = true
		r.held[w.lane]++
		return true
	case !free || r.dials >= r.more:
		w.fail(noSpare())
		return false
	}
	r.held[w.lane]++
	r.dials++
	return true
}

// lendLocked gives w an idle connection, or counts the one that has to be made for it.
func (r *round) lendLocked(w *waiter) (lent bool) {
	r.held[w.lane]++
	c := r.p.takeIdleLocked(r.now, w.data)
	if c == nil {
		r.dials++
		return false
	}
	r.p.grantLocked(w, c, r.now)
	if w.data && !c.s.SpareReady() && c.inARow(r.now) && len(r.p.conns)+r.p.dialing < min(r.most, fewConns) {
		r.dials++ // one transfer follows the other: two connections take turns
	}
	return true
}

// calm is what decides whether the last connections are left for whoever may come.
type calm struct {
	soon  bool // what is done ahead in laneAhead is over within a moment
	quiet bool // no caller has come for some time
}

func (p *Pool) calmLocked(now time.Time) calm {
	return calm{soon: p.aheadSoonLocked(now), quiet: !now.Before(p.called.Add(quiet))}
}

// room says whether one more connection may be held for l.
func room(l lane, held [lanes]int, most int, calm calm) bool {
	transfers := held[laneTransfer] + held[laneBackground]
	free := most - transfers - held[laneMeta] - held[laneShort] - held[laneAhead]
	switch l {
	case laneTransfer:
		return free >= 1 && (most == 1 || transfers < most-1)
	case laneBackground:
		// Leaves one, for a dialogue, while there are any. A transfer that comes asks one of these to make room, which costs it a cut; so
		// does the first dialogue after a while. Leaving one for these as well would cost a large file a flow at all times, which with
		// few connections is much.
		return free >= 2 || free == 1 && calm.quiet
	case laneAhead: // where there are many, whoever comes has one of them in no time
		few := free >= min(3, most) && transfers+held[laneAhead] < most-1
		return few || most >= manyConns && (free >= 2 || free == 1 && calm.soon)
	}
	return free >= 1
}

const (
	// fewConns is how many connections take turns at transfers one after the other.
	fewConns = 4
	// again is how soon a caller comes again who does one thing after the other.
	again = 100 * time.Millisecond
	// quiet is how long ago the last caller came when work that nobody waits for may have all connections.
	quiet = 500 * time.Millisecond
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
	if w.share != nil {
		c.sharers = map[*budget]struct{}{w.share: {}}
	}
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

// pressLocked asks holders to make room until as many were asked as there are callers stuck.
func (p *Pool) pressLocked(blocked int) {
	for p.pressed < blocked {
		var victim *conn
		for c := range p.conns {
			if c.press == nil || c.pressed {
				continue
			}
			if victim == nil || yieldsBefore(c, victim) {
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

// yieldsBefore gives the order in which holders are asked to make room: work ahead first, and of transfers that nobody asked for the one
// begun last, which is the one that is needed last and has brought least; of all others who has held longest.
func yieldsBefore(c, d *conn) bool {
	switch {
	case c.lane != d.lane:
		return c.lane > d.lane
	case c.lane == laneBackground:
		return c.since.After(d.since)
	}
	return c.since.Before(d.since)
}
