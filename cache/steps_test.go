package cache

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// by is a caller's context.
func by(caller uint32) context.Context { return By(ctx, caller) }

// One step is enough where the same caller goes at once to the folder that comes next.
func TestFirstStepOfAWalk(t *testing.T) {
	tests := []struct {
		name  string
		lists []string
		by    []uint32 // of each; the last one goes on
		pause time.Duration
		want  bool
	}{
		{"first folder", []string{"/", "/d00"}, []uint32{7}, 0, true},
		{"first folder, deeper", []string{"/d03", "/d03/s00"}, []uint32{7}, 0, true},
		{"next one of the same folder", []string{"/", "/d04/s01", "/d04/s02"}, []uint32{7}, 0, false}, // nobody knows what is in /d04
		{"another folder", []string{"/", "/d01"}, []uint32{7}, 0, false},
		{"deeper than the first", []string{"/", "/d00/s00"}, []uint32{7}, 0, false},
		{"another caller", []string{"/", "/d00"}, []uint32{7, 8}, 0, false},
		{"callers not known", []string{"/", "/d00"}, []uint32{0}, 0, false},
		{"by hand", []string{"/", "/d00"}, []uint32{7}, 301 * time.Millisecond, false},
		{"soon", []string{"/", "/d00"}, []uint32{7}, 299 * time.Millisecond, true},
		{"the folder again", []string{"/", "/"}, []uint32{7}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(tree(10, 3)...)
			c, k := newCache(t, s, walkOptions)
			for i, dir := range tt.lists {
				if i > 0 {
					k.step(tt.pause)
				}
				if _, err := c.List(by(tt.by[min(i, len(tt.by)-1)]), dir); err != nil {
					t.Fatal(err)
				}
				settle(c)
			}
			if n := c.Stats().Prefetched; n > 0 != tt.want || n > firstAhead {
				t.Errorf("%d listings ahead", n)
			}
			checkAccounts(t, c)
		})
	}
}

// The next sibling of a folder that was listed behind its parent is a step as well.
func TestSiblingIsAStep(t *testing.T) {
	s := newServer(tree(10, 3)...)
	c, k := newCache(t, s, walkOptions)
	for _, dir := range []string{"/", "/d04", "/d05"} { // two in a row are a walk; the third is where it goes on without going down
		c.List(by(7), dir)
		settle(c)
		if dir == "/d04" {
			if n := c.Stats().Prefetched; n != 0 {
				t.Errorf("%d listings ahead of one step", n)
			}
			k.step(walkPause + time.Second) // and what came before is forgotten
			c.List(by(7), "/d04")
		}
	}
	if n := c.Stats().Prefetched; n == 0 {
		t.Error("nothing listed ahead")
	}
}

// nameAll asks for all names in a folder, as rsync does, and then goes down.
func nameAll(t *testing.T, c *Cache, s *server, caller uint32, dir string) {
	t.Helper()
	s.mu.Lock()
	paths := slices.Sorted(maps.Keys(s.files))
	s.mu.Unlock()
	paths = slices.DeleteFunc(paths, func(path string) bool { return parentDir(path) != dir })
	for _, path := range paths {
		if _, known := c.Known(by(caller), path); !known {
			if _, err := c.Lookup(by(caller), path); err != nil {
				t.Fatal(err)
			}
		}
		settle(c)
	}
	for _, path := range paths {
		nameAll(t, c, s, caller, path)
	}
}

// bushes makes the paths of n folders with m files each, in one.
func bushes(n, m int) []string {
	var paths []string
	for i := range n {
		dir := fmt.Sprintf("/top/d%02d", i)
		paths = append(paths, dir+"/")
		for j := range m {
			paths = append(paths, fmt.Sprintf("%s/f%02d", dir, j))
		}
	}
	return append(paths, "/top/")
}

// Who goes through folders by their names is run ahead of, and each folder is listed with the first name asked for in it.
func TestWalkByNames(t *testing.T) {
	s := newServer(bushes(15, 20)...)
	waited := 0
	s.gate = func(ctx context.Context, _, _ string) error {
		if ctx.Value(backgroundKey{}) == nil {
			s.mu.Lock()
			waited++
			s.mu.Unlock()
		}
		return nil
	}
	c, _ := newCache(t, s, walkOptions)
	if _, err := c.List(ctx, "/"); err != nil { // the mount does
		t.Fatal(err)
	}
	nameAll(t, c, s, 7, "/top")
	if s.lists != 17 || s.stats != 1 { // the root, /top and each folder in it; the first name in /top
		t.Errorf("%d listings, %d questions about one name", s.lists, s.stats)
	}
	if waited > 4 { // those and the first folder
		t.Errorf("%d questions waited for", waited)
	}
	if st := c.Stats(); st.Prefetched != 14 || st.PrefetchedInVain != 0 {
		t.Errorf("%+v", st)
	}
	c.mu.Lock()
	if n := len(c.walk.ahead); n != 0 {
		t.Errorf("%d listings of no use so far", n)
	}
	c.mu.Unlock()
	checkAccounts(t, c)
}

