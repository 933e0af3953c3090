package reader

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// cable is what lies between a fake server and the reader, in the time of a bubble.
type cable struct {
	flow, link float64 // bytes a second of each download and of all together; 0: any

	mu   sync.Mutex
	free time.Time // when the link has carried all that it took
}

const piece = 32 << 10

// throttle makes downloads as slow as the cable.
func (c *cable) throttle(s *server) {
	s.readSize = func() int { return piece }
	s.before = func(*download) {
		if c.flow > 0 {
			time.Sleep(time.Duration(piece / c.flow * float64(time.Second)))
		}
		if c.link > 0 {
			c.mu.Lock()
			if now := time.Now(); c.free.Before(now) {
				c.free = now
			}
			c.free = c.free.Add(time.Duration(piece / c.link * float64(time.Second)))
			wait := time.Until(c.free)
			c.mu.Unlock()
			time.Sleep(wait)
		}
	}
}

// exact is a file whose versions can be told from each other.
func exact(size int64) func(*Config) {
	was := pool.Entry{Name: "f", Size: size, Exact: true}
	return func(c *Config) { c.Expect = func() *pool.Entry { return &was } }
}

// readAll reads as cp does, and gives the time that it took.
func (g *rig) readAll() time.Duration {
	g.t.Helper()
	start := time.Now()
	for off := int64(0); off < g.srv.size; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	return time.Since(start)
}

const mb = 1e6

// Each flow carries 1 MB/s, whatever the others do.
func TestFlowsThatAreCapped(t *testing.T) {
	for conns, least := range map[int]float64{0: 4.8, 4: 3.5, 3: 2.6, 2: 1.5} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(128*mib + 5)
			srv.conns = conns
			(&cable{flow: mb}).throttle(srv)
			g := newRig(t, srv, 64*mib, exact(srv.size))
			took := g.readAll()
			if ratio := float64(srv.size) / mb / took.Seconds(); ratio < least {
				t.Errorf("%d connections: %.2f times one flow", conns, ratio)
			}
			if conns > 0 && srv.peak > conns {
				t.Errorf("%d connections of %d", srv.peak, conns)
			}
			if st := g.line.Stats(); st.Parallel == 0 || st.Segments == 0 || st.Useless != 0 {
				t.Errorf("%+v", st)
			}
			// What was given up for others may have to be fetched again.
			if more := srv.bytes - srv.size; more > srv.size/8 {
				t.Errorf("%d bytes twice", more)
			}
		})
	}
}

// All flows that help are found and used, however little memory they share: none stands idle because the segments of the others fill
// it. Each segment takes a moment to begin, which on a fast line counts.
func TestFlowsThatShareLittle(t *testing.T) {
	for _, c := range []struct {
		limit int64
		flow  float64
		size  int64
		least float64
	}{{16 * mib, mb, 48 * mib, 4}, {56 * mib, mb, 48 * mib, 4}, {32 * mib, 6 * mb, 200 * mib, 3.6}, {56 * mib, 6 * mb, 200 * mib, 3.9}} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(c.size)
			srv.conns = maxFlows
			(&cable{flow: c.flow}).throttle(srv)
			begins(srv, 100*time.Millisecond)
			g := newRig(t, srv, c.limit, exact(srv.size))
			ratio := float64(srv.size) / c.flow / g.readAll().Seconds()
			if flows, _, _ := g.line.ask(time.Now()); ratio < c.least || flows < steps[1] {
				t.Errorf("%d MiB of memory: %.2f times one flow of %.0f MB/s, %d proven", c.limit/mib, ratio, c.flow/mb, flows)
			}
		})
	}
}

// What is known of the line shortens the proof for the next file.
func TestFlowsOfTheNextFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewLine()
		var took [2]time.Duration
		for i := range took {
			srv := newServer(20 * mib)
			(&cable{flow: mb}).throttle(srv)
			took[i] = newRig(t, srv, 64*mib, exact(srv.size), func(c *Config) { c.Line = line }).readAll()
		}
		if took[1] >= took[0] {
			t.Errorf("%v, then %v", took[0], took[1])
		}
	})
}

