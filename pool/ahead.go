package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

var errNoSpare = errors.New("no connection to spare for work ahead")

func noSpare() error { return &Error{Kind: KindLimit, Err: errNoSpare} }

// Ahead marks the context of a question that nobody waits for yet. Such a question fails at once, with KindLimit, where it
// would take a connection that others may need soon, or wait for one of theirs. Its round trips count as background. A context
// is for one question: see Wanted.
func Ahead(ctx context.Context) context.Context {
	return context.WithValue(wire.Background(ctx), wishKey{}, &wish{})
}

type wishKey struct{}

// wish goes with the context of a question ahead.
type wish struct {
	wanted bool // a caller waits meanwhile. guarded by Pool.mu
}

type asideKey struct{}

// Aside is Ahead for what nobody is about to wait for, beside a program that sends one command after the other. It leaves the only
// connection that there is to the program: another one is made.
func Aside(ctx context.Context) context.Context {
	return context.WithValue(Ahead(ctx), asideKey{}, true)
}

func isAside(ctx context.Context) bool { return ctx.Value(asideKey{}) != nil }

type atHandKey struct{}

// AtHand is Ahead for a listing that somebody may wait for soon: it begins at once, on a connection that is idle and has its data
// channel, or fails. now tells whether there is one beside another for a question that goes out together with it.
func (p *Pool) AtHand(ctx context.Context) (marked context.Context, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now = len(p.idle) >= 2 && slices.ContainsFunc(p.idle, func(c *conn) bool { return c.ready(p.now()) })
	return context.WithValue(Ahead(ctx), atHandKey{}, true), now
}

func isAtHand(ctx context.Context) bool { return ctx.Value(atHandKey{}) != nil }

// ready says that a listing may begin at once.
func (c *conn) ready(now time.Time) bool { return c.usable(now) && c.s.Healthy() && c.s.SpareReady() }

// Wanted tells that a caller has come to wait for the answer to the question asked with ctx, which Ahead marked. As long as it
// has no connection it waits for one as the caller would. It returns at once.
func (p *Pool) Wanted(ctx context.Context) {
	wanted, _ := ctx.Value(wishKey{}).(*wish)
	if wanted == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted.wanted = true
	i := slices.IndexFunc(p.queue, func(w *waiter) bool { return w.wish == wanted })
	if i < 0 {
		return // it has one, or will ask for it
	}
	w := p.queue[i]
	p.queue = slices.Delete(p.queue, i, i+1)
	w.callers()
	w.pressAt = p.now().Add(pressAfter)
	p.queueLocked(w)
	p.pumpLocked()
	p.counters.noteQueued(w)
}

// callers makes a question ahead one that a caller waits for.
func (w *waiter) callers() {
	w.lane, w.ahead, w.aside, w.now, w.press, w.wish = laneMeta, false, false, false, nil, nil
}

const (
	// manyConns is how many connections are enough for what is done ahead, and short, to use all of them: it comes from all
	// sides to its end, so that a caller waits for a fraction of it.
	manyConns = 6
	// aheadSoon is how long that may take. On a line, or for folders, where it takes longer one connection is left.
	aheadSoon = 500 * time.Millisecond
)

// aheadSoonLocked says whether work in laneAhead is over soon, by what it took lately and what is under way.
func (p *Pool) aheadSoonLocked(now time.Time) bool {
	if p.held[laneAhead] == 0 {
		return p.lasted <= aheadSoon
	}
	for c := range p.conns {
		if c.lane == laneAhead && !c.since.IsZero() && now.Sub(c.since) > aheadSoon {
			return false
		}
	}
	return p.lasted <= aheadSoon
}

// spareLocked says whether a question ahead may have one of the connections that are there. The last one of them is left for
// callers while others are still being made, a matter of many round trips, and where somebody had one for a dialogue just now:
// who removes one file after the other comes again at once.
func (p *Pool) spareLocked(now time.Time) bool {
	if since := now.Sub(p.talked); p.dialing == 0 && (since >= again || since < 0) {
		return true
	}
	return len(p.conns)-p.held[laneTransfer]-p.held[laneBackground]-p.held[laneAhead] >= 2
}
