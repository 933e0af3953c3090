package reader

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// asked counts the downloads from number from on: those that a READ needed, and those ahead of it.
func (g *rig) asked(from int) (needed, ahead int) {
	for _, o := range g.srv.downloads()[from:] {
		if o.Background {
			ahead++
		} else {
			needed++
		}
	}
	return needed, ahead
}

// vain gives the bytes that nobody has read.
func (g *rig) vain() int64 {
	st := g.store.Stats()
	return st.Unread + int64(st.BytesInVain)
}

// settle lets everything that does not wait for the test come to an end.
func (g *rig) settle() { synctest.Wait() }

// Backwards: the READs that show it, then pieces ahead that grow, and nothing is fetched twice.
func TestBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(128 * mib)
		g := newRig(t, srv, 64*mib)
		const from, to, step = 64 * mib, 32 * mib, 64 << 10
		for off := int64(from); off > to; off -= step {
			g.read(off-step, step)
			g.settle()
		}
		needed, ahead := g.asked(0)
		if needed > 4 || ahead > 16 || ahead < 6 {
			t.Errorf("%d downloads that READs needed, %d ahead of them", needed, ahead)
		}
		largest := int64(0)
		for _, o := range srv.downloads() {
			if o.Background {
				largest = max(largest, o.Length)
			}
		}
		if largest != maxPiece {
			t.Errorf("largest piece %d", largest)
		}
		// What lies ahead at the end.
		if srv.bytes > from-to+2*maxPiece+maxPiece {
			t.Errorf("%d bytes for %d", srv.bytes, from-to)
		}
	})
}

// A READ that comes before the connection of its piece does not wait for one that may never be spared.
func TestBackwardsWithoutConnectionsToSpare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(128 * mib)
		srv.refuse = func(n int) error {
			if srv.opened[n].Background {
				return &pool.Error{Kind: pool.KindLimit}
			}
			return nil
		}
		g := newRig(t, srv, 64*mib)
		for off := int64(64 * mib); off > 32*mib; off -= 64 << 10 {
			g.read(off-64<<10, 64<<10)
			g.settle()
		}
		if needed, ahead := g.asked(0); needed > 20 || ahead > pieceFlows {
			t.Errorf("%d downloads that READs needed, %d ahead of them", needed, ahead)
		}
	})
}

// On a slow line pieces stay so small that a READ need not wait long for one.
func TestBackwardsOnASlowLine(t *testing.T) {
	for _, spare := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) { backwardsOnASlowLine(t, spare) })
	}
}

func backwardsOnASlowLine(t *testing.T, spare bool) {
	srv := newServer(128 * mib)
	(&cable{link: mb}).throttle(srv)
	srv.refuse = func(n int) error {
		if srv.opened[n].Background && !spare {
			return &pool.Error{Kind: pool.KindLimit}
		}
		return nil
	}
	g := newRig(t, srv, 64*mib)
	for off := int64(64 * mib); off > 48*mib; off -= 64 << 10 {
		g.read(off-64<<10, 64<<10)
	}
	opened := srv.downloads()
	for _, o := range opened[len(opened)/2:] {
		if o.Length > mib {
			t.Errorf("a piece of %d bytes at 1 MB/s", o.Length)
		}
	}
	if len(opened) > 16*mib/blocks.ChunkSize+10 {
		t.Errorf("%d downloads", len(opened))
	}
}

// Pieces and ranges ahead are a small part of the budget, and there are none where it is tiny.
func TestAheadWithinTheBudget(t *testing.T) {
	for _, c := range []struct{ chunks, most int64 }{{2, 0}, {7, 0}, {8, 1}, {16, 2}, {64, 8}} {
		for _, step := range []int64{-256 << 10, 4 * mib} {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(1024 * mib)
				g := newRig(t, srv, c.chunks*blocks.ChunkSize)
				for i := range int64(40) {
					g.read(400*mib+i*step, 256<<10)
					g.settle()
				}
				ahead := 0
				for _, o := range srv.downloads() {
					if o.Background {
						ahead++
						if o.Length > c.most*blocks.ChunkSize {
							t.Errorf("%d chunks, step %d: %d bytes ahead", c.chunks, step, o.Length)
						}
					}
				}
				if c.most == 0 && ahead > 0 || c.most > 1 && ahead == 0 {
					t.Errorf("%d chunks, step %d: %d downloads ahead", c.chunks, step, ahead)
				}
			})
		}
	}
}

