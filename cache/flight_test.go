package cache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestCallersShareAFlight(t *testing.T) {
	s := newServer(manyFiles("/d", 10)...)
	c, _ := newCache(t, s, nil)
	asked, open := make(chan struct{}, 1), make(chan struct{})
	s.gate = func(context.Context, string, string) error { asked <- struct{}{}; <-open; return nil }
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if l, err := c.List(ctx, "/d"); err != nil || len(l.Entries) != 10 {
				t.Errorf("%v, %v", l, err)
			}
		})
	}
	<-asked
	for waiting := 0; waiting < 20; {
		c.mu.Lock()
		waiting = c.flights[question{askList, "/d"}].waiters
		c.mu.Unlock()
	}
	close(open)
	wg.Wait()
	if n := s.questions(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func TestACancelledCallerLeavesTheOthersAlone(t *testing.T) {
	s := newServer("/d/", "/d/f")
	c, _ := newCache(t, s, nil)
	asked, open := make(chan struct{}, 1), make(chan struct{})
	s.gate = func(ctx context.Context, _, _ string) error {
		asked <- struct{}{}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	first, cancel := context.WithCancel(ctx)
	gone := make(chan error)
	go func() { _, err := c.Lookup(first, "/d/f"); gone <- err }()
	<-asked
	stays := make(chan error)
	go func() { _, err := c.Lookup(ctx, "/d/f"); stays <- err }()
	for waiting := 0; waiting < 2; {
		c.mu.Lock()
		waiting = c.flights[question{askStat, "/d/f"}].waiters
		c.mu.Unlock()
	}
	cancel()
	err := <-gone
	wantKind(t, err, pool.KindCanceled)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(open)
	if err := <-stays; err != nil {
		t.Errorf("the other one: %v", err)
	}
}

func TestAFlightNobodyWaitsForEnds(t *testing.T) {
	s := newServer("/d/", "/d/f")
	c, _ := newCache(t, s, nil)
	ended := make(chan struct{})
	asked := make(chan struct{})
	s.gate = func(ctx context.Context, _, _ string) error {
		close(asked)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err := c.Lookup(short, "/d/f")
	wantKind(t, err, pool.KindTimeout)
	<-ended
	s.mu.Lock()
	s.gate = nil
	s.mu.Unlock()
	if _, err := c.Lookup(ctx, "/d/f"); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	s := newServer("/d/", "/d/f")
	c := New(s, Options{})
	asked := make(chan struct{})
	s.gate = func(ctx context.Context, _, _ string) error { close(asked); <-ctx.Done(); return ctx.Err() }
	failed := make(chan error)
	go func() { _, err := c.Lookup(ctx, "/d/f"); failed <- err }()
	<-asked
	c.Close()
	wantKind(t, <-failed, pool.KindCanceled)
	_, err := c.Lookup(ctx, "/d/f")
	wantKind(t, err, pool.KindClosed)
	c.Close()
}

type panicking struct{ *server }

func (panicking) List(context.Context, string) (*pool.Listing, error) { panic("boom") }

func TestAPanicIsOneFailure(t *testing.T) {
	c := New(panicking{newServer("/d/", "/d/f")}, Options{})
	defer c.Close()
	_, err := c.List(ctx, "/d")
	wantKind(t, err, pool.KindOther)
	if _, err := c.Lookup(ctx, "/d/f"); err != nil {
		t.Error(err)
	}
}

// TestConcurrentUse has no expectation but the race detector's, that nothing hangs, and that each worker sees its own
// changes.
func TestConcurrentUse(t *testing.T) {
	s := newServer(manyFiles("/d", 50)...)
	c, k := newCache(t, s, func(o *Options) {
		o.MaxBytes = 40 << 10
		o.Walk = WalkOptions{Parallel: 3}
	})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			dir := fmt.Sprintf("/w%d", w)
			s.put(dir, pool.TypeDir, 0)
			c.MadeDir(dir, folder(dir))
			for i := range 300 {
				p := fmt.Sprintf("%s/f%d", dir, r.IntN(20))
				switch r.IntN(7) {
				case 0:
					s.put(p, pool.TypeFile, int64(i))
					c.Changed(p, file(p, int64(i)))
					if e, err := c.Lookup(ctx, p); err != nil || e.Size != int64(i) {
						t.Errorf("%s: %+v, %v", p, e, err)
					}
				case 1:
					s.remove(p)
					c.Removed(p)
					if _, err := c.Lookup(ctx, p); err == nil {
						t.Errorf("%s is back", p)
					}
				case 2:
					c.List(ctx, dir)
					c.List(ctx, "/")
				case 3:
					c.Exact(ctx, fmt.Sprintf("/d/f%05d", r.IntN(60)))
				case 4:
					short, cancel := context.WithCancel(ctx)
					go cancel()
					c.LookupFresh(short, p, 0)
				case 5:
					k.step(time.Second)
				case 6:
					c.Forget(p)
					c.ForgetDir("/d")
					c.Stats()
				}
			}
		})
	}
	wg.Wait()
	checkAccounts(t, c)
}

// checkAccounts compares the sums that the cache keeps with what is there.
func checkAccounts(t *testing.T, c *Cache) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var bytes, ahead int64
	var nodes int
	var walk func(n *node)
	walk = func(n *node) {
		bytes += n.bytes
		if n.bytes > 0 {
			nodes++
		}
		if n.ahead {
			ahead += n.bytes
		}
		if n != c.top && n.bytes == 0 && len(n.kids) == 0 {
			t.Errorf("%s: a node for nothing", n.path())
		}
		loose := 0
		for _, r := range n.recs {
			if r.loose {
				loose++
			}
		}
		if loose != n.loose {
			t.Errorf("%s: %d loose records, counted %d", n.path(), loose, n.loose)
		}
		for name, kid := range n.kids {
			if kid.parent != n || kid.name != name {
				t.Errorf("%s/%s hangs wrong", n.path(), name)
			}
			walk(kid)
		}
	}
	walk(c.top)
	if bytes != c.bytes || nodes != c.lru.Len() {
		t.Errorf("%d bytes in %d nodes, counted %d in %d", bytes, nodes, c.bytes, c.lru.Len())
	}
	if ahead != c.walk.bytes {
		t.Errorf("%d bytes ahead, counted %d", ahead, c.walk.bytes)
	}
}
