package pool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// big is longer than what a short transfer may be, and than what the kernel buffers.
var big = strings.Repeat("0123456789abcdef", 1<<20)

// held opens a download that holds its connection until it is closed.
func held(t *testing.T, e *env, o DownloadOptions) Download {
	t.Helper()
	o.Length, o.Size = -1, -1
	d, err := e.Download(e.ctx, "/big", o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// soon gives a context that ends before the pool's own time does.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestMetadataIsNeverBehindTransfers(t *testing.T) {
	e := newEnv(t, conns(0, 3))
	write(t, e, "big", big)
	write(t, e, "small", "x")
	a, b := held(t, e, DownloadOptions{}), held(t, e, DownloadOptions{})
	if _, err := e.Stat(e.ctx, "/small"); err != nil {
		t.Error(err)
	}
	if got := fetch(t, e, "/small", DownloadOptions{Length: -1, Size: 1}); string(got) != "x" {
		t.Errorf("a short transfer: %q", got)
	}
	_, err := e.Download(soon(t), "/big", DownloadOptions{Length: -1, Size: -1})
	if err == nil {
		t.Error("a third long transfer took the connection kept for metadata")
	}
	a.Close()
	c := held(t, e, DownloadOptions{})
	b.Close()
	c.Close()
	if n := e.Stats().Connections; n.Open > 3 || n.Max != 3 {
		t.Errorf("connections %+v", n)
	}
}

func TestBackgroundTakesNothingThatIsNeeded(t *testing.T) {
	one := newEnv(t, conns(0, 1))
	write(t, one, "big", big)
	_, err := one.Download(one.ctx, "/big", DownloadOptions{Length: -1, Size: -1, Background: true})
	wantKind(t, "with one connection", err, KindLimit)

	three := newEnv(t, conns(0, 3))
	write(t, three, "big", big)
	if _, err := three.List(Ahead(three.ctx), "/"); err != nil {
		t.Error(err)
	}
	d, other := held(t, three, DownloadOptions{Background: true}), held(t, three, DownloadOptions{Background: true})
	_, err = three.Download(soon(t), "/big", DownloadOptions{Length: -1, Size: -1, Background: true})
	if err == nil {
		t.Error("all three connections went to work nobody asked for")
	}
	_, err = three.List(Ahead(three.ctx), "/")
	wantKind(t, "a listing ahead that would have to wait", err, KindLimit)
	if n := three.Stats().Errors; len(n) != 0 {
		t.Errorf("counted as errors: %v", n)
	}
	other.Close()
	a := held(t, three, DownloadOptions{})
	if _, err := three.Stat(three.ctx, "/big"); err != nil {
		t.Error(err)
	}
	a.Close()
	d.Close()
}

func TestLimitIsLearned(t *testing.T) {
	for name, served := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, conns(served, 8))
			write(t, e, "f", "content")
			var g errgroup.Group
			for range 20 {
				g.Go(func() error { return readAll(e, "/f", "content") })
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			if s := e.Stats().Connections; s.Open > served || s.LearnedLimit != served {
				t.Errorf("connections %+v, served %d", s, served)
			}
		})
	}
}

// dialed waits until no connection is being made any more.
func dialed(e *env) Connections {
	s := e.Stats().Connections
	for deadline := time.Now().Add(20 * time.Second); s.Dialing > 0 && time.Now().Before(deadline); s = e.Stats().Connections {
		time.Sleep(time.Millisecond)
	}
	return s
}

