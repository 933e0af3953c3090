package pool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// small is a file that is fetched whole for nobody in particular.
var small = DownloadOptions{Length: -1, Size: 7, Background: true}

// fetchAhead begins n downloads that keep their connections until they are closed.
func fetchAhead(t *testing.T, e *env, n int, o DownloadOptions) []Download {
	t.Helper()
	var all []Download
	for range n {
		d, err := e.Download(e.ctx, "/f", o)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// Small files are fetched ahead over all connections. A caller gets one of them when none is free for too long.
func TestShortWorkAheadUsesAllConnections(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := newFakePool(t, f)
	clock := useClock(e.Pool) // it stands: what is ahead is short however slow the machine is
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	var all []Download
	pressed := 0
	o := small
	o.OnPressure = func() {
		pressed++
		all[0].Close() // which one asks does not matter here
	}
	all = fetchAhead(t, e, defaultMaxConns, o)
	if s := e.Stats().Connections; s.Busy != defaultMaxConns || s.Open != defaultMaxConns {
		t.Errorf("connections %+v", s)
	}
	told := make(chan error)
	go func() {
		_, err := e.Stat(e.ctx, "/f")
		told <- err
	}()
	eventually(t, e, func(s Stats) bool { return s.Waiting == 1 })
	clock.move(pressAfter)
	e.poke()
	if err := <-told; err != nil || pressed != 1 {
		t.Errorf("a dialogue: %v, %d asked to make room", err, pressed)
	}
	for _, d := range all {
		d.Close()
	}
}

// One connection is left for callers where what is short turned out to be long, whether it is over or still under way.
func TestWorkAheadThatIsNotShortLeavesOne(t *testing.T) {
	for what, over := range map[string]bool{"over": true, "under way": false} {
		t.Run(what, func(t *testing.T) {
			f := newFake(t)
			f.put("/f", "content")
			e := newFakePool(t, f)
			clock := useClock(e.Pool)
			if err := e.Connect(e.ctx); err != nil {
				t.Fatal(err)
			}
			all := fetchAhead(t, e, 1, small)
			clock.move(10 * time.Second)
			if over {
				all[0].Close()
				eventually(t, e, func(s Stats) bool { return s.Connections.Busy == 0 })
				all = nil
			}
			all = append(all, fetchAhead(t, e, defaultMaxConns-1-len(all), small)...)
			if _, err := e.Download(soon(t), "/f", small); err == nil {
				t.Error("it took the last connection")
			}
			if _, err := e.Stat(e.ctx, "/f"); err != nil || e.Stats().Pressures != 0 {
				t.Errorf("a dialogue: %v, %d asked to make room", err, e.Stats().Pressures)
			}
			for _, d := range all {
				d.Close()
			}
		})
	}
}

// A listing that nobody waits for is given up when somebody waits for its connection, and the connection lives on.
func TestListingAheadGivesWay(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	f.put("/big", "content")
	e := connectFake(t, f, func(c *Config) { c.MaxConns = 2 })
	const line = "type=file;size=1;modify=20200101000000; %s\r\n"
	begun, more := make(chan struct{}), make(chan struct{})
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb != "MLSD" {
			return false
		}
		d := c.data()
		if d == nil {
			return true
		}
		fmt.Fprintf(d, line, "a")
		close(begun)
		<-more
		fmt.Fprintf(d, line, "b")
		_, _ = d.Read(make([]byte, 1)) // until the client hangs up
		d.Close()
		c.say("426 cut off")
		return true
	})
	listed := make(chan error)
	go func() {
		_, err := e.List(Ahead(e.ctx), "/")
		listed <- err
	}()
	<-begun
	d := held(t, e, DownloadOptions{}) // has no way to make room
	stat := make(chan error)
	go func() {
		_, err := e.Stat(e.ctx, "/f")
		stat <- err
	}()
	eventually(t, e, func(s Stats) bool { return s.Pressures == 1 })
	close(more)
	wantKind(t, "the listing", <-listed, KindLimit)
	if err := <-stat; err != nil {
		t.Errorf("the dialogue that waited: %v", err)
	}
	d.Close()
	if n := e.Stats().BytesInVain; n != int64(2*(len(line)-1)) {
		t.Errorf("%d bytes in vain", n)
	}
	if n := e.Stats().Errors; len(n) != 0 || f.connections() != 2 {
		t.Errorf("counted as errors: %v; %d connections were made", n, f.connections())
	}
}

