package cache

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/listing"
)

// bigFolders is a source of one folder whose entries are made up as they are listed.
type bigFolders struct {
	entries int
	rough   bool
}

func (b bigFolders) entry(i int) pool.Entry {
	return pool.Entry{
		Name: fmt.Sprintf("some-file-name-%07d.txt", i), Type: pool.TypeFile, Size: int64(i), UID: 1000, GID: 1000,
		ModTime: time.Unix(int64(i), 0).UTC(), Exact: !b.rough, Perm: "adfrw", Unique: fmt.Sprintf("fe00g%07x", i),
	}
}

func (b bigFolders) List(context.Context, string) (*pool.Listing, error) {
	var c listing.Collector
	for i := range b.entries {
		c.Add(b.entry(i))
	}
	return c.Listing(), nil
}

func (b bigFolders) Stat(_ context.Context, path string) (pool.Entry, error) {
	return pool.Entry{}, failure("stat", path, pool.KindNotFound)
}

func (b bigFolders) StatMany(_ context.Context, paths []string) ([]pool.StatResult, error) {
	results := make([]pool.StatResult, len(paths))
	for i, path := range paths {
		var n int
		_, name := split(path)
		if _, err := fmt.Sscanf(name, "some-file-name-%07d.txt", &n); err != nil {
			return nil, err
		}
		results[i].Entry = bigFolders{}.entry(n)
	}
	return results, nil
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryOfLargeFolders measures the heap that a folder's listing takes, and with rough times what the exact ones take
// beside it, and holds the cache's own estimate against it.
func TestMemoryOfLargeFolders(t *testing.T) {
	for _, test := range []struct {
		entries, most int
		exact, rough  bool
	}{
		{entries: 1000000, most: 250},
		{entries: 100000, most: 250},
		{entries: 100000, most: 600, exact: true, rough: true},
	} {
		k := newClock()
		before := heap()
		c := New(bigFolders{test.entries, test.rough}, Options{AttrTTL: time.Hour, DirTTL: time.Hour, NegTTL: time.Hour, Now: k.now})
		l, err := c.List(ctx, "/d")
		if err != nil || len(l.Entries) != test.entries {
			t.Fatalf("%v", err)
		}
		if test.exact {
			for i := range l.Entries {
				if e, err := c.Exact(ctx, "/d/"+l.Entries[i].Name); err != nil || !e.Exact {
					t.Fatalf("%+v, %v", e, err)
				}
			}
		}
		l = nil
		used := heap() - before
		if per := used / int64(test.entries); per > int64(test.most) {
			t.Errorf("%d entries: %d bytes for each", test.entries, per)
		}
		if told := c.Stats().Bytes; told < used*3/4 || told > used*3/2 {
			t.Errorf("%d entries: estimated %d bytes, are %d", test.entries, told, used)
		}
		c.Close()
	}
}

// TestBudget fills a cache with more than it may keep.
func TestBudget(t *testing.T) {
	const budget = 200 << 10
	var paths []string
	for i := range 40 {
		paths = append(paths, manyFiles(fmt.Sprintf("/d%02d", i), 100)...)
	}
	s := newServer(paths...)
	c, _ := newCache(t, s, func(o *Options) { o.MaxBytes = budget })
	for round := range 3 {
		for i := range 40 {
			dir := fmt.Sprintf("/d%02d", i)
			if _, err := c.List(ctx, dir); err != nil {
				t.Fatal(err)
			}
			lookup(c, fmt.Sprintf("%s/none%d", dir, round))
			if st := c.Stats(); st.Bytes > budget {
				t.Fatalf("%+v", st)
			}
		}
	}
	for i := range 5000 {
		lookup(c, fmt.Sprintf("/nobody/asked/before/%d", i))
	}
	st := c.Stats()
	if st.Bytes > budget || st.Evictions == 0 {
		t.Errorf("%+v", st)
	}
	checkAccounts(t, c)
}

func TestALargerFolderThanTheBudgetStaysWhileInUse(t *testing.T) {
	s := newServer(manyFiles("/d", 1000)...)
	c, _ := newCache(t, s, func(o *Options) { o.MaxBytes = 50 << 10 })
	c.List(ctx, "/d")
	s.questions()
	for i := range 1000 {
		lookup(c, fmt.Sprintf("/d/f%05d", i))
	}
	if n := s.questions(); n != 0 {
		t.Errorf("%d questions", n)
	}
	lookup(c, "/other")
	if st := c.Stats(); st.Bytes > 50<<10 {
		t.Errorf("%+v", st)
	}
}