// Servers also refuse a connection too many at the password, and without a word.
func TestLimitTexts(t *testing.T) {
	for name, refuse := range map[string]func(c *fakeConn, verb string) bool{
		"530 at PASS": func(c *fakeConn, verb string) bool {
			if verb == "PASS" {
				c.say("530 Sorry, the maximum number of clients (2) from your host are already connected.")
			}
			return verb == "PASS"
		},
		"EOF at PASS": func(c *fakeConn, verb string) bool { return verb == "PASS" && c.cut() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.put("/f", "content")
			e := connectFake(t, f)
			f.script(func(c *fakeConn, verb, _ string) bool { return c.n > 1 && refuse(c, verb) })
			var g errgroup.Group
			for range 10 {
				g.Go(func() error { return readAll(e, "/f", "content") })
			}
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			s := dialed(e) // the reads may be over before the last one was refused
			if s.LearnedLimit != 1 || s.Open != 1 {
				t.Errorf("connections %+v", s)
			}
		})
	}
	t.Run("EOF at the greeting, tried again later", func(t *testing.T) {
		f := newFake(t)
		f.put("/f", "content")
		f.greeting(func(n int) string {
			if n == 2 {
				return ""
			}
			return "220 fake"
		})
		e := newFakePool(t, f)
		clock := useClock(e.Pool)
		if err := e.Connect(e.ctx); err != nil {
			t.Fatal(err)
		}
		grow := func() {
			d, err := e.Download(e.ctx, "/f", DownloadOptions{Length: -1, Size: -1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := e.Stat(soon(t), "/f"); err != nil && KindOf(err) != KindLimit && KindOf(err) != KindTimeout {
				t.Error(err)
			}
			d.Close()
		}
		grow()
		if s := dialed(e); s.LearnedLimit != 1 || e.MaxConnections() != 1 {
			t.Errorf("after the refusal: %+v", s)
		}
		clock.move(firstGrowth - time.Second)
		grow()
		dialed(e)
		if n := f.connections(); n != 2 {
			t.Errorf("%d connections made before it was time", n)
		}
		clock.move(2 * time.Second)
		grow()
		if s := dialed(e); s.Open != 2 || f.connections() != 3 {
			t.Errorf("not tried again: %+v, %d connections made", s, f.connections())
		}
	})
}

// suspendable reads a file and makes room when asked to, as readers of the room above do.
type suspendable struct {
	e          *env
	background bool

	mu  sync.Mutex
	d   Download // guarded by mu
	off int64
}

func (r *suspendable) pressure() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.d != nil {
		r.d.Close()
		r.d = nil
	}
}

func (r *suspendable) Read(p []byte) (int, error) {
	r.mu.Lock()
	d := r.d
	r.mu.Unlock()
	if d == nil {
		var err error
		if d, err = r.e.Download(r.e.ctx, "/big", DownloadOptions{Offset: r.off, Length: -1, Size: int64(len(big)), OnPressure: r.pressure, Background: r.background}); err != nil {
			return 0, err
		}
		r.mu.Lock()
		r.d = d
		r.mu.Unlock()
	}
	n, err := d.Read(p)
	r.off += int64(n)
	r.mu.Lock()
	gone := r.d == nil
	r.mu.Unlock()
	if err != nil && err != io.EOF && gone {
		err = nil
	}
	return n, err
}

// One connection must do for a copy from the mount to the mount: both sides make room for each other.
func TestOneConnectionCopies(t *testing.T) {
	e := newEnv(t, conns(1, 8))
	write(t, e, "big", big)
	src := &suspendable{e: e}
	var sent int64
	buf := make([]byte, 3<<20)
	for {
		n, rerr := io.ReadFull(src, buf)
		if n > 0 {
			mode := UploadAppend
			if sent == 0 {
				mode = UploadStore
			}
			u, err := e.Upload(e.ctx, "/copy", UploadOptions{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Write(buf[:n]); err != nil {
				t.Fatal(err)
			}
			sent += int64(n)
			if _, err := u.Finish(e.ctx, Finish{Size: sent}); err != nil {
				t.Fatal(err)
			}
		}
		if rerr != nil {
			break
		}
	}
	src.pressure()
	if got := fetch(t, e, "/copy", DownloadOptions{Length: -1, Size: -1}); !bytes.Equal(got, []byte(big)) {
		t.Errorf("copy has %d bytes of %d", len(got), len(big))
	}
	s := e.Stats()
	if s.Pressures == 0 || s.Connections.Open > 1 {
		t.Errorf("pressures %d, connections %+v", s.Pressures, s.Connections)
	}
}

func TestWaitersAreServedInOrder(t *testing.T) {
	e := newEnv(t, conns(0, 1))
	write(t, e, "big", big)
	d := held(t, e, DownloadOptions{})
	const n = 5
	order := make(chan int, n)
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			c, err := e.acquire(e.ctx, claim{lane: laneMeta})
			if err != nil {
				return err
			}
			order <- i
			e.release(c)
			return nil
		})
		for e.Stats().Waiting != i+1 { // queued, one after the other
			if e.ctx.Err() != nil {
				t.Fatal("the waiter was not queued")
			}
			time.Sleep(time.Millisecond)
		}
	}
	d.Close()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if got := <-order; got != i {
			t.Errorf("place %d was served to caller %d", i, got)
		}
	}
}