// One flow fills the link: two more are tried once, and all goes on as before.
func TestLinkThatIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewLine()
		share := func(c *Config) { c.Line = line }
		c := &cable{link: mb}
		srv := newServer(10 * mib)
		c.throttle(srv)
		g := newRig(t, srv, 64*mib, exact(srv.size), share)
		// The next segment is begun shortly before one ends, and is no flow beside it: connections may be more for a moment.
		carry, peak := srv.before, 0
		srv.before = func(d *download) {
			g.Reader.mu.Lock()
			if g.train != nil {
				peak = max(peak, g.flowsLocked(false))
			}
			g.Reader.mu.Unlock()
			carry(d)
		}
		took := g.readAll()
		if st := line.Stats(); peak != steps[1] || srv.peak > 2*steps[1] || st.Useless == 0 || st.Useless > 3 || st.Parallel != 0 {
			t.Errorf("%d flows, %d connections, %+v", peak, srv.peak, st)
		}
		if srv.bytes != srv.size {
			t.Errorf("%d bytes of %d", srv.bytes, srv.size)
		}
		if alone := time.Duration(float64(srv.size) / mb * float64(time.Second)); took > alone*11/10 {
			t.Errorf("%v in place of %v", took, alone)
		}
		next := newServer(5 * mib)
		c.throttle(next)
		newRig(t, next, 64*mib, exact(next.size), share).readAll()
		if next.peak != 1 {
			t.Errorf("tried again at once")
		}
	})
}

// Nothing is tried for a reader that is the slower one, for a file whose versions cannot be told apart, and for small ones.
func TestOneFlowIsEnough(t *testing.T) {
	rough := func(c *Config) { c.Expect = func() *pool.Entry { return &pool.Entry{Size: 16 * mib} } }
	for what, tc := range map[string]struct {
		size   int64
		change func(*Config)
		pause  time.Duration
	}{
		"slow reader":   {16 * mib, exact(16 * mib), 200 * time.Millisecond},
		"no time":       {16 * mib, rough, 0},
		"no attributes": {16 * mib, func(*Config) {}, 0},
		"another size":  {16 * mib, exact(17 * mib), 0},
		"short":         {2 * mib, exact(2 * mib), 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(tc.size)
			(&cable{flow: mb}).throttle(srv)
			g := newRig(t, srv, 64*mib, tc.change)
			for off := int64(0); off < srv.size; off += 128 << 10 {
				g.read(off, 128<<10)
				time.Sleep(tc.pause)
			}
			if srv.peak != 1 || len(srv.opened) != 1 {
				t.Errorf("%s: %d connections, %d downloads", what, srv.peak, len(srv.opened))
			}
		})
	}
}

// A file that another host changes between two segments is not mixed with its successor.
func TestChangeBetweenSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(30 * mib)
		(&cable{flow: mb}).throttle(srv)
		changed := &pool.Error{Op: "read", Kind: pool.KindChanged}
		srv.refuse = func(n int) error {
			switch o := srv.opened[n]; {
			case n > 0 && o.Expect == nil:
				return errors.New("not asked whether the file is the same")
			case n >= 4:
				return changed
			}
			return nil
		}
		g := newRig(t, srv, 64*mib, exact(srv.size))
		off := int64(0)
		for ; off < srv.size; off += 128 << 10 {
			p := make([]byte, 128<<10)
			if n, err := g.ReadAt(context.Background(), p, off); err != nil {
				if !errors.Is(err, changed) {
					t.Fatalf("at %d: %v", off, err)
				}
				if n > 0 {
					g.read(off, int64(n))
				}
				return
			}
			g.read(off, 128<<10)
		}
		t.Error("nobody was told")
	})
}

// Segments that break go on where they were, as a stream does.
func TestSegmentsThatBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(30 * mib)
		(&cable{flow: mb}).throttle(srv)
		srv.cutAfter = func(n int) int64 { return int64(n%3-1) * mib / 2 }
		srv.refuse = func(n int) error {
			if n%5 == 4 && srv.opened[n].Background {
				return &pool.Error{Op: "read", Kind: pool.KindLimit}
			}
			return nil
		}
		g := newRig(t, srv, 64*mib, exact(srv.size))
		g.readAll()
		if st := g.line.Stats(); st.Segments == 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A server that has less than it said is found out by the segment that lacks it.
func TestShortSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(12 * mib)
		(&cable{flow: mb}).throttle(srv)
		g := newRig(t, srv, 64*mib, exact(16*mib), func(c *Config) { c.Size = 16 * mib })
		for off := int64(0); off < 12*mib; off += 128 << 10 {
			g.read(off, 128<<10)
		}
		if _, err := g.ReadAt(context.Background(), make([]byte, 4096), 12*mib); pool.KindOf(err) != pool.KindIncomplete {
			t.Errorf("error %v", err)
		}
	})
}

// begins makes each download take so long until its first byte.
func begins(srv *server, after time.Duration) {
	carry := srv.before
	srv.before = func(d *download) {
		if d.pos == d.o.Offset {
			time.Sleep(after)
		}
		carry(d)
	}
}

