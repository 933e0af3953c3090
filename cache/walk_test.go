package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// tree makes the paths of n folders with m folders of one file in each.
func tree(n, m int) []string {
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("/d%02d/", i))
		for j := range m {
			paths = append(paths, fmt.Sprintf("/d%02d/s%02d/", i, j), fmt.Sprintf("/d%02d/s%02d/f", i, j))
		}
	}
	return paths
}

// settle waits for the end of what is under way.
func settle(c *Cache) {
	for {
		c.mu.Lock()
		var f *flight
		for f = range c.running {
			break
		}
		c.mu.Unlock()
		if f == nil {
			return
		}
		<-f.done
	}
}

// walkAll lists dir and all below as find does, and gives the number of folders.
func walkAll(t *testing.T, c *Cache, dir string) int {
	t.Helper()
	l, err := c.List(ctx, dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	settle(c)
	n := 1
	for _, e := range l.Entries {
		if e.Type == pool.TypeDir {
			n += walkAll(t, c, join(dir, e.Name))
		}
	}
	return n
}

type backgroundKey struct{}

func TestWalkIsRunAheadOf(t *testing.T) {
	s := newServer(tree(30, 3)...)
	var mu sync.Mutex
	waited, ahead, most := 0, 0, 0
	s.gate = func(ctx context.Context, _, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Value(backgroundKey{}) == nil {
			waited++
			return nil
		}
		ahead++
		most = max(most, ahead)
		return nil
	}
	s.late = func(ctx context.Context, _, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Value(backgroundKey{}) != nil {
			ahead--
		}
		return nil
	}
	c, _ := newCache(t, s, func(o *Options) {
		o.Walk = WalkOptions{Parallel: 3, Background: func(ctx context.Context) context.Context {
			return context.WithValue(ctx, backgroundKey{}, true)
		}}
	})
	if n := walkAll(t, c, "/"); n != 121 {
		t.Errorf("%d folders", n)
	}
	if s.lists != 121 {
		t.Errorf("%d listings", s.lists)
	}
	if waited > 5 {
		t.Errorf("the walker waited for %d listings", waited)
	}
	if most > 3 {
		t.Errorf("%d at a time", most)
	}
	if st := c.Stats(); st.Prefetched < 115 || st.PrefetchedInVain != 0 || st.BytesInVain != 0 || st.Unread != 0 {
		t.Errorf("%+v", st)
	}
	checkAccounts(t, c)
}

func TestNoWalkNoSpeculation(t *testing.T) {
	s := newServer(tree(30, 3)...)
	c, k := newCache(t, s, func(o *Options) { o.Walk = WalkOptions{Parallel: 3} })
	for _, dir := range []string{"/", "/d07", "/d07", "/", "/d09/s00", "/d03/s01", "/"} {
		c.List(ctx, dir)
		settle(c)
	}
	c.List(ctx, "/d03")
	k.step(time.Minute)
	c.List(ctx, "/d04")
	settle(c)
	if st := c.Stats(); st.Prefetched != 0 {
		t.Errorf("%+v", st)
	}
}

func TestAnAbandonedWalkCostsLittle(t *testing.T) {
	s := newServer(tree(60, 0)...)
	c, k := newCache(t, s, func(o *Options) { o.Walk = WalkOptions{Parallel: 3} })
	for _, dir := range []string{"/", "/d00", "/d01"} {
		c.List(ctx, dir)
		settle(c)
	}
	st := c.Stats()
	if st.Prefetched == 0 || st.Prefetched > firstAhead || st.Unread != st.Prefetched*listingCost || st.BytesInVain != 0 {
		t.Errorf("%+v", st)
	}
	k.step(11 * time.Second)
	c.List(ctx, "/d50")
	settle(c)
	after := c.Stats()
	if unread := after.Prefetched - after.PrefetchedInVain; after.PrefetchedInVain != st.Prefetched || after.BytesInVain != st.Unread || after.Unread != unread*listingCost {
		t.Errorf("%+v, with %d listings ahead", after, st.Prefetched)
	}
	checkAccounts(t, c)
}

func TestSpeculationKeepsItsBudget(t *testing.T) {
	var paths []string
	for i := range 20 {
		paths = append(paths, manyFiles(fmt.Sprintf("/d%02d", i), 100)...)
	}
	s := newServer(paths...)
	c, _ := newCache(t, s, func(o *Options) { o.Walk = WalkOptions{Parallel: 2, MaxBytes: 40000} })
	for i := range 10 {
		c.List(ctx, "/")
		c.List(ctx, fmt.Sprintf("/d%02d", i))
		settle(c)
		c.mu.Lock()
		if c.walk.bytes > 40000 {
			t.Errorf("%d bytes that nobody asked for", c.walk.bytes)
		}
		c.mu.Unlock()
	}
	checkAccounts(t, c)
}

func TestARefusedSpeculationIsAskedAgain(t *testing.T) {
	s := newServer(tree(10, 0)...)
	c, _ := newCache(t, s, func(o *Options) {
		o.Walk = WalkOptions{Parallel: 1, Background: func(ctx context.Context) context.Context {
			return context.WithValue(ctx, backgroundKey{}, true)
		}}
	})
	asked, refuse := make(chan struct{}, 10), make(chan struct{})
	s.gate = func(ctx context.Context, _, _ string) error {
		if ctx.Value(backgroundKey{}) == nil {
			return nil
		}
		asked <- struct{}{}
		<-refuse
		return context.DeadlineExceeded
	}
	for _, dir := range []string{"/", "/d00", "/d01"} {
		c.List(ctx, dir)
	}
	<-asked
	got := make(chan error)
	go func() { _, err := c.List(ctx, "/d02"); got <- err }()
	for waiting := 0; waiting == 0; {
		c.mu.Lock()
		if f := c.flights[question{askList, "/d02"}]; f != nil {
			waiting = f.waiters
		}
		c.mu.Unlock()
	}
	close(refuse)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// A listing ahead that a caller comes to wait for is told of, the others are not.
func TestAwaitedSpeculationIsToldOf(t *testing.T) {
	s := newServer(tree(10, 0)...)
	type question struct{ n int }
	var mu sync.Mutex
	dirs, wanted := map[any]string{}, []string{}
	questions := 0
	c, _ := newCache(t, s, func(o *Options) {
		o.Walk = WalkOptions{
			Parallel: 2,
			Background: func(ctx context.Context) context.Context {
				mu.Lock()
				defer mu.Unlock()
				questions++
				return context.WithValue(ctx, backgroundKey{}, question{questions})
			},
			Wanted: func(ctx context.Context) {
				mu.Lock()
				defer mu.Unlock()
				wanted = append(wanted, dirs[ctx.Value(backgroundKey{})])
			},
		}
	})
	asked, held := make(chan struct{}, 10), make(chan struct{})
	s.gate = func(ctx context.Context, _, dir string) error {
		if q := ctx.Value(backgroundKey{}); q != nil {
			mu.Lock()
			dirs[q] = dir
			mu.Unlock()
			asked <- struct{}{}
			<-held
		}
		return nil
	}
	for _, dir := range []string{"/", "/d00", "/d01"} {
		if _, err := c.List(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	<-asked
	<-asked
	var callers sync.WaitGroup
	for range 2 {
		callers.Go(func() {
			if _, err := c.List(ctx, "/d02"); err != nil {
				t.Error(err)
			}
		})
	}
	for waiting := 0; waiting < 2; {
		c.mu.Lock()
		for f := range c.running {
			if f.path == "/d02" {
				waiting = f.waiters
			}
		}
		c.mu.Unlock()
	}
	close(held)
	callers.Wait()
	settle(c)
	if len(wanted) != 1 || wanted[0] != "/d02" {
		t.Errorf("told of %q", wanted)
	}
}

func walkOptions(o *Options) {
	o.Walk = WalkOptions{Parallel: 3, Background: func(ctx context.Context) context.Context {
		return context.WithValue(ctx, backgroundKey{}, true)
	}}
}

// The folders beside the one that a walker asks for are listed while the walker waits for that one.
func TestWalkIsRecognisedByTheQuestion(t *testing.T) {
	s := newServer(tree(3, 3)...)
	beside, answered := make(chan string, 20), make(chan struct{})
	s.gate = func(ctx context.Context, _, path string) error {
		switch {
		case ctx.Value(backgroundKey{}) != nil:
			beside <- path
		case path == "/d00/s00":
			<-answered
		}
		return nil
	}
	c, _ := newCache(t, s, walkOptions)
	for _, dir := range []string{"/", "/d00"} {
		if _, err := c.List(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	if len(beside) != 0 {
		t.Errorf("%s is listed ahead of nobody", <-beside)
	}
	done := make(chan error)
	go func() {
		_, err := c.List(ctx, "/d00/s00")
		done <- err
	}()
	for got := map[string]bool{}; !got["/d00/s01"] || !got["/d00/s02"]; {
		got[<-beside] = true
	}
	close(answered)
	if err := <-done; err != nil {
		t.Error(err)
	}
	settle(c)
}

// Where listings are rough, exact times are asked for ahead of a walker who wants them, and not for one who does not.
func TestTimesAheadOfAWalk(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		s := newServer(tree(1, 6)...)
		s.rough = true
		ahead := 0
		s.gate = func(ctx context.Context, op, _ string) error {
			if op == "times" && ctx.Value(backgroundKey{}) != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				ahead++
			}
			return nil
		}
		c, _ := newCache(t, s, walkOptions)
		for _, dir := range []string{"/", "/d00", "/d00/s00", "/d00/s01", "/d00/s02", "/d00/s03", "/d00/s04", "/d00/s05"} {
			if _, err := c.List(ctx, dir); err != nil {
				t.Fatal(err)
			}
			if wanted && len(dir) > 4 {
				if e, err := c.Exact(ctx, dir+"/f"); err != nil || !e.Exact {
					t.Errorf("%s: %+v, %v", dir, e, err)
				}
			}
			settle(c)
		}
		if wanted && ahead < 2 || !wanted && ahead != 0 {
			t.Errorf("wanted %v: %d folders' times asked for ahead", wanted, ahead)
		}
	}
}