func TestWaitingHasAnEnd(t *testing.T) {
	e := newEnv(t, conns(0, 1), func(_ *embeddedConfig, c *Config) { c.Timeout = 300 * time.Millisecond })
	write(t, e, "big", big)
	d := held(t, e, DownloadOptions{})
	_, err := e.Stat(e.ctx, "/big")
	wantKind(t, "Stat", err, KindTimeout)
	if !errors.Is(err, errBusy) {
		t.Errorf("cause: %v", err)
	}
	d.Close()
	if s := e.Stats(); s.Waiting != 0 {
		t.Errorf("%d still waiting", s.Waiting)
	}
}

// While callers wait, for something short of another or for the next attempt to connect, nobody looks at the queue again and again.
func TestWaitingCostsNothing(t *testing.T) {
	for what, queue := range map[string]func(p *Pool, now time.Time){
		"behind something short": func(p *Pool, now time.Time) {
			p.held[laneMeta] = p.cfg.MaxConns
			p.queueLocked(&waiter{claim: claim{lane: laneMeta}, ready: make(chan struct{}), pressAt: now.Add(pressAfter)})
		},
		"for the next attempt to connect": func(p *Pool, now time.Time) {
			p.limit.dialAt = now.Add(time.Minute)
			p.queueLocked(&waiter{claim: claim{lane: laneMeta}, ready: make(chan struct{}), pressAt: now.Add(pressAfter)})
		},
	} {
		p, err := New(Config{Session: sessionFor("h")})
		if err != nil {
			t.Fatal(err)
		}
		useClock(p)
		p.mu.Lock()
		queue(p, p.now())
		p.mu.Unlock()
		if next := p.maintain(); next.IsZero() {
			t.Errorf("%s: the janitor does not come back", what)
		}
		select {
		case <-p.wake:
			t.Errorf("%s: the janitor is called again by its own visit", what)
		default:
		}
		p.Close()
	}
}

func TestRefusedLoginBacksOff(t *testing.T) {
	f := newFake(t)
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "PASS" {
			c.say("530 Login incorrect.")
		}
		return verb == "PASS"
	})
	e := newFakePool(t, f)
	clock := useClock(e.Pool)
	wantKind(t, "Connect", e.Connect(e.ctx), KindAuth)
	_, err := e.Stat(e.ctx, "/f")
	wantKind(t, "at once", err, KindAuth)
	if n := f.sent("PASS"); n != 1 {
		t.Errorf("%d passwords were sent, want 1", n)
	}
	clock.move(firstRelogin + time.Second)
	_, err = e.Stat(e.ctx, "/f")
	wantKind(t, "a minute later", err, KindAuth)
	clock.move(firstRelogin + time.Second)
	_, err = e.Stat(e.ctx, "/f")
	wantKind(t, "two minutes later", err, KindAuth)
	if n := f.sent("PASS"); n != 2 {
		t.Errorf("%d passwords were sent, want 2", n)
	}
	f.script(nil)
	clock.move(lastRelogin)
	if _, err = e.Stat(e.ctx, "/"); err != nil {
		t.Errorf("when the password works again: %v", err)
	}
}