// In steps: the READs that show it, then every range is there before it is asked for.
func TestStride(t *testing.T) {
	for _, step := range []int64{4 * mib, 3 * mib / 2, -4 * mib, -3 * mib / 2} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(512 * mib)
			g := newRig(t, srv, 64*mib)
			const n, reads = 64 << 10, 50
			for i := range int64(reads) {
				g.read(256*mib+i*step, n)
				g.settle()
			}
			if needed, ahead := g.asked(0); needed != 1+sameSteps || ahead < reads-needed || ahead > reads-needed+strideFlows {
				t.Errorf("step %d: %d downloads that READs needed, %d ahead of them", step, needed, ahead)
			}
			var got int64
			for _, o := range srv.downloads() {
				if o.Background {
					got += o.Length
				}
			}
			if got > (reads+strideFlows)*(n+pageSize) {
				t.Errorf("step %d: %d bytes ahead", step, got)
			}
		})
	}
}

// Steps that are small: one stream goes through, also for a handle that was read at random before.
func TestSmallSteps(t *testing.T) {
	for _, step := range []int64{512 << 10, mib} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(256 * mib)
			g := newRig(t, srv, 64*mib)
			if step < mib {
				for _, off := range []int64{10, 100, 50, 200, 120, 7} {
					g.read(off*mib, 4096)
				}
			}
			before := len(srv.downloads())
			for off := int64(20 * mib); off < 60*mib; off += step {
				g.read(off, 4096)
				g.settle()
			}
			if needed, ahead := g.asked(before); needed > 1+sameSteps || ahead != 0 {
				t.Errorf("step %d: %d downloads that READs needed, %d ahead of them", step, needed, ahead)
			}
		})
	}
}

// The reader turns: what is under way is cut off, what was fetched for nothing is counted, and it costs nothing more.
func TestTurningEndsWhatIsAhead(t *testing.T) {
	for name, step := range map[string]int64{"backwards": -64 << 10, "stride": 4 * mib} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(512 * mib)
			(&cable{flow: mb}).throttle(srv)
			g := newRig(t, srv, 64*mib)
			last := int64(0)
			for i := range int64(6) {
				last = 256*mib + i*step
				g.read(last, 64<<10)
			}
			if _, ahead := g.asked(0); ahead == 0 {
				t.Fatalf("%s: nothing ahead", name)
			}
			g.settle()
			before := len(srv.downloads())
			for i, off := range []int64{500, 17, 333, 90} {
				g.read(off*mib, 4096)
				if i > 0 {
					continue
				}
				time.Sleep(100 * time.Millisecond) // the bytes on their way
				srv.mu.Lock()
				for d := range srv.active {
					if d.o.Background {
						t.Errorf("%s: still under way: %+v", name, d.o)
					}
				}
				srv.mu.Unlock()
			}
			if needed, ahead := g.asked(before); needed != 4 || ahead != 0 {
				t.Errorf("%s: %d downloads that READs needed, %d ahead of them", name, needed, ahead)
			}
			g.Close()
			if g.vain() == 0 {
				t.Errorf("%s: nothing is counted as fetched in vain", name)
			}
		})
	}
}

