package cache

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/listing"
)

func buildListing(entries []pool.Entry) *pool.Listing { return listing.Build(entries) }

var ctx = context.Background()

// TestQuestions counts what steps cost. Each step is a word and a path; "+5s" turns the clock.
func TestQuestions(t *testing.T) {
	files := append(manyFiles("/d", 100), "/a/", "/a/b/", "/a/b/f", "/top")
	tests := []struct {
		name      string
		steps     string
		questions int
		rough     bool
	}{
		{"one name", "lookup /d/f00000", 1, false},
		{"the same name again", "lookup /d/f00000, lookup /d/f00000, fresh /d/f00000", 1, false},
		{"the second name lists", "lookup /d/f00000, lookup /d/f00001, lookup /d/f00002, lookup /d/none", 2, false},
		{"listed", "list /d, lookup /d/f00000, exact /d/f00099, lookup /d/none, list /d", 1, false},
		{"absence in a listing is short-lived", "list /d, +6s, lookup /d/none", 2, false},
		{"presence in a listing is not", "list /d, +6s, lookup /d/f00000", 1, false},
		{"attributes expire", "list /d, +10s, lookup /d/f00000", 2, false},
		{"listing expires", "list /d, +10s, list /d", 2, false},
		{"absence", "lookup /none, lookup /none", 1, false},
		{"absence expires", "lookup /none, +5s, lookup /none", 2, false},
		{"below an absent folder", "lookup /none, lookup /none/x, list /none, lookup /none/x/y", 1, false},
		{"below a file", "lookup /top, lookup /top/x, list /top/x, list /top", 1, false},
		{"by a deep path", "lookup /a, lookup /a/b, lookup /a/b/f", 3, false},
		{"root", "lookup /, lookup /", 1, false},
		{"not older than a second", "list /d, +2s, fresh /d/none, fresh /d/none", 2, false},
		{"a useful listing is made again", "list /d, lookup /d/f1, lookup /d/f2, lookup /d/f3, lookup /d/f4, +11s, " +
			"lookup /d/f1, lookup /d/f2", 2, false},
		{"exact alone", "exact /d/f00000, exact /d/f00000", 1, true},
		{"exact in a row", "exact /d/f00000, exact /d/f00001, exact /d/f00002, exact /d/f00050", 3, true},
		{"exact after a listing", "list /d, exact /d/f00050, exact /d/f00001, exact /d/f00099", 2, true},
		{"rough will do", "list /d, lookup /d/f00050, lookup /d/f00001", 1, true},
		{"folders stay rough", "list /, exact /d, exact /a", 1, true},
		{"exact in an exact listing", "list /d, exact /d/f00000", 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(files...)
			s.rough = test.rough
			c, k := newCache(t, s, nil)
			for _, step := range strings.Split(test.steps, ", ") {
				walkStep(t, s, c, k, step)
			}
			if n := s.questions(); n != test.questions {
				t.Errorf("%d questions, want %d", n, test.questions)
			}
		})
	}
}

func walkStep(t *testing.T, s *server, c *Cache, k *clock, step string) {
	t.Helper()
	if d, ok := strings.CutPrefix(step, "+"); ok {
		step, err := time.ParseDuration(d)
		if err != nil {
			t.Fatal(err)
		}
		k.step(step)
		return
	}
	do, path, _ := strings.Cut(step, " ")
	var err error
	var e pool.Entry
	switch do {
	case "lookup":
		e, err = c.Lookup(ctx, path)
	case "fresh":
		e, err = c.LookupFresh(ctx, path, time.Second)
	case "exact":
		if e, err = c.Exact(ctx, path); err == nil && e.Type == pool.TypeFile && !e.Exact {
			t.Errorf("%s: rough", step)
		}
	case "list":
		_, err = c.List(ctx, path)
	}
	want, there := s.files[path]
	if there && do == "list" && want.Type != pool.TypeDir {
		wantKind(t, err, pool.KindNotDir)
		return
	}
	switch {
	case !there && err == nil:
		t.Errorf("%s: found", step)
	case !there && pool.KindOf(err) != pool.KindNotFound && pool.KindOf(err) != pool.KindNotDir, there && err != nil:
		t.Errorf("%s: %v", step, err)
	case there && do != "list" && (e.Name != want.Name || e.Size != want.Size):
		t.Errorf("%s: %+v", step, e)
	}
}

