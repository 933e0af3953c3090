package cache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// moments of a path: what was there, and since when.
type past struct {
	at   time.Time
	size int64 // -1: nothing, -2: a folder
}

// model remembers what each path was, and since when the cache must know.
type model struct {
	t     *testing.T
	r     *rand.Rand
	c     *Cache
	k     *clock
	s     *server
	o     Options
	paths []string
	was   map[string][]past
	own   map[string]int // index into was of the oldest that the cache may still tell
	log   []string
	busy  bool // an answer is held back while something changes
	size  int64
}

const (
	sizeNone = -1
	sizeDir  = -2
)

// TestModel makes random changes, ours and others', also while answers are under way, and steps of the clock. An answer
// must have been true within its TTL and not before our own last change of the path.
func TestModel(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runModel(t, seed, 400) })
	}
}

func runModel(t *testing.T, seed uint64, steps int) {
	m := &model{t: t, r: rand.New(rand.NewPCG(seed, 7)), was: map[string][]past{}, own: map[string]int{}, s: newServer()}
	m.s.rough = seed%3 == 1
	m.c, m.k = newCache(t, m.s, func(o *Options) {
		if seed%2 == 1 {
			o.MaxBytes = 4000
		}
		if seed%5 == 4 {
			o.NegTTL, o.DirTTL = 0, 4*time.Second
		}
		if seed%4 == 3 {
			o.Walk = WalkOptions{Parallel: 2, Background: func(ctx context.Context) context.Context {
				return context.WithValue(ctx, backgroundKey{}, true)
			}}
			o.Walk.AtHand = func(ctx context.Context) (context.Context, bool) { return o.Walk.Background(ctx), seed%8 == 7 }
			o.Together = func() bool { return seed%8 == 3 }
		}
		m.o = *o
	})
	m.s.late = func(ctx context.Context, _, _ string) error {
		if ctx.Value(backgroundKey{}) == nil {
			m.meanwhile()
		}
		return nil
	}
	m.grow("", 3)
	for range steps {
		m.step()
		settle(m.c)
		if t.Failed() {
			t.Fatalf("after\n%s", strings.Join(m.log[max(0, len(m.log)-40):], "\n"))
		}
	}
	checkAccounts(t, m.c)
}

func (m *model) grow(dir string, depth int) {
	for _, name := range []string{"a", "b", "f", "g"} {
		p := dir + "/" + name
		m.paths = append(m.paths, p)
		m.was[p] = []past{{m.k.now(), sizeNone}}
		if depth > 1 && name < "f" {
			m.grow(p, depth-1)
		}
	}
}

func (m *model) any() string { return m.paths[m.r.IntN(len(m.paths))] }

func (m *model) is(p string) int64 {
	if p == "/" {
		return sizeDir
	}
	w := m.was[p]
	return w[len(w)-1].size
}

// set notes that p is something else now; ours tells that the cache is told.
func (m *model) set(p string, size int64, ours bool) {
	m.was[p] = append(m.was[p], past{m.k.now(), size})
	if ours {
		m.own[p] = len(m.was[p]) - 1
	}
	switch size {
	case sizeNone:
		m.s.remove(p)
	case sizeDir:
		m.s.put(p, pool.TypeDir, size)
	default:
		m.s.put(p, pool.TypeFile, size)
	}
	if size != sizeDir {
		for _, below := range m.below(p) {
			if m.is(below) != sizeNone || ours {
				m.was[below] = append(m.was[below], past{m.k.now(), sizeNone})
			}
			if ours {
				m.own[below] = len(m.was[below]) - 1
			}
		}
	}
}

func (m *model) below(p string) []string {
	var all []string
	for _, q := range m.paths {
		if strings.HasPrefix(q, p+"/") {
			all = append(all, q)
		}
	}
	return all
}

func (m *model) note(format string, args ...any) {
	m.log = append(m.log, fmt.Sprintf(format, args...))
}

// meanwhile runs while an answer is held back.
func (m *model) meanwhile() {
	if m.busy || m.r.IntN(3) > 0 {
		return
	}
	m.busy = true
	m.note("meanwhile {")
	for range 1 + m.r.IntN(3) {
		m.change()
	}
	m.note("}")
	m.busy = false
}

func (m *model) step() {
	switch m.r.IntN(10) {
	case 0:
		d := time.Duration(m.r.IntN(4000)) * time.Millisecond
		m.note("+%v", d)
		m.k.step(d)
	case 1, 2, 3:
		m.change()
	case 4, 5:
		m.list()
	default:
		m.look()
	}
}