// One that gets no further gives way as well: a server whose data stands still leaves its dialogues alone.
func TestListingAheadThatStandsStillGivesWay(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := connectFake(t, f, func(c *Config) { c.MaxConns = manyConns })
	still := make(chan struct{})
	begun := make(chan struct{}, 100)
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb != "MLSD" {
			return false
		}
		d := c.data()
		begun <- struct{}{}
		<-still
		if d != nil {
			d.Close()
		}
		return c.cut()
	})
	listed := make(chan error, manyConns)
	e.mu.Lock()
	e.talked = time.Time{} // the login was long ago
	e.mu.Unlock()
	for range manyConns {
		go func() {
			_, err := e.List(Ahead(e.ctx), "/")
			listed <- err
		}()
	}
	for range manyConns {
		<-begun
	}
	if _, err := e.Stat(e.ctx, "/f"); err != nil {
		t.Errorf("a dialogue: %v", err)
	}
	wantKind(t, "the listing", <-listed, KindLimit)
	if n := e.Stats().Errors; len(n) != 0 {
		t.Errorf("counted as errors: %v", n)
	}
	f.script(nil)
	close(still)
	for range manyConns - 1 {
		<-listed
	}
}

// What is done aside of a program leaves the only connection to it, where another one can be made.
func TestListingAsideLeavesTheOnlyConnection(t *testing.T) {
	for what, c := range map[string]struct {
		refused bool // the server lets nobody else in
		open    int
	}{"another can be made": {false, 2}, "nobody else is let in": {true, 1}} {
		t.Run(what, func(t *testing.T) {
			f := newFake(t)
			f.put("/f", "content")
			e := connectFake(t, f)
			if c.refused {
				f.mu.Lock()
				f.greet = func(int) string { return "421 Too many users" }
				f.mu.Unlock()
			}
			if l, err := e.List(Aside(e.ctx), "/"); err != nil && (!c.refused || KindOf(err) != KindLimit) || err == nil && len(l.Entries) != 1 {
				t.Errorf("%+v, %v", l, err)
			}
			if open := e.Stats().Connections.Open; open != c.open {
				t.Errorf("%d connections, want %d", open, c.open)
			}
			if _, err := e.Stat(e.ctx, "/f"); err != nil {
				t.Error(err)
			}
		})
	}
}

// A listing at hand takes an idle connection that has its data channel, beside one that a question goes out on, or fails at once.
func TestListingAtHandBeginsAtOnceOrFails(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := connectFake(t, f, func(c *Config) { c.MaxConns = 2 })
	ctx, now := e.AtHand(e.ctx)
	if now {
		t.Error("at hand beside a question, with one connection")
	}
	all := fetchAhead(t, e, 2, DownloadOptions{Length: -1, Size: 7})
	if _, err := e.List(ctx, "/"); KindOf(err) != KindLimit {
		t.Errorf("all connections are busy: %v", err)
	}
	if _, now = e.AtHand(e.ctx); now || e.Stats().Connections.Open != 2 {
		t.Errorf("at hand %v, connections %+v", now, e.Stats().Connections)
	}
	for _, d := range all {
		d.Close()
	}
	eventually(t, e, func(Stats) bool { _, now := e.AtHand(e.ctx); return now })
	if l, err := e.List(ctx, "/"); err != nil || len(l.Entries) != 1 {
		t.Errorf("%+v, %v", l, err)
	}
}