func TestHundredStatsInThreeFlights(t *testing.T) {
	paths := manyFiles("/d", 100)
	for _, rough := range []bool{false, true} {
		s := newServer(paths...)
		s.rough = rough
		c, _ := newCache(t, s, nil)
		for _, p := range paths[1:] {
			if e, err := c.Exact(ctx, p); err != nil || !e.Exact {
				t.Fatalf("%s: %+v, %v", p, e, err)
			}
		}
		if n := s.questions(); n > 3 {
			t.Errorf("rough %v: %d questions", rough, n)
		}
	}
}

func TestExactBatchIsBounded(t *testing.T) {
	paths := manyFiles("/d", 2500)
	s := newServer(paths...)
	s.rough = true
	c, _ := newCache(t, s, nil)
	if _, err := c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	for _, p := range slices.Backward(paths[1:]) {
		if e, err := c.Exact(ctx, p); err != nil || !e.Exact {
			t.Fatalf("%s: %+v, %v", p, e, err)
		}
	}
	if len(s.many) != 3 {
		t.Errorf("%d flights", len(s.many))
	}
	for _, batch := range s.many {
		if len(batch) > maxBatch {
			t.Errorf("%d paths in a flight", len(batch))
		}
	}
}

func TestExactWhereNoTimeIsToBeHad(t *testing.T) {
	s := newServer("/d/", "/d/f")
	s.rough = true
	c, _ := newCache(t, roughTimes{s}.server, nil)
	c.src = roughTimes{s}
	for range 3 {
		e, err := c.Exact(ctx, "/d/f")
		if err != nil || e.Exact {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	if n := s.questions(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

// roughTimes is a server that has no exact times at all.
type roughTimes struct{ *server }

func (r roughTimes) StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error) {
	results, err := r.server.StatMany(ctx, paths)
	for i := range results {
		results[i].Entry.Exact = false
	}
	return results, err
}

func TestTruncatedListingConcludesNoAbsence(t *testing.T) {
	s := newServer(manyFiles("/d", 10)...)
	s.cut = true
	c, _ := newCache(t, s, nil)
	l, err := c.List(ctx, "/d")
	if err != nil || !l.Truncated {
		t.Fatalf("%+v, %v", l, err)
	}
	s.questions()
	for _, p := range []string{"/d/f00000", "/d/f00001", "/d/f00003"} {
		if _, err := c.Lookup(ctx, p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if s.stats != 2 || s.lists != 0 {
		t.Errorf("%d stats, %d lists", s.stats, s.lists)
	}
}

func TestFolderThatCannotBeListed(t *testing.T) {
	s := newServer(manyFiles("/d", 10)...)
	s.deny["/d"] = &pool.Error{Op: "list", Path: "/d", Kind: pool.KindPermission}
	c, _ := newCache(t, s, nil)
	for _, p := range []string{"/d/f00000", "/d/f00001", "/d/f00002", "/d/f00003"} {
		if _, err := c.Lookup(ctx, p); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if s.lists != 1 || s.stats != 4 {
		t.Errorf("%d lists, %d stats", s.lists, s.stats)
	}
	_, err := c.List(ctx, "/d")
	wantKind(t, err, pool.KindPermission)
}

func TestFailuresAreNotRemembered(t *testing.T) {
	s := newServer("/d/", "/d/f", "/d/g")
	c, _ := newCache(t, s, nil)
	s.fail = &pool.Error{Op: "x", Kind: pool.KindNetwork}
	for _, p := range []string{"/d/f", "/d/g"} {
		_, err := c.Lookup(ctx, p)
		wantKind(t, err, pool.KindNetwork)
		_, err = c.Exact(ctx, p)
		wantKind(t, err, pool.KindNetwork)
	}
	_, err := c.List(ctx, "/d")
	wantKind(t, err, pool.KindNetwork)
	s.fail = nil
	if _, err := c.Lookup(ctx, "/d/f"); err != nil {
		t.Error(err)
	}
}

func TestZeroTTLBelievesNothing(t *testing.T) {
	s := newServer("/d/", "/d/f")
	c, k := newCache(t, s, func(o *Options) { o.AttrTTL, o.DirTTL, o.NegTTL = 0, 0, 0 })
	for i, do := range []func() error{
		func() error { _, err := c.Lookup(ctx, "/d/f"); return err },
		func() error { _, err := c.Lookup(ctx, "/d/f"); return err },
		func() error { _, err := c.Exact(ctx, "/d/f"); return err },
		func() error { _, err := c.List(ctx, "/d"); return err },
		func() error { _, err := c.List(ctx, "/d"); return err },
	} {
		k.step(time.Nanosecond)
		if err := do(); err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if n := s.questions(); n != 1 {
			t.Errorf("%d: %d questions", i, n)
		}
	}
}

func TestPeekNeverAsks(t *testing.T) {
	s := newServer("/d/", "/d/f")
	c, k := newCache(t, s, nil)
	if _, fresh := c.Peek("/d/f"); fresh {
		t.Error("fresh without knowledge")
	}
	c.List(ctx, "/d")
	if e, fresh := c.Peek("/d/f"); !fresh || e.Name != "f" {
		t.Errorf("%+v, %v", e, fresh)
	}
	k.step(time.Minute)
	if e, fresh := c.Peek("/d/f"); fresh || e.Name != "f" {
		t.Errorf("%+v, %v", e, fresh)
	}
	if n := s.questions(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func TestHiddenNames(t *testing.T) {
	s := newServer("/d/", "/d/f", "/d/.tmp-1")
	c, _ := newCache(t, s, func(o *Options) {
		o.Hide = func(name string) bool { return strings.HasPrefix(name, ".tmp-") }
	})
	c.Changed("/d/.tmp-2", testEntry("/d/.tmp-2", pool.TypeFile, 1))
	l, err := c.List(ctx, "/d")
	if err != nil || names(l) != "f" {
		t.Errorf("%v, %v", l, err)
	}
	c.Changed("/d/.tmp-3", testEntry("/d/.tmp-3", pool.TypeFile, 1))
	if l, _ = c.List(ctx, "/d"); names(l) != "f" {
		t.Errorf("%v", l)
	}
	for _, name := range []string{".tmp-1", ".tmp-2", ".tmp-3"} {
		if _, err := c.Lookup(ctx, "/d/"+name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// bareTimes is a server whose answers for many names are SIZE and MDTM: no mode, no owner, no links.
type bareTimes struct{ *server }

func (b bareTimes) StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error) {
	results, err := b.server.StatMany(ctx, paths)
	for i := range results {
		e := &results[i].Entry
		*e = pool.Entry{Name: e.Name, Type: pool.TypeFile, Size: e.Size, ModTime: e.ModTime, Exact: true, UID: -1, GID: -1}
	}
	return results, err
}

func TestExactKeepsWhatTheListingSaid(t *testing.T) {
	s := newServer("/d/", "/d/f")
	s.rough = true
	e := s.files["/d/f"]
	e.Mode, e.HasMode, e.UID, e.GID = 0o600, true, 7, 8
	s.files["/d/f"] = e
	c, _ := newCache(t, s, nil)
	c.src = bareTimes{s}
	if _, err := c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Exact(ctx, "/d/f")
	if err != nil || !got.Exact || !got.ModTime.Equal(e.ModTime) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !got.HasMode || got.Mode != 0o600 || got.UID != 7 || got.GID != 8 {
		t.Errorf("the listing's mode and owner are lost: %+v", got)
	}
}
