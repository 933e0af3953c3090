package reader

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

func TestPressureOnAStreamNobodyPulls(t *testing.T) {
	srv := newServer(64 * mib)
	g := newRig(t, srv, 64*mib)
	g.read(0, 128<<10)
	var press func()
	srv.await(func() bool {
		for d := range srv.active {
			press = d.o.OnPressure
		}
		return press != nil
	})
	press()
	srv.awaitNoConnection() // its window is full, or soon is
	for off := int64(0); off < 8*mib; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	if d := srv.downloads(); len(d) != 2 || d[1].Offset < minWindow {
		t.Errorf("downloads: %+v", d)
	}
}

func TestPressureOnAStreamThatIsPulled(t *testing.T) {
	srv := newServer(64 * mib)
	g := newRig(t, srv, 64*mib)
	var once sync.Once
	srv.before = func(d *download) {
		if d.pos > 2*mib {
			once.Do(d.o.OnPressure)
		}
		// The line is the slower one: a READ always waits for it.
		for waits := false; !waits && d.pos < 16*mib; runtime.Gosched() {
			g.mu.Lock()
			waits = g.last.wantedLocked()
			g.mu.Unlock()
		}
	}
	g.read(0, 32*mib)
	d := srv.downloads()
	if len(d) != 2 || d[1].Offset < 2*mib+sliceBytes || d[1].Offset > 3*mib+sliceBytes {
		t.Errorf("downloads: %+v", d)
	}
}

func TestPressureOnASlowStream(t *testing.T) {
	srv := newServer(64 * mib)
	pressed, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv.before = func(d *download) {
		if d.pos > 256<<10 {
			once.Do(func() { d.o.OnPressure(); close(pressed); <-gate })
		}
	}
	srv.readSize = func() int { return 4096 }
	g := newRig(t, srv, 64*mib)
	var wg sync.WaitGroup
	wg.Go(func() { g.read(0, mib) })
	<-pressed
	if n := g.clock.fire(sliceTime); n != 1 {
		t.Errorf("%d timers", n)
	}
	close(gate)
	wg.Wait()
	if d := srv.downloads(); len(d) != 2 || d[1].Offset > 300<<10 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestManyReadersOneConnection(t *testing.T) {
	srv := newServer(12 * mib)
	srv.conns = 1
	manyReaders(t, srv, 16*mib, 8)
	if srv.peak != 1 {
		t.Errorf("%d connections", srv.peak)
	}
}

func TestManyReadersTinyBudget(t *testing.T) {
	srv := newServer(3 * mib)
	manyReaders(t, srv, 2*blocks.ChunkSize, 12)
}

func TestManyReadersOneConnectionTinyBudget(t *testing.T) {
	srv := newServer(2 * mib)
	srv.conns = 1
	manyReaders(t, srv, 2*blocks.ChunkSize, 6)
}

// manyReaders reads as many files at once, each by two goroutines, and pauses in the middle with all windows filled.
func manyReaders(t *testing.T, srv *server, limit int64, n int) {
	srv.readSize = func() int { return 16 << 10 }
	store := blocks.New(limit)
	defer store.Close()
	var wg, pause sync.WaitGroup
	pause.Add(n)
	for i := range n {
		r := New(Config{Downloader: srv, Blocks: store, Path: func() string { return "/f" }, Key: blocks.Key{File: uint64(i)}, Size: srv.size})
		wg.Go(func() {
			defer r.Close()
			const step = 128 << 10
			for off := int64(0); off < srv.size; off += 2 * step {
				var two sync.WaitGroup
				two.Go(func() { check(t, r, srv.size, off, step) })
				check(t, r, srv.size, off+step, step)
				two.Wait()
				if off <= srv.size/2 && off+2*step > srv.size/2 {
					pause.Done()
					pause.Wait()
				}
			}
		})
	}
	wg.Wait()
	if st := store.Stats(); st.Held != 0 || st.Holders != 0 || st.Mapped > max(limit, 2*blocks.ChunkSize) {
		t.Errorf("at the end: %+v", st)
	}
}

// A fetch that waits for memory may have a slot that a READ just copies from. It keeps that no longer than the copy takes: whoever
// holds something is not served before those who have nothing, and nobody else is asked to give up his share for it.
func TestCopyWhileMemoryIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(4 * mib)
		g := newRig(t, srv, 2*blocks.ChunkSize)
		gate := make(chan struct{}, 100)
		srv.before = func(*download) { <-gate }
		gate <- struct{}{}
		g.read(0, blocks.ChunkSize)
		other := g.store.NewHolder(nil)
		defer other.Close()
		c, err := other.Alloc(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Free()
		g.mu.Lock()
		f := g.fetches[0]
		s := f.slots[0]
		s.pins++ // a READ copies
		g.mu.Unlock()
		var wg sync.WaitGroup
		wg.Go(func() { g.read(blocks.ChunkSize, 4096) })
		synctest.Wait() // it waits for memory
		g.mu.Lock()
		f.unpinLocked(s)
		g.mu.Unlock()
		for range cap(gate) {
			select {
			case gate <- struct{}{}:
			default:
			}
		}
		wg.Wait()
		close(gate)
	})
}

// TestModel reads at 1,000 places in all the patterns that applications have, over a line that is cut, under pressure
// and with little memory, from several goroutines at once.
func TestModel(t *testing.T) {
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		srv := newServer(24*mib + int64(rnd.IntN(mib)))
		var mu sync.Mutex // rnd is used by several goroutines
		draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
		srv.readSize = func() int { return 1 + draw(64<<10) }
		srv.cutAfter = func(int) int64 {
			if draw(3) == 0 {
				return int64(draw(3*mib)) + 1
			}
			return -1
		}
		srv.before = func(d *download) {
			if draw(400) == 0 && !d.pressed {
				d.pressed = true
				go d.o.OnPressure()
			}
		}
		g := newRig(t, srv, int64(1+draw(16))*mib)
		var wg sync.WaitGroup
		pos := int64(0)
		for i := range 1000 {
			n := int64(1 + draw(300<<10))
			switch draw(8) {
			case 0:
				pos = int64(draw(int(srv.size)))
			case 1:
				pos = max(0, pos-int64(draw(3*mib)))
			case 2:
				pos += int64(draw(2 * mib))
			}
			off := pos
			wg.Go(func() { g.read(off, n) })
			if pos += n; pos > srv.size {
				pos = 0
			}
			if i%8 == 7 {
				wg.Wait()
			}
			if draw(100) == 0 {
				g.Suspend()
			}
			if draw(100) == 0 {
				g.clock.fire(idleAfter)
			}
		}
		wg.Wait()
	}
}

func BenchmarkSequential(b *testing.B) {
	srv := newServer(256 * mib)
	p := make([]byte, 128<<10)
	b.SetBytes(srv.size)
	for b.Loop() {
		store := blocks.New(64 * mib)
		r := New(Config{Downloader: srv, Blocks: store, Path: func() string { return "/f" }, Size: srv.size})
		for off := int64(0); off < srv.size; off += int64(len(p)) {
			if _, err := r.ReadAt(b.Context(), p, off); err != nil {
				b.Fatal(err)
			}
		}
		r.Close()
		store.Close()
	}
}
