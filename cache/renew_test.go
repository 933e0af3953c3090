package cache

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// creator makes files one after the other, each only if it is not there.
type creator struct {
	*testing.T
	s            *server
	c            *Cache
	k            *clock
	made         int
	waited       atomic.Int64 // listings and other questions that the creator waited for
	aside        atomic.Int64 // those that it did not
	first        func()       // called while the creator waits
	gate, behind func(ctx context.Context) error
}

func newCreator(t *testing.T, s *server) *creator {
	m := &creator{T: t, s: s}
	s.gate = func(ctx context.Context, _, _ string) error {
		if ctx.Value(backgroundKey{}) == nil {
			m.waited.Add(1)
			if m.first != nil {
				m.first()
			}
			return nil
		}
		m.aside.Add(1)
		if m.gate != nil {
			return m.gate(ctx)
		}
		return nil
	}
	s.late = func(ctx context.Context, _, _ string) error {
		if m.behind != nil && ctx.Value(backgroundKey{}) != nil {
			return m.behind(ctx)
		}
		return nil
	}
	m.c, m.k = newCache(t, s, walkOptions)
	return m
}

// make makes the next file.
func (m *creator) make(dir string) {
	m.Helper()
	m.made++
	path := fmt.Sprintf("%s/new%05d", dir, m.made)
	_, err := m.c.LookupFresh(ctx, path, time.Second)
	wantKind(m.T, err, pool.KindNotFound)
	m.s.put(path, pool.TypeFile, 1)
	m.c.Changed(path, file(path, 1))
}

// steady makes n files, one in each step.
func (m *creator) steady(dir string, n int, step time.Duration) {
	m.Helper()
	for range n {
		m.make(dir)
		settle(m.c)
		m.k.step(step)
	}
}

func (m *creator) vain() int64 { return m.c.Stats().PrefetchedInVain }

func TestSteadyExclusiveCreatesWaitForNoListing(t *testing.T) {
	for _, step := range []time.Duration{5 * time.Millisecond, 65 * time.Millisecond, 130 * time.Millisecond, 640 * time.Millisecond} {
		m := newCreator(t, newServer("/d/"))
		if _, err := m.c.List(ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		n := int(10 * time.Second / step)
		if n > renewMost {
			n = renewMost
		}
		m.steady("/d", n, step)
		if m.waited.Load() != 1 {
			t.Errorf("every %v: waited for %d questions, 1 was the first listing", step, m.waited.Load())
		}
		if most := 2 + int64(time.Duration(n)*step/(500*time.Millisecond)); m.aside.Load() > most || m.vain() != 0 {
			t.Errorf("every %v: %d listings aside, %d in vain", step, m.aside.Load(), m.vain())
		}
		checkAccounts(t, m.c)
	}
}

// What another host makes is seen as soon as ever: an absence that is believed is less than a second old.
func TestRenewedListingsKeepTheAge(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	if _, err := m.c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		theirs := fmt.Sprintf("/d/theirs%03d", i)
		m.s.put(theirs, pool.TypeFile, 1)
		m.steady("/d", 4, 250*time.Millisecond)
		if _, err := m.c.LookupFresh(ctx, theirs, time.Second); err != nil {
			t.Fatalf("%s: %v", theirs, err)
		}
	}
}

// Folders are made after a plain look whether they are there.
func TestSteadyMkdirsWaitForNoListing(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	if _, err := m.c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		path := fmt.Sprintf("/d/new%05d", i)
		_, err := m.c.Lookup(ctx, path)
		wantKind(t, err, pool.KindNotFound)
		m.s.put(path, pool.TypeDir, 0)
		m.c.MadeDir(path, testEntry(path, pool.TypeDir, 0))
		m.steady(path, 10, 150*time.Millisecond)
	}
	if m.waited.Load() != 1 || m.vain() != 0 {
		t.Errorf("waited for %d questions, 1 was the first listing; %d in vain", m.waited.Load(), m.vain())
	}
	if most := int64(40 * (3 + 1)); m.aside.Load() > most { // of 60 s, 1.5 s in each folder
		t.Errorf("%d listings aside", m.aside.Load())
	}
	checkAccounts(t, m.c)
}

