package pool

import (
	"math/rand/v2"
	"time"
)

// Back-offs.
const (
	firstBackOff = 200 * time.Millisecond // after a failed connect
	lastBackOff  = 5 * time.Second
	// lastReconnect is the longest pause while the network is away: somebody waits, and it may be back at any moment.
	lastReconnect = time.Second
	firstGrowth   = 30 * time.Second // after the server would not take one more connection
	lastGrowth    = 10 * time.Minute
	firstRelogin  = time.Minute // after a refused login: servers lock accounts
	lastRelogin   = 30 * time.Minute
	fatalCoolDown = 2 * time.Second // after a failure that a moment will not cure (certificate, policy)
)

// limit is what was learned of how many connections may be made, and when. Guarded by Pool.mu.
type limit struct {
	learned int       // the server allows this many, 0: it refused nobody
	said    bool      // it said so; otherwise it hung up
	retryAt time.Time // when one more than learned is tried
	growth  time.Duration

	dialAt   time.Time // no connect before
	failures int       // connects failed in a row
	err      *Error    // of the latest, nil after a success
}

// now gives the number of connections to have at most.
func (l *limit) now(most int, t time.Time) int {
	if l.learned == 0 {
		return most
	}
	if !t.Before(l.retryAt) {
		return min(most, l.learned+1)
	}
	return min(most, l.learned)
}

// full notes that the server refused a connection while there were open others; said: in words, not by hanging up.
func (l *limit) full(open int, said bool, t time.Time) {
	l.said = said
	l.learned = max(1, open)
	l.growth = backOff(l.growth, firstGrowth, lastGrowth)
	l.retryAt = t.Add(l.growth)
}

// grew notes a success with open connections in all.
func (l *limit) grew(open, most int) {
	l.failures, l.err, l.dialAt = 0, nil, time.Time{}
	if l.learned == 0 || open <= l.learned {
		return
	}
	l.learned, l.growth = open, 0
	if open >= most {
		l.learned = 0
	}
}

// failed notes a connect that came to nothing, for any other reason.
func (l *limit) failed(e *Error, t time.Time) {
	l.failures++
	l.err = e
	var d time.Duration
	switch e.Kind {
	case KindAuth:
		d = exponential(firstRelogin, lastRelogin, l.failures)
	case KindTrust, KindTLSPolicy, KindProtocol, KindUnsupported:
		d = exponential(fatalCoolDown, time.Minute, l.failures)
	case KindNetwork, KindTimeout:
		d = jitter(exponential(firstBackOff, lastReconnect, l.failures))
	default:
		d = jitter(exponential(firstBackOff, lastBackOff, l.failures))
	}
	l.dialAt = t.Add(d)
}

// hopeless says that waiting for the next connect within an operation makes no sense.
func hopeless(k Kind) bool {
	switch k {
	case KindAuth, KindTrust, KindTLSPolicy, KindProtocol, KindUnsupported, KindClosed:
		return true
	}
	return false
}

// dialFailedLocked learns from a failed connect and tells those who wait for it in vain.
func (p *Pool) dialFailedLocked(e *Error) {
	now := p.now()
	if p.closed {
		return
	}
	open := 0 // those lost with the same network say nothing about a limit
	for c := range p.conns {
		if c.s.Healthy() {
			open++
		}
	}
	p.warnLocked(e, open, now)
	switch {
	case open > 0 && (e.Kind == KindLimit || e.Kind == KindAuth || p.hungUp(e)):
		// The same credentials worked a moment ago: a refused login means "too many", too.
		p.limit.full(open, !p.hungUp(e), now)
	case open > 0:
		p.limit.failed(e, now)
		p.limit.err = nil // those who wait have other connections to wait for
	default:
		p.limit.failed(e, now)
		p.failWaitersLocked(e, hopeless(e.Kind))
	}
	p.poke()
}

// warnEvery is how often failures to connect of one kind are told.
const warnEvery = time.Minute

// warnings are the failures to connect in the log. Guarded by Pool.mu.
type warnings struct {
	at         map[Kind]time.Time // when each kind was told last
	suppressed int                // not told since the last time
	told       bool               // and nothing of a success since
}

// warnLocked tells of a failed connect: while it goes on, or comes and goes, each kind once in a while.
func (p *Pool) warnLocked(e *Error, open int, now time.Time) {
	w := &p.warned
	if last, ok := w.at[e.Kind]; ok && now.Sub(last) < warnEvery {
		w.suppressed++
		p.log.Debug("no connection", "err", e, "open", open)
		return
	}
	p.log.Warn("no connection", "err", e, "open", open, "suppressed", w.suppressed)
	if w.at == nil {
		w.at = map[Kind]time.Time{}
	}
	w.at[e.Kind], w.suppressed, w.told = now, 0, true
}

// connectedLocked tells that it works again, where a failure was told.
func (p *Pool) connectedLocked() {
	if p.warned.told {
		p.warned.told = false
		p.log.Info("connected again", "suppressed", p.warned.suppressed)
	}
}

// failWaitersLocked ends the waiting of all, or of those who wanted the first answer.
func (p *Pool) failWaitersLocked(e *Error, all bool) {
	kept := p.queue[:0]
	for _, w := range p.queue {
		if all || w.first {
			w.fail(e)
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.queue[len(kept):])
	p.queue = kept
}

func backOff(last, first, most time.Duration) time.Duration {
	return min(most, max(first, 2*last))
}

// exponential gives first for n = 1, and twice as much for each further n.
func exponential(first, most time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

// jitter keeps clients that failed together from coming back together.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}
