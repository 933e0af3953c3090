package cache

import (
	"context"
	"errors"
	"fmt"

	"github.com/ftpsfs/ftpsfs/pool"
)

// asking says what kind of question a flight is.
type asking uint8

const (
	askStat  asking = iota // one name
	askTimes               // one name or more, with exact times
	askList                // a folder
)

func (a asking) op() string {
	if a == askList {
		return "list"
	}
	return "stat"
}

// question is what a flight is about; several callers who have the same share the flight.
type question struct {
	asking
	path string
}

// flight is a question under way. Its goroutine ends with the source's answer; it is cancelled when the last caller who
// waits for it has gone, and by Close.
type flight struct {
	question
	asked      uint64
	started    moment
	cancel     context.CancelFunc
	begun      chan struct{} // closed when it goes to the source
	done       chan struct{}
	waiters    int     // guarded by Cache.mu
	left       bool    // guarded by Cache.mu; cancelled, as nobody waits
	background bool    // nobody need wait
	behind     *flight // goes to the source first: a caller waits for it; nil: nobody
	renews     bool    // guarded by Cache.mu; it renews a listing
	atHand     bool    // guarded by Cache.mu; it does so at once
	wanted     func()  // tells the source that a caller waits after all; nil: nobody is told
	paths      []string
	names      map[string]struct{} // the same as a set, for askTimes

	// Results, valid after done.
	listing *pool.Listing
	results map[string]pool.StatResult // by path
	err     error                      // of the whole question
	void    bool                       // older than a change of our own: not remembered
}

// launch starts a flight. values gives the context its values, not its end.
func (c *Cache) launchLocked(values context.Context, q question, paths []string, background bool) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(values))
	f := &flight{
		question: q, asked: c.nextLocked(), started: c.now(), cancel: cancel, begun: make(chan struct{}), done: make(chan struct{}),
		background: background, paths: paths,
	}
	if told := c.o.Walk.Wanted; background && told != nil {
		f.wanted = func() { told(ctx) }
	}
	if own := c.flights[question{askList, c.walk.at}]; background && own != nil && !own.background {
		f.behind = own // else it might take the connection that this one needs
	}
	if q.asking == askTimes {
		f.names = make(map[string]struct{}, len(paths))
		for _, path := range paths {
			f.names[path] = struct{}{}
		}
	}
	if c.closed {
		f.err = failure(q.op(), q.path, pool.KindClosed)
		f.void = true
		cancel()
		close(f.begun)
		close(f.done)
		return f
	}
	c.flights[q] = f
	c.running[f] = struct{}{}
	c.ended.Add(1)
	go c.fly(ctx, f)
	return f
}

func (c *Cache) fly(ctx context.Context, f *flight) {
	defer c.ended.Done()
	defer f.cancel()
	var bytes int64
	if f.behind != nil {
		<-f.behind.begun
	}
	close(f.begun)
	c.ask(ctx, f)
	if f.listing != nil {
		f.listing = c.withoutHidden(f.listing)
		bytes = listingBytes(f.listing)
	}
	c.mu.Lock()
	delete(c.running, f)
	if c.flights[f.question] == f {
		delete(c.flights, f.question)
	}
	switch f.asking {
	case askList:
		c.arrivedListingLocked(f, bytes)
	default:
		c.arrivedAnswersLocked(f)
	}
	if f.renews {
		c.renewedLocked(f)
	} else {
		c.walkOnLocked(f)
	}
	c.mu.Unlock()
	close(f.done)
}

// ask asks the source. A panic there is a failure of this question and not of the whole mount.
func (c *Cache) ask(ctx context.Context, f *flight) {
	defer func() {
		if p := recover(); p != nil {
			f.listing = nil
			f.err = &pool.Error{Op: f.op(), Path: f.path, Kind: pool.KindOther, Err: fmt.Errorf("panic: %v", p)}
		}
	}()
	switch f.asking {
	case askList:
		f.listing, f.err = c.src.List(ctx, f.path)
		if f.err == nil && f.listing == nil {
			f.listing = &pool.Listing{}
		}
	case askStat:
		if len(f.paths) > 1 {
			c.askMany(ctx, f)
			return
		}
		e, err := c.src.Stat(ctx, f.path)
		f.results = map[string]pool.StatResult{f.path: {Entry: e, Err: err}}
	case askTimes:
		c.askMany(ctx, f)
	}
}

func (c *Cache) askMany(ctx context.Context, f *flight) {
	var results []pool.StatResult
	results, f.err = c.src.StatMany(ctx, f.paths)
	f.results = make(map[string]pool.StatResult, len(results))
	for i, r := range results {
		if i < len(f.paths) {
			f.results[f.paths[i]] = r
		}
	}
}

// awaitLocked notes that one more caller waits for f.
func (f *flight) awaitLocked() {
	if f.waiters++; f.waiters == 1 && f.wanted != nil {
		f.wanted()
	}
}

// wait waits for f as long as ctx allows. The flight goes on for others who wait.
func (c *Cache) wait(ctx context.Context, f *flight) error {
	select {
	case <-f.done:
		c.mu.Lock()
		f.waiters--
		c.mu.Unlock()
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiters--
	if f.waiters == 0 && !f.background {
		f.cancel()
		f.left = true
		if c.flights[f.question] == f {
			delete(c.flights, f.question) // who comes now asks anew
		}
	}
	kind := pool.KindCanceled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = pool.KindTimeout
	}
	return &pool.Error{Op: f.op(), Path: f.path, Kind: kind, Err: ctx.Err()}
}
