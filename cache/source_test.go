package cache

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// clock is a hand-wound clock.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// server is a Source with files of its own. Questions are counted; with gate set each waits before its answer is looked
// up, with late set after.
type server struct {
	mu    sync.Mutex
	files map[string]pool.Entry // by path
	rough bool                  // List and Stat give rough times, as LIST-only servers do
	cut   bool                  // listings are truncated: they lack every second name
	fail  error                 // if set, the answer to everything
	deny  map[string]error      // answers to List
	stats int
	lists int
	many  [][]string
	gate  func(ctx context.Context, op, path string) error
	late  func(ctx context.Context, op, path string) error
}

func newServer(paths ...string) *server {
	s := &server{files: make(map[string]pool.Entry), deny: make(map[string]error)}
	s.put("/", pool.TypeDir, 0)
	for _, p := range paths {
		if strings.HasSuffix(p, "/") {
			s.put(strings.TrimSuffix(p, "/"), pool.TypeDir, 0)
		} else {
			s.put(p, pool.TypeFile, int64(len(p)))
		}
	}
	return s
}

// listingCost is what each listing takes on the line.
const listingCost = 1000

func testEntry(path string, t pool.Type, size int64) pool.Entry {
	_, name := split(path)
	return pool.Entry{
		Name: name, Type: t, Size: size, UID: -1, GID: -1, Exact: true,
		ModTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func (s *server) put(path string, t pool.Type, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = testEntry(path, t, size)
}

func (s *server) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.files {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(s.files, p)
		}
	}
}

// questions gives and resets the number of flights asked.
func (s *server) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.stats + s.lists + len(s.many)
	s.stats, s.lists, s.many = 0, 0, nil
	return n
}

func (s *server) wait(ctx context.Context, hook *func(context.Context, string, string) error, op, path string) error {
	s.mu.Lock()
	f := *hook
	err := s.fail
	s.mu.Unlock()
	if f != nil {
		if err := f(ctx, op, path); err != nil {
			return &pool.Error{Op: op, Path: path, Kind: pool.KindCanceled, Err: err}
		}
	}
	return err
}

func (s *server) Stat(ctx context.Context, path string) (pool.Entry, error) {
	if err := s.wait(ctx, &s.gate, "stat", path); err != nil {
		return pool.Entry{}, err
	}
	s.mu.Lock()
	s.stats++
	e, err := s.entryLocked(path, !s.rough)
	s.mu.Unlock()
	if err := s.wait(ctx, &s.late, "stat", path); err != nil {
		return pool.Entry{}, err
	}
	return e, err
}

func (s *server) entryLocked(path string, exact bool) (pool.Entry, error) {
	e, ok := s.files[path]
	if !ok {
		return pool.Entry{}, &pool.Error{Op: "stat", Path: path, Kind: pool.KindNotFound}
	}
	if e.Exact = exact; !exact {
		e.ModTime = e.ModTime.Truncate(time.Minute)
	}
	return e, nil
}

func (s *server) StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error) {
	if err := s.wait(ctx, &s.gate, "times", paths[0]); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.many = append(s.many, paths)
	results := make([]pool.StatResult, len(paths))
	for i, p := range paths {
		results[i].Entry, results[i].Err = s.entryLocked(p, true)
	}
	s.mu.Unlock()
	return results, s.wait(ctx, &s.late, "times", paths[0])
}

func (s *server) List(ctx context.Context, dir string) (*pool.Listing, error) {
	if err := s.wait(ctx, &s.gate, "list", dir); err != nil {
		return nil, err
	}
	l, err := s.list(dir)
	if err := s.wait(ctx, &s.late, "list", dir); err != nil {
		return nil, err
	}
	return l, err
}

func (s *server) list(dir string) (*pool.Listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists++
	if err := s.deny[dir]; err != nil {
		return nil, err
	}
	switch e, ok := s.files[dir]; {
	case !ok:
		return nil, &pool.Error{Op: "list", Path: dir, Kind: pool.KindNotFound}
	case e.Type != pool.TypeDir:
		return nil, &pool.Error{Op: "list", Path: dir, Kind: pool.KindNotDir}
	}
	var entries []pool.Entry
	for p := range s.files {
		if d, _ := split(p); d == dir && p != "/" {
			e, _ := s.entryLocked(p, !s.rough)
			entries = append(entries, e)
		}
	}
	l := buildListing(entries)
	l.Bytes = listingCost
	if s.cut {
		l.Truncated = true
		kept := l.Entries[:0]
		for i, e := range l.Entries {
			if i%2 == 0 {
				kept = append(kept, e)
			}
		}
		l.Entries = kept
	}
	return l, nil
}

func newCache(t *testing.T, s *server, change func(*Options)) (*Cache, *clock) {
	t.Helper()
	k := newClock()
	o := Options{AttrTTL: 10 * time.Second, DirTTL: 10 * time.Second, NegTTL: 5 * time.Second, Now: k.now}
	if change != nil {
		change(&o)
	}
	c := New(s, o)
	t.Cleanup(c.Close)
	return c, k
}

func names(l *pool.Listing) string {
	var all []string
	for _, e := range l.Entries {
		all = append(all, e.Name)
	}
	return strings.Join(all, " ")
}

func manyFiles(dir string, n int) []string {
	paths := []string{dir + "/"}
	for i := range n {
		paths = append(paths, fmt.Sprintf("%s/f%05d", dir, i))
	}
	return paths
}

func wantKind(t *testing.T, err error, kind pool.Kind) {
	t.Helper()
	if err == nil || pool.KindOf(err) != kind {
		t.Errorf("error %v, want kind %v", err, kind)
	}
}