// The train has as many flows as there are connections, in segments as long as those few can have, and no READ takes a connection away from
// another segment; also where only the server knows how many there are.
func TestTrainOfFewConnections(t *testing.T) {
	for _, c := range []struct {
		conns int
		told  bool
		least float64
	}{{2, true, 1.75}, {3, true, 2.7}, {3, false, 2.5}, {4, true, 3.6}, {4, false, 3.5}, {5, false, 4}, {8, true, 5.6}, {8, false, 5.6}} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(256 * mib)
			srv.conns = c.conns
			(&cable{flow: 6.25 * mb}).throttle(srv)
			begins(srv, 80*time.Millisecond)
			g := newRig(t, srv, 56*mib, exact(srv.size), func(cfg *Config) {
				if !c.told {
					cfg.MaxFlows = nil
				}
			})
			ratio := float64(srv.size) / 6.25 / mb / g.readAll().Seconds()
			if ratio < c.least {
				t.Errorf("%d connections: %.2f times one flow", c.conns, ratio)
			}
			urgent, long := 0, 0
			for _, o := range srv.opened[1:] {
				if !o.Background {
					urgent++
				}
				if o.Length >= 6*mib {
					long++
				}
			}
			if urgent > 0 || long < len(srv.opened)/2 || srv.bytes != srv.size {
				t.Errorf("%d connections: %d of %d segments were urgent, %d long, %d bytes twice", c.conns, urgent, len(srv.opened), long, srv.bytes-srv.size)
			}
		})
	}
}

// A segment that stopped because others had the memory goes on as soon as the reader has made room, and not only when it comes there.
func TestSegmentGoesOnWhenThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(256 * mib)
		srv.conns = 4
		(&cable{flow: 6.25 * mb}).throttle(srv)
		carry := srv.before
		srv.before = func(d *download) {
			if d.o.Offset > 60*mib && d.o.Offset < 100*mib && d.pos == d.o.Offset {
				time.Sleep(4 * time.Second) // meanwhile the others fill the memory
			}
			carry(d)
		}
		g := newRig(t, srv, 56*mib, exact(srv.size))
		if took := g.readAll(); took > 16*time.Second || srv.bytes != srv.size {
			t.Errorf("%v, %d bytes twice", took, srv.bytes-srv.size)
		}
	})
}

// Who comes for a connection has that of the segment furthest ahead. What that one had not brought is asked for again, in its turn, before a
// READ gets there.
func TestTrainThatGivesWayHasNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(64 * mib)
		srv.conns = 4
		(&cable{flow: mb}).throttle(srv)
		g := newRig(t, srv, 64*mib, exact(srv.size))
		off := int64(0)
		for ; off < 24*mib; off += 128 << 10 {
			g.read(off, 128<<10)
		}
		srv.mu.Lock()
		var last *download
		busy := map[*download]bool{}
		for d := range srv.active {
			if busy[d] = d.end-d.pos > mib; last == nil || d.o.Offset > last.o.Offset {
				last = d
			}
		}
		srv.mu.Unlock()
		last.o.OnPressure()
		time.Sleep(100 * time.Millisecond)
		srv.mu.Lock()
		for d := range busy {
			if busy[d] && srv.active[d] == (d == last) {
				t.Errorf("that at %d is active: %v; the one furthest ahead is that at %d", d.o.Offset, d != last, last.o.Offset)
			}
		}
		srv.mu.Unlock()
		g.Reader.mu.Lock()
		if f, _ := g.findLocked(last.o.Offset); f == nil {
			t.Error("what it had brought is not in the window any more")
		}
		g.Reader.mu.Unlock()
		for ; off < srv.size; off += 128 << 10 {
			g.read(off, 128<<10)
		}
		for i, o := range srv.opened[1:] {
			if !o.Background {
				t.Errorf("segment %d at %d was urgent", i, o.Offset)
			}
		}
		if more := srv.bytes - srv.size; more > 2*piece {
			t.Errorf("%d bytes twice", more)
		}
	})
}

// unspared is a server that has no connection for what nobody waits for.
type unspared struct{ *server }

func (s unspared) Download(ctx context.Context, name string, o pool.DownloadOptions) (pool.Download, error) {
	if o.Background {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.server.Download(ctx, name, o)
}

// A READ waits a moment for a segment in the queue, and then asks in earnest; the train ends, and all goes on by one stream.
func TestTrainWithoutConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(14 * mib)
		(&cable{flow: mb}).throttle(srv)
		g := newRig(t, srv, 64*mib, exact(srv.size), func(c *Config) {
			c.Downloader = unspared{srv}
			c.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
		})
		took, alone := g.readAll(), time.Duration(float64(srv.size)/mb*float64(time.Second))
		if st := g.line.Stats(); st.Useless != 1 || st.Parallel != 0 {
			t.Errorf("%+v", st)
		}
		if took > alone+10*patience || srv.bytes > srv.size+2*piece {
			t.Errorf("%v in place of %v, %d bytes twice", took, alone, srv.bytes-srv.size)
		}
	})
}

// onlyOne is a server with a single connection. It refuses what could be spared, after a while that depends on the offset.
type onlyOne struct {
	*server
	wait     func(offset int64) time.Duration
	refusals atomic.Int64
}

