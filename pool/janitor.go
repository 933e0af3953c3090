package pool

import (
	"time"
)

// What happens to idle connections.
const (
	keepAlive  = 25 * time.Second // an idle connection is asked this often
	idleExtra  = time.Minute      // idle for so long, all connections but one are closed
	idleLast   = 10 * time.Minute // and the last one too: no server is asked for ever
	spareAfter = 30 * time.Millisecond
	// spareBound is how long opening a data channel ahead may take.
	spareBound = 10 * time.Second
)

// startLocked starts the janitor with the first wish for a connection.
func (p *Pool) startLocked() {
	if !p.started {
		p.started = p.spawnLocked(p.janitor)
	}
}

// poke makes the janitor look.
func (p *Pool) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// laterLocked makes the janitor find out when the queue is to be looked at again. Where the janitor itself is looking at it, it
// does so anyway: called again by its own visit it would never rest while somebody waits.
func (p *Pool) laterLocked() {
	if !p.visiting {
		p.poke()
	}
}

// janitor looks after idle connections and everything that happens at a time: keep-alive, data channels ahead, shrinking,
// the next attempt to connect or to grow. It sleeps until the next of these is due.
func (p *Pool) janitor() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-p.wake:
		case <-t.C:
		}
		next := p.maintain()
		if next.IsZero() {
			t.Stop()
			continue
		}
		t.Reset(max(next.Sub(p.now()), time.Millisecond))
	}
}

// maintain does what is due and gives the time of the next visit, zero when nothing is to come.
func (p *Pool) maintain() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	var next time.Time
	at := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	p.visiting = true
	p.pumpLocked()
	p.visiting = false
	if len(p.queue) > 0 {
		at(p.limit.dialAt)
		at(p.limit.retryAt)
		at(p.called.Add(quiet))
		for _, w := range p.queue {
			at(w.pressAt)
		}
	}
	kept := p.idle[:0]
	for _, c := range p.idle {
		switch due := p.dueLocked(c, now); {
		case due == closeIt:
			p.dropLocked(c)
		case due != nothing && p.serveLocked(c, due):
			// with a goroutine of its own for a moment
		default:
			kept = append(kept, c)
			at(c.used.Add(spareAfter))
			at(c.proven.Add(keepAlive))
			at(c.used.Add(idleExtra))
			at(c.used.Add(idleLast))
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	return next
}

// duty is what an idle connection needs.
type duty uint8

const (
	nothing duty = iota
	closeIt
	askIt
	prepareIt
)

// dueLocked decides for one idle connection. The longest unused one comes first in p.idle, so the extra ones go first.
func (p *Pool) dueLocked(c *conn, now time.Time) duty {
	unused := now.Sub(c.used)
	switch {
	case !c.usable(now) || !c.s.Healthy() || unused >= idleLast:
		return closeIt
	case unused >= idleExtra && len(p.conns) > 1:
		return closeIt
	case now.Sub(c.proven) >= keepAlive:
		return askIt
	case unused >= spareAfter && p.wantsSpareLocked(c, now):
		return prepareIt
	}
	return nothing
}

// wantsSpareLocked says that a data channel is to be made ahead. One that the server has given up, or refused, is replaced now and then: there
// are servers that do so at once, each time.
func (p *Pool) wantsSpareLocked(c *conn, now time.Time) bool {
	if c.noSpare || p.cfg.Session.Active || c.s.HasSpare() {
		return false
	}
	return !c.s.LostSpare() || now.Sub(c.prepared) >= keepAlive
}

// serveLocked takes the connection out of p.idle until its duty is done.
func (p *Pool) serveLocked(c *conn, d duty) bool {
	p.serviced++
	if p.spawnLocked(func() { p.serve(c, d) }) {
		return true
	}
	p.serviced--
	return false
}

func (p *Pool) serve(c *conn, d duty) {
	bound := p.checkTime()
	if d == prepareIt {
		bound = min(spareBound, p.cfg.Timeout)
	}
	ctx, cancel := p.background(bound)
	defer cancel()
	var err error
	if d == prepareIt {
		err = c.s.Prepare(ctx)
	} else {
		err = c.s.KeepAlive(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serviced--
	now := p.now()
	if d == prepareIt {
		c.prepared = now
	}
	if err != nil {
		p.log.Debug("idle connection", "conn", c.id, "err", err)
		c.noSpare = c.noSpare || d == prepareIt
	}
	if _, ours := p.conns[c]; !ours {
		return
	}
	if p.closed || !c.usable(now) {
		p.dropLocked(c)
	} else {
		c.proven = now
		// To the end that is used first: it was not used by a caller, but it is warm.
		p.idle = append(p.idle, c)
	}
	p.pumpLocked()
	p.poke()
}
