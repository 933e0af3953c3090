package cache

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// atHand lets listings begin at once while can is true.
func (m *creator) atHand(can *bool) {
	m.c.o.Walk.AtHand = func(ctx context.Context) (context.Context, bool) { return m.c.o.Walk.Background(ctx), *can }
}

// look asks for a name that is not there.
func (m *creator) look(path string) {
	m.Helper()
	_, err := m.c.Lookup(ctx, path)
	wantKind(m.T, err, pool.KindNotFound)
}

// Who comes back to a folder whose absences are too old by then waits for one question about a name; the listing is there for the
// names that follow. Where no connection is at hand it is as ever.
func TestListingBesideTheFirstQuestion(t *testing.T) {
	for what, c := range map[string]struct {
		can           bool
		waited, aside int64
	}{"at hand": {true, 1, 1}, "not at hand": {false, 2, 0}} {
		m := newCreator(t, newServer("/d/", "/d/f"))
		m.atHand(&c.can)
		m.s.put("/d/made", pool.TypeDir, 0)
		m.c.MadeDir("/d/made", testEntry("/d/made", pool.TypeDir, 0))
		m.k.step(8 * time.Second)
		m.look("/d/made/a")
		settle(m.c)
		for _, name := range []string{"b", "c", "d"} {
			m.look("/d/made/" + name)
		}
		if m.waited.Load() != c.waited || m.aside.Load() != c.aside || m.vain() != 0 {
			t.Errorf("%s: waited for %d questions, %d aside, %d in vain", what, m.waited.Load(), m.aside.Load(), m.vain())
		}
		checkAccounts(t, m.c)
	}
}

// The second name waits for the listing that is under way, and asks by itself if that fails.
func TestListingBesideIsJoined(t *testing.T) {
	for what, c := range map[string]struct {
		err    error
		waited int64
	}{"arrives": {nil, 2}, "fails": {errors.New("no connection to spare"), 3}} {
		m := newCreator(t, newServer("/d/"))
		can := true
		m.atHand(&can)
		if _, err := m.c.List(ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		m.k.step(6 * time.Second)
		answer := make(chan struct{})
		m.gate = func(context.Context) error { <-answer; return c.err }
		m.look("/d/a")
		told := make(chan struct{})
		go func() {
			defer close(told)
			m.look("/d/b")
		}()
		waiting(m.c, question{askList, "/d"})
		close(answer)
		<-told
		if m.waited.Load() != c.waited {
			t.Errorf("%s: waited for %d questions, 1 was the first listing", what, m.waited.Load())
		}
	}
}

// waiting returns when somebody waits for q.
func waiting(c *Cache, q question) {
	for there := false; !there; {
		c.mu.Lock()
		f := c.flights[q]
		there = f != nil && f.waiters > 0
		c.mu.Unlock()
		if !there {
			time.Sleep(time.Millisecond)
		}
	}
}

// Nothing is listed beside a question where nobody came back for the listing before, about a name that was there, in a folder that is
// large or was left long ago, or for who wants to know it as of now.
func TestListingBesideOnlyWhereItPays(t *testing.T) {
	can := true
	fresh := func(files ...string) *creator {
		m := newCreator(t, newServer(files...))
		m.atHand(&can)
		if _, err := m.c.List(ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		return m
	}
	vain := fresh("/d/")
	for _, name := range []string{"a", "b", "c", "d"} {
		vain.k.step(12 * time.Second)
		vain.look("/d/" + name)
		settle(vain.c)
	}
	present := fresh("/d/", "/d/x")
	present.k.step(12 * time.Second)
	if _, err := present.c.Lookup(ctx, "/d/x"); err != nil {
		t.Error(err)
	}
	large := fresh(manyFiles("/d", renewMost+1)...)
	large.k.step(12 * time.Second)
	large.look("/d/new")
	left := fresh("/d/")
	left.k.step(missWindow + time.Second)
	left.look("/d/a")
	exclusive := fresh("/d/")
	exclusive.k.step(2 * time.Second)
	exclusive.make("/d")
	for name, m := range map[string]*creator{"present": present, "large": large, "left": left, "exclusive": exclusive, "vain": vain} {
		settle(m.c)
		want := int64(0)
		if m == vain {
			want = 1
		}
		if m.aside.Load() != want {
			t.Errorf("%s: %d listings aside, want %d", name, m.aside.Load(), want)
		}
		checkAccounts(t, m.c)
	}
}

// The attributes of a folder come with the question about a name in it, once they have lived half of their time.
func TestFolderIsAskedForTogether(t *testing.T) {
	for _, together := range []bool{true, false} {
		s := newServer("/d/")
		c, k := newCache(t, s, func(o *Options) { o.Together = func() bool { return together } })
		if _, err := c.Lookup(ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		k.step(c.o.AttrTTL/2 - time.Second)
		_, err := c.LookupFresh(ctx, "/d/a", time.Second)
		wantKind(t, err, pool.KindNotFound)
		if len(s.many) != 0 {
			t.Errorf("young attributes: asked for %v", s.many)
		}
		k.step(time.Second)
		s.questions()
		s.put("/d", pool.TypeDir, 4711)
		c.ForgetDir("/d")
		_, err = c.LookupFresh(ctx, "/d/a", time.Second)
		wantKind(t, err, pool.KindNotFound)
		if n := s.questions(); n != 1 {
			t.Errorf("together %v: %d questions", together, n)
		}
		e, _ := c.Peek("/d")
		k.step(c.o.AttrTTL - time.Second)
		if _, fresh := c.Peek("/d"); fresh != together || (e.Size == 4711) != together {
			t.Errorf("together %v: attributes fresh %v, %+v", together, fresh, e)
		}
		checkAccounts(t, c)
	}
}

// A folder that is gone, or is none any more, is noticed so, too.
func TestFolderThatIsGoneIsNoticedTogether(t *testing.T) {
	s := newServer("/d/")
	c, k := newCache(t, s, func(o *Options) { o.Together = func() bool { return true } })
	if _, err := c.Lookup(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	k.step(c.o.AttrTTL / 2)
	s.remove("/d")
	_, err := c.Lookup(ctx, "/d/a")
	wantKind(t, err, pool.KindNotFound)
	s.questions()
	_, err = c.Lookup(ctx, "/d")
	wantKind(t, err, pool.KindNotFound)
	if n := s.questions(); n != 0 {
		t.Errorf("%d more questions", n)
	}
}