func TestIdleConnections(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := newFakePool(t, f)
	clock := useClock(e.Pool)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	d, err := e.Download(e.ctx, "/f", DownloadOptions{Length: -1, Size: -1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Stat(e.ctx, "/f"); err != nil { // grows to two
		t.Fatal(err)
	}
	d.Close()
	eventually(t, e, func(s Stats) bool { return s.Connections.Idle == 2 })
	clock.move(keepAlive)
	e.poke()
	eventually(t, e, func(s Stats) bool { return s.Commands["NOOP"] == 2 })
	clock.move(idleExtra)
	e.poke()
	eventually(t, e, func(s Stats) bool { return s.Connections.Open == 1 && s.Connections.Idle == 1 })
	clock.move(idleLast)
	e.poke()
	eventually(t, e, func(s Stats) bool { return s.Connections.Open == 0 })
	if _, err := e.Stat(e.ctx, "/f"); err != nil {
		t.Errorf("after the rest: %v", err)
	}
}

// A data channel made ahead that the server gives up while nobody needs it is replaced with the next sign of life of its connection, and not
// more often, as the server may do the same again.
func TestSpareThatTheServerGivesUp(t *testing.T) {
	f := newFake(t)
	e := newFakePool(t, f, oneConnection)
	clock := useClock(e.Pool)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "MLST" {
			c.pasv.Close() // and what waits there with it
		}
		return false
	})
	lose := func() {
		t.Helper()
		if _, err := e.Stat(e.ctx, "/f"); KindOf(err) != KindNotFound {
			t.Fatal(err)
		}
		eventually(t, e, func(Stats) bool { return !e.spareReady() })
		clock.move(spareAfter)
		e.poke()
	}
	there := func(asked int64) {
		t.Helper()
		eventually(t, e, func(s Stats) bool { return s.Commands["EPSV"] == asked && e.spareReady() })
	}
	there(1)
	lose()
	there(2)
	lose()
	e.maintain()
	eventually(t, e, func(s Stats) bool { return s.Connections.Idle == 1 }) // with whatever was to be done for it
	if n := e.Stats().Commands["EPSV"]; n != 2 {
		t.Errorf("%d data channels were asked for at once", n)
	}
	clock.move(keepAlive)
	e.poke()
	there(3)
}

// spareReady says that the idle connection has its data channel.
func (e *env) spareReady() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.idle) == 1 && e.idle[0].s.SpareReady()
}

// A connection that was silent for long is asked before it is used, and replaced when it does not answer: whether the caller
// asks it or the janitor, whose question the caller waits for.
func TestOldConnectionIsAsked(t *testing.T) {
	for who, ask := range map[string]func(*Pool){"caller": func(*Pool) {}, "janitor": (*Pool).poke} {
		t.Run(who, func(t *testing.T) {
			f := newFake(t)
			f.put("/f", "content")
			e := newFakePool(t, f, func(c *Config) { c.Timeout = 3 * time.Second })
			clock := useClock(e.Pool)
			if err := e.Connect(e.ctx); err != nil {
				t.Fatal(err)
			}
			f.script(func(c *fakeConn, _, _ string) bool { return c.n == 1 }) // frozen from now on
			clock.move(trustFor + time.Second)
			if ask(e.Pool); who == "janitor" {
				eventually(t, e, func(s Stats) bool { return s.Commands["NOOP"] == 1 })
			}
			if _, err := e.Stat(e.ctx, "/f"); err != nil {
				t.Error(err)
			}
			if n := f.connections(); n != 2 {
				t.Errorf("%d connections were made, want 2", n)
			}
		})
	}
}

func TestDeadWhileIdle(t *testing.T) {
	e := newEnv(t)
	write(t, e, "f", "content")
	for range 3 {
		e.srv.Cut()
		if err := readAll(e, "/f", "content"); err != nil {
			t.Error(err)
		}
	}
}

func TestOldSessionsAreReplaced(t *testing.T) {
	f := newFake(t)
	e := newFakePool(t, f)
	clock := useClock(e.Pool)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	clock.move(maxAge + time.Second)
	if _, err := e.Stat(e.ctx, "/f"); !absent(err) {
		t.Error(err)
	}
	if n := f.connections(); n != 2 {
		t.Errorf("%d connections were made, want 2", n)
	}
}

// eventually waits for what the pool does on its own.
func eventually(t *testing.T, e *env, ok func(Stats) bool) {
	t.Helper()
	for !ok(e.Stats()) {
		if e.ctx.Err() != nil {
			t.Fatalf("never came: %+v", e.Stats())
		}
		time.Sleep(time.Millisecond)
	}
}