// What is no walk by names: a path that is looked up, few names of many, a caller who is slow, another caller, another folder.
func TestNoWalkByNames(t *testing.T) {
	type ask struct {
		by   uint32
		path string
	}
	some := func(by uint32, n int) (asks []ask) {
		for i := range n {
			asks = append(asks, ask{by, fmt.Sprintf("/top/d%02d", i)})
		}
		return asks
	}
	tests := []struct {
		name  string
		asks  []ask
		last  string
		pause time.Duration
		ttl   time.Duration
		want  bool
	}{
		{name: "all names", asks: some(7, 15), last: "/top/d00/f00", want: true},
		{name: "half of them", asks: some(7, 8), last: "/top/d00/f00", want: true},
		{name: "less", asks: some(7, 7), last: "/top/d00/f00"},
		{name: "not the first folder", asks: some(7, 15), last: "/top/d01/f00"},
		{name: "a path", asks: []ask{{7, "/top"}, {7, "/top/d00"}}, last: "/top/d00/f00"},
		{name: "nothing found", asks: []ask{{7, "/top/e1"}, {7, "/top/e2"}, {7, "/top/e3"}, {7, "/top/e4"}, {7, "/top/e5"}, {7, "/top/e6"}, {7, "/top/e7"}, {7, "/top/e8"}}, last: "/top/d00/f00"},
		{name: "the same name", asks: []ask{{7, "/top/d00"}, {7, "/top/d00"}, {7, "/top/d00"}, {7, "/top/d00"}}, last: "/top/d00/f00"},
		{name: "another caller", asks: some(8, 15), last: "/top/d00/f00"},
		{name: "callers not known", asks: some(0, 15), last: "/top/d00/f00"},
		{name: "by hand", asks: some(7, 15), last: "/top/d00/f00", pause: time.Second},
		{name: "attributes are not believed", asks: some(7, 15), last: "/top/d00/f00", ttl: time.Nanosecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(bushes(15, 20)...)
			c, k := newCache(t, s, func(o *Options) {
				walkOptions(o)
				if tt.ttl != 0 {
					o.AttrTTL = tt.ttl
				}
			})
			c.List(ctx, "/")
			c.List(ctx, "/top")
			for _, a := range tt.asks {
				k.step(time.Microsecond)
				c.Lookup(by(a.by), a.path)
				settle(c)
			}
			k.step(tt.pause)
			s.questions()
			c.Lookup(by(7), tt.last)
			settle(c)
			if st := c.Stats(); st.Prefetched > 0 != tt.want || st.Prefetched > firstAhead {
				t.Errorf("%+v", st)
			}
			if !tt.want && (s.lists != 0 || s.stats != 1) {
				t.Errorf("%d listings and %d questions for one name", s.lists, s.stats)
			}
		})
	}
}

// A walker by names who leaves out a folder, or looks up the way again, or stays long in one, is followed as far as it is of use.
func TestWalkByNamesIsFollowed(t *testing.T) {
	s := newServer(bushes(15, 20)...)
	c, k := newCache(t, s, walkOptions)
	c.List(ctx, "/top")
	ask := func(format string, args ...any) {
		t.Helper()
		path := fmt.Sprintf(format, args...)
		if _, known := c.Known(by(7), path); !known {
			if _, err := c.Lookup(by(7), path); err != nil {
				t.Fatal(err)
			}
		}
		settle(c)
	}
	at := func(want string) {
		t.Helper()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.walk.at != want || !c.walk.walking(c.now()) {
			t.Errorf("at %s, %d steps; want %s", c.walk.at, c.walk.steps, want)
		}
	}
	for i := range 15 {
		ask("/top/d%02d", i)
	}
	for i := range 20 {
		ask("/top/d00/f%02d", i)
	}
	at("/top/d00")
	ask("/top")
	ask("/top/d03")
	ask("/top/d03/f00")
	at("/top/d03")
	ask("/top/d04/f00") // one name was enough in the folder before
	at("/top/d04")
	for range 14 { // never longer than atOnce, but long
		k.step(250 * time.Millisecond)
		ask("/top/d04/f00")
	}
	ask("/top/d05/f00")
	at("/top/d04")
}