func (s *onlyOne) Download(ctx context.Context, name string, o pool.DownloadOptions) (pool.Download, error) {
	if o.Background {
		s.refusals.Add(1)
		time.Sleep(s.wait(o.Offset))
		return nil, &pool.Error{Op: "read", Kind: pool.KindLimit}
	}
	return s.server.Download(ctx, name, o)
}

// Where there is one connection the stream goes on as it is, whichever segment is refused first: no piece is cut out of it.
func TestNoTrainOnOneConnection(t *testing.T) {
	for name, wait := range map[string]func(offset int64) time.Duration{
		"at once":     func(int64) time.Duration { return 0 },
		"first first": func(offset int64) time.Duration { return time.Duration(offset) },
		"last first":  func(offset int64) time.Duration { return 30*mib - time.Duration(offset) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(30 * mib)
				(&cable{flow: mb}).throttle(srv)
				only := &onlyOne{server: srv, wait: wait}
				g := newRig(t, srv, 64*mib, exact(srv.size), func(c *Config) { c.Downloader = only })
				g.readAll()
				for _, o := range srv.opened[1:] {
					t.Errorf("another download at %d", o.Offset)
				}
				if st := g.line.Stats(); srv.bytes != srv.size || st.Useless == 0 || only.refusals.Load() < 2 {
					t.Errorf("%d bytes of %d, %d refusals, %+v", srv.bytes, srv.size, only.refusals.Load(), st)
				}
			})
		})
	}
}

// Whoever waits for a connection gets one of those that are not needed most.
func TestSegmentsGiveWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(30 * mib)
		srv.conns = 4
		(&cable{flow: mb}).throttle(srv)
		g := newRig(t, srv, 64*mib, exact(srv.size))
		off := int64(0)
		for ; g.line.Stats().Useless == 0 && srv.peak < 4; off += 128 << 10 {
			g.read(off, 128<<10)
		}
		start := time.Now()
		d, err := srv.Download(t.Context(), "/g", pool.DownloadOptions{Length: -1, OnPressure: func() {}})
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(start); waited > 100*time.Millisecond {
			t.Errorf("waited for %v", waited)
		}
		for ; off < srv.size/2; off += 128 << 10 {
			g.read(off, 128<<10)
		}
		d.Close()
		for ; off < srv.size; off += 128 << 10 {
			g.read(off, 128<<10)
		}
	})
}

// The segments of all readers stay within the budget, however small it is.
func TestSegmentsWithinTheBudget(t *testing.T) {
	for _, limit := range []int64{512 << 10, 4 * mib, 16 * mib} {
		synctest.Test(t, func(t *testing.T) {
			store := blocks.New(limit)
			defer store.Close()
			var wg sync.WaitGroup
			for i := range uint64(3) {
				srv := newServer(10 * mib)
				(&cable{flow: mb}).throttle(srv)
				cfg := Config{Downloader: srv, Blocks: store, Path: func() string { return "/f" }, Key: blocks.Key{File: i}, Size: srv.size}
				exact(srv.size)(&cfg)
				r := New(cfg)
				wg.Go(func() {
					defer r.Close()
					for off := int64(0); off < srv.size; off += 128 << 10 {
						check(t, r, srv.size, off, 128<<10)
					}
				})
			}
			wg.Wait()
			if st := store.Stats(); st.Held != 0 || st.Holders != 0 || st.Mapped > limit {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Whatever happens to a file that is read in segments, READs give its bytes.
func TestModelOfSegments(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			srv := newServer(20*mib + int64(rnd.IntN(mib)))
			(&cable{flow: mb}).throttle(srv)
			var mu sync.Mutex // rnd is used by several goroutines
			draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
			slow := srv.before
			srv.before = func(d *download) {
				slow(d)
				if draw(2000) == 0 {
					go d.o.OnPressure()
				}
			}
			srv.cutAfter = func(int) int64 { return int64(draw(20)-10) * mib }
			srv.refuse = func(n int) error {
				if draw(10) == 0 && srv.opened[n].Background {
					return &pool.Error{Op: "read", Kind: pool.KindLimit}
				}
				return nil
			}
			g := newRig(t, srv, int64(1+draw(40))*mib, exact(srv.size))
			var wg sync.WaitGroup
			for pos, i := int64(0), 0; pos < srv.size; i++ {
				n := int64(1 + draw(300<<10))
				off := pos
				wg.Go(func() { g.read(off, n) })
				pos += n
				if draw(2) == 0 {
					wg.Wait()
				}
				switch draw(300) {
				case 0:
					g.Suspend()
				case 1:
					g.clock.fire(idleAfter)
				case 2:
					pos = max(0, pos-int64(draw(8*mib)))
				case 3:
					g.read(int64(draw(int(srv.size))), 4096)
				}
			}
			wg.Wait()
		})
	}
}