// READs at random places fetch what they ask for, and nothing ahead, from the first one on.
func TestRandomReadsFetchNothingBesides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4096 * mib
		srv := newServer(size)
		g := newRig(t, srv, 64*mib)
		rnd := rand.New(rand.NewPCG(3, 3))
		const reads = 300
		known := map[int64]bool{}
		again := int64(0) // READs in a block of which something was read before
		for range reads {
			off := rnd.Int64N(size/pageSize) * pageSize
			if known[off/blocks.ChunkSize] {
				again++
			}
			known[off/blocks.ChunkSize] = true
			g.read(off, 4096)
			g.settle()
		}
		if needed, ahead := g.asked(0); needed > reads || ahead != 0 {
			t.Errorf("%d downloads that READs needed, %d ahead of them", needed, ahead)
		}
		if most := (reads-again)*minRange + again*blocks.ChunkSize; srv.bytes > most {
			t.Errorf("%d bytes for %d READs, %d of them near another; at most %d", srv.bytes, reads, again, most)
		}
	})
}

// A stream where nothing suggested one brings what is asked for, and little besides, until a READ follows on: then it goes on,
// and no other download is needed.
func TestStreamWaitsForTheReadThatFollows(t *testing.T) {
	for _, c := range []struct {
		name     string
		reads    [][2]int64 // offset and length
		asked    int        // downloads
		bytes    int64      // from the server, at least; not more where the stream waits
		waits    bool
		goesOn   bool  // with a READ of 4 KiB behind the last one
		from     int64 // where that stream begins
		followed int64 // the end of what was read by then
	}{
		{"the begin", [][2]int64{{0, 4096}}, 1, minWindow, false, true, 0, 8192},
		{"first READ inside", [][2]int64{{50 * mib, 4096}}, 1, minRange, true, true, 50 * mib, 50*mib + 8192},
		{"first READ inside, a large one", [][2]int64{{50 * mib, mib}}, 1, mib, true, true, 50 * mib, 51*mib + 4096},
		{"near the begin", [][2]int64{{100 << 10, 4096}}, 1, 100<<10 + minRange, true, true, 0, 108 << 10},
		{"behind a seek", [][2]int64{{20 * mib, 4096}, {50 * mib, 128 << 10}}, 2, minRange + 128<<10, true, true, 50 * mib, 50*mib + 132<<10},
		{"READs in the wrong order", [][2]int64{{50*mib + 128<<10, 128 << 10}, {50 * mib, 128 << 10}}, 2, 256 << 10, true, true, 50 * mib, 50*mib + 132<<10},
		{"the end", [][2]int64{{100*mib - 64<<10, 64 << 10}}, 1, 64 << 10, true, false, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(100 * mib)
			srv.readSize = func() int { return 4096 }
			g := newRig(t, srv, 64*mib)
			for _, r := range c.reads {
				g.read(r[0], r[1])
				g.settle()
			}
			if d := srv.downloads(); len(d) != c.asked || srv.bytes < c.bytes || c.waits && srv.bytes > c.bytes {
				t.Errorf("%s: %d bytes in %+v", c.name, srv.bytes, d)
			}
			if !c.goesOn {
				return
			}
			g.read(c.followed-4096, 4096)
			g.settle()
			d := srv.downloads()
			last := d[len(d)-1]
			if len(d) != c.asked || last.Offset != c.from || last.Length != -1 {
				t.Errorf("%s: a READ that follows on costs another download: %+v", c.name, d)
			}
			if ahead := c.from + srv.bytes - c.followed; c.asked == 1 && (ahead < minWindow*3/4 || ahead > minWindow) {
				t.Errorf("%s: %d bytes ahead of a reader that goes on", c.name, ahead)
			}
		})
	}
}

// READs that are near each other, at the same time, are served by one download for the first and one for all others.
func TestNearbyReadsJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(256 * mib)
		g := newRig(t, srv, 64*mib)
		for _, off := range []int64{10, 100, 50, 200} {
			g.read(off*mib, 4096)
		}
		g.settle()
		gate := make(chan struct{})
		srv.before = func(*download) { <-gate }
		before := len(srv.downloads())
		var wg sync.WaitGroup
		for _, off := range []int64{0, 4096, 100 << 10, 60 << 10, 200 << 10, 8 << 10} {
			wg.Go(func() { g.read(30*mib+off, 4096) })
			g.settle()
		}
		close(gate)
		wg.Wait()
		if needed, ahead := g.asked(before); needed != 2 || ahead != 0 {
			t.Errorf("%d downloads that READs needed, %d ahead of them", needed, ahead)
		}
	})
}