// Who has a dialogue comes again at once, and finds a connection: listings ahead leave one for a moment.
func TestListingsAheadLeaveOneBetweenDialogues(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := newFakePool(t, f, func(c *Config) { c.MaxConns = manyConns })
	clock := useClock(e.Pool)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}, manyConns), make(chan struct{})
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "MLSD" {
			begun <- struct{}{}
			<-end
		}
		return false
	})
	listed := make(chan error, manyConns)
	list := func() {
		_, err := e.List(Ahead(e.ctx), "/")
		listed <- err
	}
	for range manyConns - 1 {
		go list()
	}
	for range manyConns - 1 {
		<-begun
	}
	for range 2 {
		if _, err := e.Stat(e.ctx, "/f"); err != nil { // on the one that is left
			t.Fatal(err)
		}
		list()
		wantKind(t, "a listing ahead between two dialogues", <-listed, KindLimit)
	}
	clock.move(again)
	go list()
	<-begun
	close(end)
	for range manyConns {
		if err := <-listed; err != nil {
			t.Error(err)
		}
	}
	if n := f.connections(); n != manyConns {
		t.Errorf("%d connections were made", n)
	}
}

func TestSpareConnection(t *testing.T) {
	long, now := -time.Hour, time.Duration(0)
	for _, c := range []struct {
		conns, ahead, transfers, dialing int
		talked                           time.Duration // from now
		want                             bool
	}{
		{1, 0, 0, 0, long, true},
		{1, 0, 0, 0, time.Hour, true}, // the clock was set back
		{1, 0, 0, 0, -again, true},
		{1, 0, 0, 0, now, false},
		{8, 7, 0, 0, now, false},
		{8, 7, 0, 0, long, true},
		{8, 6, 0, 0, now, true},
		{8, 5, 2, 0, now, false},
		{1, 0, 0, 1, long, false},
		{2, 0, 0, 6, long, true},
		{2, 1, 0, 6, long, false},
	} {
		p, err := New(Config{Session: session.Config{Host: "127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		clock := useClock(p)
		p.mu.Lock()
		for range c.conns {
			p.conns[&conn{}] = struct{}{}
		}
		p.held[laneAhead], p.held[laneTransfer], p.dialing, p.talked = c.ahead, c.transfers, c.dialing, clock.now().Add(c.talked)
		if got := p.spareLocked(clock.now()); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		clear(p.conns)
		p.mu.Unlock()
		p.Close()
	}
}

// A question ahead that a caller comes to wait for goes on as the caller's, whether it has asked for a connection yet or not.
func TestWantedQuestions(t *testing.T) {
	ahead := claim{lane: laneAhead, ahead: true, press: func() { t.Error("asked to make room") }}
	p, all := waiting(t, 8, ahead, ahead, ahead, claim{lane: laneMeta})
	ctx := Ahead(t.Context())
	p.mu.Lock()
	all[1].wish, _ = ctx.Value(wishKey{}).(*wish)
	p.mu.Unlock()
	p.Wanted(t.Context()) // marked by nobody
	p.Wanted(Ahead(t.Context()))
	p.Wanted(ctx)
	p.Wanted(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.queue, []*waiter{all[3], all[1], all[0], all[2]}) {
		t.Error("not in the order of who waits")
	}
	if w := all[1]; w.lane != laneMeta || w.claim.ahead || w.press != nil || all[0].lane != laneAhead || all[2].lane != laneAhead {
		t.Error("the wrong ones became a caller's")
	}
}

func TestWantedBeforeItQueues(t *testing.T) {
	f := newFake(t)
	e := connectFake(t, f, func(c *Config) { c.MaxConns = 1 })
	ctx := Ahead(e.ctx)
	_, err := e.List(ctx, "/")
	wantKind(t, "with one connection", err, KindLimit)
	e.Wanted(ctx)
	if _, err := e.List(ctx, "/"); err != nil {
		t.Error(err)
	}
}