func TestARenewalInVainIsTheLast(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	for range 5 { // somebody who looks, and makes some files at a time
		if _, err := m.c.List(ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		m.steady("/d", 3, 300*time.Millisecond)
		m.k.step(10 * time.Second)
	}
	if m.aside.Load() != 1 || m.vain() != 1 {
		t.Errorf("%d listings aside, %d in vain", m.aside.Load(), m.vain())
	}
	if st := m.c.Stats(); st.BytesInVain != listingCost || st.Unread != 0 {
		t.Errorf("%d bytes in vain, %d unread", st.BytesInVain, st.Unread)
	}
	m.waited.Store(0)
	m.steady("/d", 60, 100*time.Millisecond)
	if m.aside.Load() < 4 || m.waited.Load() > 4 {
		t.Errorf("%d listings aside, %d waited for, once many files are made", m.aside.Load(), m.waited.Load())
	}
	checkAccounts(t, m.c)
}

// A listing that takes its time is begun sooner, and a large one when so many are asked for that somebody would wait for it.
func TestRenewalsGoByTheListing(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	m.first = func() { m.k.step(300 * time.Millisecond) }
	var began time.Time
	m.gate = func(context.Context) error { began = m.k.now(); return nil }
	start := m.k.now()
	if _, err := m.c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	m.steady("/d", 9, 50*time.Millisecond)
	if age := began.Sub(start); age != 650*time.Millisecond {
		t.Errorf("begun after %v", age)
	}
	m = newCreator(t, newServer(manyFiles("/d", 2000)...))
	if _, err := m.c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	m.steady("/d", 100, 40*time.Millisecond)
	if m.waited.Load() != 1 || m.aside.Load() < 3 || m.vain() != 0 {
		t.Errorf("waited for %d questions, 1 was the first listing; %d aside, %d in vain", m.waited.Load(), m.aside.Load(), m.vain())
	}
}

func TestNothingIsRenewedWithoutNeed(t *testing.T) {
	large := newCreator(t, newServer(manyFiles("/d", bigFolder+1)...))
	large.steady("/d", 100, 40*time.Millisecond)
	idle := newCreator(t, newServer(manyFiles("/d", 2000)...))
	idle.steady("/d", 30, 100*time.Millisecond)
	slow := newCreator(t, newServer("/d/"))
	slow.first = func() { slow.k.step(500 * time.Millisecond) }
	slow.steady("/d", 10, 100*time.Millisecond)
	seldom := newCreator(t, newServer("/d/"))
	seldom.steady("/d", 30, 1100*time.Millisecond)
	alone := newCreator(t, newServer("/d/"))
	alone.c.o.Walk.Parallel = 0
	alone.steady("/d", 30, 100*time.Millisecond)
	present := newCreator(t, newServer("/d/", "/d/x"))
	for range 100 {
		if _, err := present.c.Lookup(ctx, "/d/x"); err != nil {
			t.Fatal(err)
		}
		present.k.step(100 * time.Millisecond)
	}
	for name, m := range map[string]*creator{"large": large, "idle": idle, "slow": slow, "seldom": seldom, "alone": alone, "present": present} {
		settle(m.c)
		if m.aside.Load() != 0 {
			t.Errorf("%s: %d listings aside", name, m.aside.Load())
		}
	}
}

// A creator goes on by itself where no connection can be spared.
func TestARenewalThatIsRefused(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	m.gate = func(context.Context) error { return context.DeadlineExceeded }
	m.steady("/d", 40, 100*time.Millisecond)
	if m.waited.Load() > 8 || m.vain() != 0 || m.c.Stats().Prefetched != 0 {
		t.Errorf("%d questions, %+v", m.waited.Load(), m.c.Stats())
	}
}

// A creator does not wait for a renewal, which may have to wait for a connection; and what it made meanwhile is there when the
// listing that does not have it yet arrives at last.
func TestARenewalThatIsLate(t *testing.T) {
	m := newCreator(t, newServer("/d/"))
	looked, answer := make(chan struct{}), make(chan struct{})
	if _, err := m.c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	m.make("/d")
	m.k.step(800 * time.Millisecond)
	m.behind = func(context.Context) error { close(looked); <-answer; return nil }
	m.make("/d")
	<-looked
	for range 5 {
		m.make("/d")
		m.k.step(100 * time.Millisecond)
	}
	close(answer)
	settle(m.c)
	l, err := m.c.List(ctx, "/d")
	if err != nil || len(l.Entries) != m.made {
		t.Errorf("%d names of %d, %v", len(l.Entries), m.made, err)
	}
	if st := m.c.Stats(); st.Prefetched != 1 || st.PrefetchedInVain != 1 || st.BytesInVain != listingCost {
		t.Errorf("%+v", st) // the creator's own listing is younger
	}
	for i := 1; i <= m.made; i++ {
		if _, err := m.c.LookupFresh(ctx, fmt.Sprintf("/d/new%05d", i), time.Second); err != nil {
			t.Error(err)
		}
	}
}