// Nothing is listed ahead beyond the folder that a walk began in, until it goes on there.
func TestWalkHasATop(t *testing.T) {
	for _, names := range []bool{false, true} {
		s := newServer(append(bushes(3, 3), "/up/", "/up/a/", "/up/b/", "/up/c/")...)
		c, _ := newCache(t, s, walkOptions)
		ahead := func(want int64) {
			t.Helper()
			settle(c)
			if n := c.Stats().Prefetched; n != want {
				t.Errorf("by names %v: %d listings ahead, want %d", names, n, want)
			}
		}
		c.List(ctx, "/")
		c.List(by(7), "/top")
		if names {
			for i := range 3 {
				c.Known(by(7), fmt.Sprintf("/top/d%02d", i))
			}
			c.Lookup(by(7), "/top/d00/f00")
		} else {
			c.List(by(7), "/top/d00")
		}
		ahead(2)
		for i := range 3 {
			c.List(by(7), fmt.Sprintf("/top/d%02d", i))
		}
		ahead(2)
		c.List(by(7), "/up")
		ahead(5)
	}
	// Who began somewhere in a folder walks through that when he comes to the next one in it.
	s := newServer(tree(9, 0)...)
	c, _ := newCache(t, s, walkOptions)
	for _, dir := range []string{"/", "/d03", "/d04", "/d05"} {
		c.List(ctx, dir)
		settle(c)
	}
	if n := c.Stats().Prefetched; n != 4 { // d05 to d08, while d04 was listed
		t.Errorf("%d listings ahead", n)
	}
}

// Work ahead goes to the source behind the question of the caller, who may otherwise find the last connection taken.
func TestCallerGoesFirst(t *testing.T) {
	for _, names := range []bool{false, true} {
		s := newServer(bushes(15, 20)...)
		c, _ := newCache(t, s, walkOptions)
		held, beside := make(chan struct{}), make(chan struct{}, firstAhead)
		s.gate = func(ctx context.Context, _, path string) error {
			if ctx.Value(backgroundKey{}) == nil {
				if path == "/top/d00" {
					<-held
				}
				return nil
			}
			defer func() { beside <- struct{}{} }()
			c.mu.Lock()
			own, ahead := c.flights[question{askList, "/top/d00"}], c.flights[question{askList, path}]
			c.mu.Unlock()
			if own == nil || own.background || ahead == nil || ahead.behind != own {
				t.Errorf("by names %v: %s is listed ahead of the caller's question", names, path)
				return nil
			}
			select {
			case <-own.begun:
			default:
				t.Errorf("by names %v: %s was asked about before the caller's question", names, path)
			}
			return nil
		}
		c.List(by(7), "/top")
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			if names {
				for i := range 15 {
					c.Known(by(7), fmt.Sprintf("/top/d%02d", i))
				}
				c.Lookup(by(7), "/top/d00/f00")
			} else {
				c.List(by(7), "/top/d00")
			}
		}()
		for range firstAhead {
			<-beside
		}
		close(held)
		<-asked
		settle(c)
	}
}

// A listing that was made ahead and answers names, not listings, was no listing in vain.
func TestKnownIsOfUse(t *testing.T) {
	s := newServer(bushes(4, 3)...)
	c, k := newCache(t, s, walkOptions)
	c.List(by(7), "/top")
	c.List(by(7), "/top/d00")
	settle(c)
	if n := c.Stats().Prefetched; n != 3 {
		t.Fatalf("%d listings ahead", n)
	}
	hits := c.Stats().Hits
	if _, known := c.Known(by(7), "/top/d02/f01"); !known {
		t.Error("not known")
	}
	if _, known := c.Known(by(7), "/top/d02/missing"); known {
		t.Error("what is absent is known")
	}
	if n := c.Stats().Hits - hits; n != 1 {
		t.Errorf("%d hits", n)
	}
	k.step(11 * time.Second)
	if _, known := c.Known(by(7), "/top/d02/f01"); known {
		t.Error("what is old is believed")
	}
	c.List(by(7), "/top/d01") // looks for what is too old
	settle(c)
	if n := c.Stats().PrefetchedInVain; n != 2 {
		t.Errorf("%d in vain", n)
	}
}