func (m *model) change() {
	p := m.any()
	dir := parentOf(p)
	if m.is(dir) != sizeDir {
		return
	}
	m.size++
	ours := m.r.IntN(2) == 0
	switch m.r.IntN(8) {
	case 0, 1, 2: // a file, or new content
		if m.is(p) == sizeDir {
			return
		}
		m.note("put %s %d ours %v", p, m.size, ours)
		m.set(p, m.size, ours)
		if ours {
			m.c.Changed(p, file(p, m.size))
		}
	case 3, 4:
		if m.is(p) != sizeNone {
			return
		}
		m.note("mkdir %s ours %v", p, ours)
		m.set(p, sizeDir, ours)
		if ours && m.r.IntN(2) == 0 {
			m.c.MadeDir(p, testEntry(p, pool.TypeDir, sizeDir))
		} else if ours {
			m.c.Changed(p, testEntry(p, pool.TypeDir, sizeDir))
		}
	case 5:
		m.note("remove %s ours %v", p, ours)
		m.set(p, sizeNone, ours)
		if ours {
			m.c.Removed(p)
		}
	case 6:
		m.rename(p, m.any())
	case 7:
		m.note("forget %s", p)
		if m.r.IntN(2) == 0 {
			m.c.Forget(p)
		} else {
			m.c.ForgetDir(dir)
		}
	}
}

// rename moves p with all below. Attributes keep their age, so their past goes along.
func (m *model) rename(from, to string) {
	if m.is(from) == sizeNone || m.is(parentOf(to)) != sizeDir || strings.HasPrefix(to+"/", from+"/") || strings.HasPrefix(from, to+"/") {
		return
	}
	m.note("rename %s %s", from, to)
	pasts := map[string][]past{}
	for _, p := range append(m.below(from), from) {
		pasts[p] = slices.Clone(m.was[p][m.own[p]:])
	}
	m.set(to, sizeNone, true)
	for p, w := range pasts {
		q := to + strings.TrimPrefix(p, from)
		if p == from {
			w = slices.DeleteFunc(w, func(p past) bool { return p.size == sizeNone })
		}
		if _, ok := m.was[q]; !ok {
			continue // deeper than the model goes
		}
		m.was[q], m.own[q] = w, 0
		switch size := w[len(w)-1].size; size {
		case sizeNone:
		case sizeDir:
			m.s.put(q, pool.TypeDir, size)
		default:
			m.s.put(q, pool.TypeFile, size)
		}
	}
	m.set(from, sizeNone, true)
	m.c.Renamed(from, to)
}

func (m *model) look() {
	p, limit := m.any(), anyAge
	var e pool.Entry
	var err error
	switch how := m.r.IntN(4); how {
	case 0:
		limit = time.Duration(m.r.IntN(3)) * time.Second
		m.note("fresh %s %v", p, limit)
		e, err = m.c.LookupFresh(ctx, p, limit)
	case 1:
		m.note("exact %s", p)
		e, err = m.c.Exact(ctx, p)
		if err == nil && e.Type == pool.TypeFile && !e.Exact {
			m.t.Errorf("%s: rough", p)
		}
	default:
		m.note("lookup %s", p)
		e, err = m.c.Lookup(ctx, p)
	}
	got := e.Size
	if err != nil {
		got = sizeNone
		switch pool.KindOf(err) {
		case pool.KindNotFound:
			limit = min(limit, m.o.NegTTL)
		case pool.KindNotDir: // concluded from the attributes of what is above
		default:
			m.t.Errorf("%s: %v", p, err)
			return
		}
	}
	m.check(p, got, min(limit, m.o.AttrTTL))
}

// check tells whether p was got no longer than limit ago, and not before our last change.
func (m *model) check(p string, got int64, limit time.Duration) {
	m.t.Helper()
	since := m.k.now().Add(-limit)
	w := m.was[p]
	for i := len(w) - 1; i >= m.own[p]; i-- {
		if w[i].size == got {
			return
		}
		if w[i].at.Before(since) {
			break
		}
	}
	m.note("history of %s from %d: %v; now %v", p, m.own[p], w, m.k.now())
	m.t.Errorf("%s is told to be %d", p, got)
}

func (m *model) list() {
	dir := "/"
	if m.r.IntN(4) > 0 {
		dir = m.any()
	}
	m.note("list %s", dir)
	l, err := m.c.List(ctx, dir)
	if err != nil {
		if kind := pool.KindOf(err); kind != pool.KindNotFound && kind != pool.KindNotDir || dir == "/" {
			m.t.Errorf("%s: %v", dir, err)
		}
		return
	}
	told := map[string]bool{}
	for i, e := range l.Entries {
		if i > 0 && l.Entries[i-1].Name >= e.Name {
			m.t.Errorf("%s: out of order: %s", dir, names(l))
		}
		told[join(dir, e.Name)] = true
	}
	for _, p := range m.paths {
		if parentOf(p) == dir {
			m.checkExists(p, told[p], m.o.DirTTL)
		}
	}
}

// checkExists is check for a name in a listing.
func (m *model) checkExists(p string, got bool, limit time.Duration) {
	m.t.Helper()
	since := m.k.now().Add(-limit)
	w := m.was[p]
	for i := len(w) - 1; i >= m.own[p]; i-- {
		if (w[i].size != sizeNone) == got {
			return
		}
		if w[i].at.Before(since) {
			break
		}
	}
	m.note("history of %s from %d: %v; now %v", p, m.own[p], w, m.k.now())
	m.t.Errorf("%s is listed: %v", p, got)
}
