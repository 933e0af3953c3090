package cache

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

func file(path string, size int64) pool.Entry          { return testEntry(path, pool.TypeFile, size) }
func folder(path string) pool.Entry                    { return testEntry(path, pool.TypeDir, 0) }
func lookup(c *Cache, path string) (pool.Entry, error) { return c.Lookup(ctx, path) }

func TestOwnChangesShowAtOnce(t *testing.T) {
	s := newServer("/d/", "/d/b", "/d/m", "/d/sub/", "/d/sub/x", "/d/sub/deep/", "/d/sub/deep/y", "/e/")
	tests := []struct {
		name   string
		change func(*Cache)
		list   string // of /d
		there  []string
		gone   []string
	}{
		{"create", func(c *Cache) { c.Changed("/d/c", file("/d/c", 1)) }, "b c m sub", []string{"/d/c"}, nil},
		{"update", func(c *Cache) { c.Changed("/d/b", file("/d/b", 99)) }, "b m sub", []string{"/d/b"}, nil},
		{"remove", func(c *Cache) { c.Removed("/d/b") }, "m sub", nil, []string{"/d/b"}},
		{"remove and create", func(c *Cache) { c.Removed("/d/b"); c.Changed("/d/b", file("/d/b", 3)) }, "b m sub",
			[]string{"/d/b"}, nil},
		{"create and remove", func(c *Cache) { c.Changed("/d/c", file("/d/c", 1)); c.Removed("/d/c") }, "b m sub", nil,
			[]string{"/d/c"}},
		{"rename", func(c *Cache) { c.Renamed("/d/b", "/d/z") }, "m sub z", []string{"/d/z"}, []string{"/d/b"}},
		{"rename over", func(c *Cache) { c.Renamed("/d/b", "/d/m") }, "m sub", []string{"/d/m"}, []string{"/d/b"}},
		{"rename onto itself", func(c *Cache) { c.Renamed("/d/b", "/d/b") }, "b m sub", []string{"/d/b"}, nil},
		{"rename away", func(c *Cache) { c.Renamed("/d/b", "/e/b") }, "m sub", []string{"/e/b"}, []string{"/d/b"}},
		{"rename a folder", func(c *Cache) { c.Renamed("/d/sub", "/d/bus") }, "b bus m",
			[]string{"/d/bus", "/d/bus/x", "/d/bus/deep", "/d/bus/deep/y"},
			[]string{"/d/sub", "/d/sub/x", "/d/sub/deep", "/d/sub/deep/y"}},
		{"rename a folder and back", func(c *Cache) { c.Renamed("/d/sub", "/e/s"); c.Renamed("/e/s", "/d/sub") }, "b m sub",
			[]string{"/d/sub/x", "/d/sub/deep/y"}, []string{"/e/s", "/e/s/x"}},
		{"remove a folder", func(c *Cache) { c.Removed("/d/sub") }, "b m", nil,
			[]string{"/d/sub", "/d/sub/x", "/d/sub/deep/y"}},
		{"a folder of our own is empty", func(c *Cache) { c.MadeDir("/d/new", folder("/d/new")) }, "b m new sub",
			[]string{"/d/new"}, []string{"/d/new/x"}},
		{"a file in place of a folder", func(c *Cache) { c.Removed("/d/sub"); c.Changed("/d/sub", file("/d/sub", 1)) },
			"b m sub", []string{"/d/sub"}, []string{"/d/sub/x", "/d/sub/deep/y"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _ := newCache(t, s, nil)
			for _, dir := range []string{"/", "/d", "/e", "/d/sub", "/d/sub/deep"} {
				if _, err := c.List(ctx, dir); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := c.List(ctx, "/d")
			s.questions()
			test.change(c)
			for _, p := range test.there {
				if e, err := lookup(c, p); err != nil || join(parentOf(p), e.Name) != p {
					t.Errorf("%s: %+v, %v", p, e, err)
				}
			}
			for _, p := range test.gone {
				if e, err := lookup(c, p); err == nil {
					t.Errorf("%s is still there: %+v", p, e)
				}
			}
			if l, err := c.List(ctx, "/d"); err != nil || names(l) != test.list {
				t.Errorf("listed %q, want %q; %v", names(l), test.list, err)
			}
			if n := s.questions(); n != 0 {
				t.Errorf("%d questions", n)
			}
			if got := names(before); got != "b m sub" {
				t.Errorf("a listing given out was changed: %s", got)
			}
		})
	}
}

func parentOf(path string) string { dir, _ := split(path); return dir }

// TestAnAbsenceDuringARenameStaysBehind: a folder is listed ahead while it is renamed, and the server has done that already.
func TestAnAbsenceDuringARenameStaysBehind(t *testing.T) {
	for _, renamed := range []string{"/d/sub", "/d"} {
		s := newServer("/d/", "/d/sub/", "/d/sub/deep/", "/d/sub/deep/x", "/d/f")
		c, _ := newCache(t, s, nil)
		for _, dir := range []string{"/", "/d", "/d/sub"} {
			if _, err := c.List(ctx, dir); err != nil {
				t.Fatal(err)
			}
		}
		done := c.Moving(renamed)
		s.remove(renamed)
		for _, p := range []string{"/new/", "/new/sub/", "/new/sub/deep/", "/new/deep/"} {
			s.put(strings.TrimSuffix(p, "/"), pool.TypeDir, 0)
		}
		if _, err := c.List(ctx, "/d/sub/deep"); pool.KindOf(err) != pool.KindNotFound {
			t.Fatalf("listed under the old name: %v", err)
		}
		c.Renamed(renamed, "/new")
		done()
		deep := "/new" + strings.TrimPrefix("/d/sub/deep", renamed)
		if _, err := lookup(c, deep); err != nil {
			t.Errorf("%s: %v", deep, err)
		}
		if _, err := lookup(c, "/d/sub/deep"); pool.KindOf(err) != pool.KindNotFound {
			t.Errorf("still there under the old name: %v", err)
		}
		if len(c.moving) > 0 {
			t.Errorf("still being renamed: %v", c.moving)
		}
	}
}

func TestChangedRefreshesItsAttributesOnly(t *testing.T) {
	s := newServer("/d/", "/d/a", "/d/b")
	c, k := newCache(t, s, nil)
	c.List(ctx, "/d")
	k.step(8 * time.Second)
	c.Changed("/d/a", file("/d/a", 1234))
	k.step(8 * time.Second)
	s.questions()
	if e, err := lookup(c, "/d/a"); err != nil || e.Size != 1234 {
		t.Errorf("%+v, %v", e, err)
	}
	if n := s.questions(); n != 0 {
		t.Errorf("a: %d questions", n)
	}
	lookup(c, "/d/b")
	if n := s.questions(); n != 1 {
		t.Errorf("b: %d questions", n)
	}
}

func TestRenameKeepsTheAge(t *testing.T) {
	s := newServer("/d/", "/d/a")
	c, k := newCache(t, s, nil)
	c.List(ctx, "/d")
	k.step(8 * time.Second)
	c.Renamed("/d/a", "/d/b")
	s.remove("/d/a")
	s.put("/d/b", pool.TypeFile, 77)
	k.step(3 * time.Second)
	if e, err := lookup(c, "/d/b"); err != nil || e.Size != 77 {
		t.Errorf("attributes older than their TTL: %+v, %v", e, err)
	}
}

func TestForgetAsksAgain(t *testing.T) {
	s := newServer("/d/", "/d/a", "/d/sub/", "/d/sub/x")
	for _, forget := range []string{"/d/a", "/d/new"} {
		c, _ := newCache(t, s, nil)
		c.List(ctx, "/d")
		c.Forget(forget)
		s.questions()
		lookup(c, forget)
		if n := s.questions(); n != 1 {
			t.Errorf("%s: %d questions", forget, n)
		}
		c.Forget(forget)
		if l, err := c.List(ctx, "/d"); err != nil || names(l) != "a sub" || s.questions() != 1 {
			t.Errorf("%v, %v", l, err)
		}
	}
	c, _ := newCache(t, s, nil)
	c.List(ctx, "/d")
	c.ForgetDir("/d")
	s.questions()
	if c.List(ctx, "/d"); s.questions() != 1 {
		t.Error("not listed again")
	}
}

// TestAnswersUnderWayUndoNothing lets each answer be looked up before a change of ours and arrive after it.
func TestAnswersUnderWayUndoNothing(t *testing.T) {
	ask := map[string]func(*Cache){
		"list /d":     func(c *Cache) { c.List(ctx, "/d") },
		"list /":      func(c *Cache) { c.List(ctx, "/") },
		"list /d/sub": func(c *Cache) { c.List(ctx, "/d/sub") },
		"stat old":    func(c *Cache) { lookup(c, "/d/old") },
		"stat new":    func(c *Cache) { lookup(c, "/d/new") },
		"stat x":      func(c *Cache) { lookup(c, "/d/sub/x") },
		"times old":   func(c *Cache) { c.Exact(ctx, "/d/old") },
	}
	changes := map[string]struct {
		server func(*server)
		cache  func(*Cache)
		there  []string
		gone   []string
	}{
		"create": {func(s *server) { s.put("/d/new", pool.TypeFile, 5) }, func(c *Cache) { c.Changed("/d/new", file("/d/new", 5)) },
			[]string{"/d/new", "/d/old"}, nil},
		"remove": {func(s *server) { s.remove("/d/old") }, func(c *Cache) { c.Removed("/d/old") }, []string{"/d/sub"},
			[]string{"/d/old"}},
		"rename": {func(s *server) { s.remove("/d/old"); s.put("/d/new", pool.TypeFile, 6) },
			func(c *Cache) { c.Renamed("/d/old", "/d/new") }, []string{"/d/new"}, []string{"/d/old"}},
		"rename of a folder": {func(s *server) {
			s.remove("/d/sub")
			s.put("/d/bus", pool.TypeDir, 0)
			s.put("/d/bus/x", pool.TypeFile, 1)
		},
			func(c *Cache) { c.Renamed("/d/sub", "/d/bus") }, []string{"/d/bus", "/d/bus/x"}, []string{"/d/sub", "/d/sub/x"}},
		"removal of a folder": {func(s *server) { s.remove("/d/sub") }, func(c *Cache) { c.Removed("/d/sub") }, nil,
			[]string{"/d/sub", "/d/sub/x"}},
		"forgotten": {func(s *server) { s.remove("/d/old") }, func(c *Cache) { c.Forget("/d/old") }, nil, []string{"/d/old"}},
	}
	for question, do := range ask {
		for change, ch := range changes {
			for _, evict := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, evict %v", question, change, evict), func(t *testing.T) {
					s := newServer("/d/", "/d/old", "/d/sub/", "/d/sub/x")
					c, _ := newCache(t, s, nil)
					looked, arrive := make(chan struct{}), make(chan struct{})
					s.late = func(context.Context, string, string) error { close(looked); <-arrive; return nil }
					done := make(chan struct{})
					go func() { defer close(done); do(c) }()
					<-looked
					s.mu.Lock()
					s.late = nil
					s.mu.Unlock()
					ch.server(s)
					ch.cache(c)
					if evict {
						c.mu.Lock()
						for c.lru.Len() > 0 {
							n, _, _ := c.lru.RemoveOldest()
							c.emptyLocked(n)
						}
						c.mu.Unlock()
					}
					close(arrive)
					<-done
					for _, p := range ch.there {
						if _, err := lookup(c, p); err != nil {
							t.Errorf("%s: %v", p, err)
						}
					}
					for _, p := range ch.gone {
						if e, err := lookup(c, p); err == nil {
							t.Errorf("%s is back: %+v", p, e)
						}
					}
					l, err := c.List(ctx, "/d")
					truth, _ := s.list("/d")
					if err != nil || names(l) != names(truth) {
						t.Errorf("listed %q, want %q; %v", names(l), names(truth), err)
					}
				})
			}
		}
	}
}

// TestChangesInALargeFolderAreCheap creates files in a folder of 100,000 and looks how much memory that moves.
func TestChangesInALargeFolderAreCheap(t *testing.T) {
	s := newServer(manyFiles("/d", 100000)...)
	c, _ := newCache(t, s, nil)
	l, err := c.List(ctx, "/d")
	if err != nil || len(l.Entries) != 100000 {
		t.Fatal(err)
	}
	i := 0
	perCreate := testing.AllocsPerRun(500, func() {
		p := fmt.Sprintf("/d/new%d", i)
		c.Changed(p, file(p, 1))
		lookup(c, p)
		i++
	})
	if perCreate > 50 {
		t.Errorf("%.0f allocations for each create", perCreate)
	}
	n := c.findLocked("/d")
	if n.base != l {
		t.Error("the listing was copied")
	}
	if l, _ := c.List(ctx, "/d"); len(l.Entries) != 100000+i {
		t.Errorf("%d entries", len(l.Entries))
	}
}
