package fs

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestAChangeOfANameWaitsForPins(t *testing.T) {
	s := newTestServer(t)
	n := put(s, s.root, "f", pool.TypeFile)
	ctx := context.Background()
	for range 2 {
		if err := n.pin(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var changed atomic.Bool
	begun, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(end)
		close(begun)
		done, err := n.change(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		changed.Store(true)
		done()
	}()
	<-begun
	n.unpin()
	if changed.Load() {
		t.Error("the name changed while it was pinned")
	}
	n.unpin()
	<-end
	if !changed.Load() {
		t.Error("the change never came")
	}
}

func TestPinsWaitForAChangeOfTheName(t *testing.T) {
	s := newTestServer(t)
	n := put(s, s.root, "f", pool.TypeFile)
	ctx, cancel := context.WithCancel(context.Background())
	done, err := n.change(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { got <- n.pin(ctx) }()
	go func() { _, err := n.settled(ctx); got <- err }()
	cancel()
	for range 2 {
		if err := <-got; err == nil {
			t.Error("a name in change was given out")
		}
	}
	done()
	if waited, err := n.settled(context.Background()); waited || err != nil {
		t.Errorf("%v %v after the change", waited, err)
	}
	if err := n.pin(context.Background()); err != nil {
		t.Error(err)
	}
	if _, err := n.change(ctx); err == nil {
		t.Error("a pinned name was changed")
	}
	n.unpin()
}

func TestFoldersAreNotPinned(t *testing.T) {
	s := newTestServer(t)
	for _, n := range []*node{nil, put(s, s.root, "d", pool.TypeDir)} {
		done, err := n.change(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		done()
	}
}

// waiter stands for a server that answers only when told to, after it did what was asked.
type waiter struct {
	*fakeRemote
	asked, answer chan struct{}
}

func (w *waiter) Stat(ctx context.Context, path string) (pool.Entry, error) {
	if path == "/d/f" {
		w.asked <- struct{}{}
		<-w.answer
	}
	return w.fakeRemote.Stat(ctx, path)
}

func TestLookupBelowAFolderThatIsRenamedMeanwhile(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.put("/d", pool.Entry{Type: pool.TypeDir})
	r.put("/d/f", pool.Entry{})
	d := mustLookup(t, s.root, "d")
	w := &waiter{r, make(chan struct{}), make(chan struct{})}
	s.cfg.Cache = slowCache{s.cfg.Cache, w}
	errno := make(chan syscall.Errno)
	go func() {
		var out fuse.EntryOut
		_, e := d.Lookup(quiet(), "f", &out)
		errno <- e
	}()
	<-w.asked
	wantErrno(t, "rename", s.root.Rename(quiet(), "d", s.root, "e", 0), 0)
	close(w.answer)
	wantErrno(t, "lookup", <-errno, 0)
	wantPath(t, s.names.child(d, "f"), "/e/f", true)
}

// slowCache asks the waiter.
type slowCache struct {
	Metadata
	w *waiter
}

func (c slowCache) Lookup(ctx context.Context, path string) (pool.Entry, error) {
	if path == "/d/f" {
		return c.w.Stat(ctx, path)
	}
	return c.Metadata.Lookup(ctx, path)
}