// A READ shortly ahead of a stream, and one inside a piece that is under way, wait for that.
func TestReadsJoinWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(256 * mib)
		(&cable{link: 4 * mb}).throttle(srv)
		g := newRig(t, srv, 64*mib)
		var wg sync.WaitGroup
		for _, off := range []int64{0, 300 << 10, 100 << 10, 700 << 10} {
			wg.Go(func() { g.read(128*mib+off, 4096) })
			time.Sleep(time.Millisecond)
		}
		wg.Wait()
		if d := srv.downloads(); len(d) != 1 {
			t.Errorf("downloads: %+v", d)
		}
		for off := int64(64 * mib); off > 60*mib; off -= 64 << 10 {
			g.read(off-64<<10, 64<<10)
		}
		var places []string
		for _, o := range srv.downloads() {
			places = append(places, fmt.Sprint(o.Offset))
		}
		slices.Sort(places)
		if n := len(places); len(slices.Compact(places)) != n {
			t.Errorf("a place was asked for twice: %s", places)
		}
	})
}

// Somebody waits for a connection: what is fetched ahead and nobody waits for gives up its own at once.
func TestPressureOnWhatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(512 * mib)
		(&cable{flow: mb}).throttle(srv)
		g := newRig(t, srv, 64*mib)
		for i := range int64(5) {
			g.read(256*mib+i*8*mib, 512<<10)
		}
		var press []func()
		srv.mu.Lock()
		for d := range srv.active {
			if d.o.Background {
				press = append(press, d.o.OnPressure)
			}
		}
		srv.mu.Unlock()
		if len(press) == 0 {
			t.Fatal("nothing ahead")
		}
		for _, p := range press {
			p()
		}
		time.Sleep(100 * time.Millisecond) // the bytes on their way
		g.settle()
		srv.mu.Lock()
		defer srv.mu.Unlock()
		for d := range srv.active {
			if d.o.Background && d.pos > d.o.Offset+d.o.Length/2 {
				t.Errorf("still under way: %+v", d.o)
			}
		}
	})
}

// Readers of all courses, on lines that break, with few connections and little memory, get the right bytes.
func TestCoursesModel(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			size := int64(1+rnd.IntN(48))*mib + rnd.Int64N(1000)
			srv := newServer(size)
			srv.conns = rnd.IntN(5)
			most := 4096 << rnd.IntN(7)
			srv.readSize = func() int { return most }
			if rnd.IntN(2) == 0 {
				srv.cutAfter = func(n int) int64 { return int64(n%7)*100<<10 - 1 + int64(n%2)*mib }
			}
			if rnd.IntN(3) == 0 {
				srv.refuse = func(n int) error {
					if srv.opened[n].Background && n%2 == 0 {
						return &pool.Error{Kind: pool.KindLimit}
					}
					return nil
				}
			}
			chunks := []int64{2, 3, 8, 17, 64}[rnd.IntN(5)]
			g := newRig(t, srv, chunks*blocks.ChunkSize)
			var wg sync.WaitGroup
			for w := range 1 + rnd.IntN(3) {
				wg.Go(func() { g.wander(rand.New(rand.NewPCG(seed, uint64(w))), 12) })
			}
			wg.Wait()
		})
	}
}

// wander reads some stretches of the file, each along another course.
func (g *rig) wander(rnd *rand.Rand, stretches int) {
	for range stretches {
		pos, n := rnd.Int64N(g.srv.size), 1+rnd.Int64N(200<<10)
		step := []int64{n, -n, -n - rnd.Int64N(64<<10), mib + rnd.Int64N(4*mib), -mib - rnd.Int64N(4*mib), rnd.Int64N(mib), 0}[rnd.IntN(7)]
		for range 5 + rnd.IntN(25) {
			g.read(pos, n)
			if pos += step; step == 0 {
				pos = rnd.Int64N(g.srv.size)
			}
			if pos < 0 || pos >= g.srv.size {
				break
			}
		}
	}
}
