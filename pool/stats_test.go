package pool

import "testing"

// Who finds a connection free does not queue, who has to wait for one does, and work ahead counts as soon as a caller waits for it.
func TestQueuedCountsCallersThatWait(t *testing.T) {
	f := newFake(t)
	f.put("/big", "content")
	e := newFakePool(t, f, func(c *Config) { c.MaxConns = 2 })
	clock := useClock(e.Pool)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	before := e.Stats().Queued
	queued := func(what string, want int64) {
		t.Helper()
		if n := e.Stats().Queued - before; n != want {
			t.Errorf("%s: %d callers queued, want %d", what, n, want)
		}
	}
	stat := func() {
		if _, err := e.Stat(e.ctx, "/big"); err != nil {
			t.Error(err)
		}
	}
	stat()
	queued("one connection, idle", 0)
	clock.move(2 * again) // else the transfer would have a second one made for the next
	a := held(t, e, DownloadOptions{})
	queued("a transfer on it", 0)
	stat()
	queued("beside it, with a connection that had to be made", 1)
	for range 3 {
		stat()
	}
	queued("beside it, with that one", 1)
	told := make(chan error)
	go func() {
		_, err := e.Download(soon(t), "/big", DownloadOptions{Length: -1, Size: -1})
		told <- err
	}()
	if err := <-told; err == nil {
		t.Error("two transfers on two connections")
	}
	queued("a second transfer", 2)
	if _, err := e.Download(soon(t), "/big", DownloadOptions{Length: -1, Size: -1, Background: true}); err == nil {
		t.Error("a second transfer ahead")
	}
	queued("a second transfer that nobody asked for", 2)
	a.Close()
}

// A listing ahead that waits for its connection becomes a caller's.
func TestQueuedCountsWorkAheadThatIsWanted(t *testing.T) {
	p, _ := waiting(t, 8)
	ctx := Ahead(t.Context())
	w := &waiter{claim: claim{lane: laneAhead, ahead: true}, wish: ctx.Value(wishKey{}).(*wish), ready: make(chan struct{})}
	if err := p.enqueue(w); err != nil || p.Stats().Queued != 0 {
		t.Fatalf("%v, %d queued", err, p.Stats().Queued)
	}
	p.Wanted(ctx)
	p.Wanted(ctx)
	if n := p.Stats().Queued; n != 1 {
		t.Errorf("%d queued", n)
	}
}

// What a listing took is what came over its data channel.
func TestBytesOfAListing(t *testing.T) {
	e := newEnv(t)
	for i := range int64(2) {
		write(t, e, "f"+itoa(i), "content")
		before := e.Stats().BytesIn
		l, err := e.List(e.ctx, "/")
		if err != nil {
			t.Fatal(err)
		}
		if n := e.Stats().BytesIn - before; l.Bytes != n || n == 0 {
			t.Errorf("%d bytes, %d came in", l.Bytes, n)
		}
	}
}

// An idle connection is ready once its data channel is made, and not while it is in use.
func TestReadyConnections(t *testing.T) {
	e := newEnv(t, conns(0, 1))
	write(t, e, "big", big)
	eventually(t, e, func(s Stats) bool { return s.Connections.Idle == 1 && s.Connections.Ready == 1 })
	d := held(t, e, DownloadOptions{})
	if n := e.Stats().Connections; n.Ready != 0 || n.Busy != 1 {
		t.Errorf("connections %+v", n)
	}
	d.Close()
}

// The rest of a file that is read away, so that the connection need not be cut off, was sent in vain.
func TestRestOfAFileIsInVain(t *testing.T) {
	e := newEnv(t)
	write(t, e, "f", big[:60_000])
	for _, c := range []struct{ length, vain int64 }{{60_000, 0}, {40_000, 20_000}} {
		before := e.Stats().BytesInVain
		if n := len(fetch(t, e, "/f", DownloadOptions{Length: c.length, Size: 60_000})); n != int(c.length) {
			t.Fatalf("%d bytes of %d", n, c.length)
		}
		eventually(t, e, func(s Stats) bool { return s.Connections.Busy == 0 })
		if n := e.Stats().BytesInVain - before; n != c.vain {
			t.Errorf("%d bytes of 60000: %d in vain", c.length, n)
		}
	}
}
