package reader

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

const mib = 1 << 20

func TestSequentialReadIsOneDownload(t *testing.T) {
	srv := newServer(96*mib + 123)
	srv.readSize = func() int { return 16 << 10 }
	g := newRig(t, srv, 64*mib)
	for off := int64(0); off <= srv.size; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	if d := srv.downloads(); len(d) != 1 || d[0].Length != -1 || d[0].Size != srv.size {
		t.Errorf("downloads: %+v", d)
	}
}

func TestNothingIsAskedBeforeTheFirstRead(t *testing.T) {
	srv := newServer(mib)
	g := newRig(t, srv, 4*mib)
	g.read(srv.size, 10)
	g.read(srv.size+5, 10)
	if d := srv.downloads(); len(d) != 0 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestReadsThatOvertakeEachOther(t *testing.T) {
	srv := newServer(32 * mib)
	srv.readSize = func() int { return 16 << 10 }
	g := newRig(t, srv, 8*mib)
	const n = 128 << 10
	for off := int64(0); off < srv.size; off += 3 * n {
		var wg sync.WaitGroup
		for _, i := range rand.Perm(3) {
			wg.Go(func() { g.read(off+int64(i)*n, n) })
		}
		wg.Wait()
	}
	if d := srv.downloads(); len(d) != 1 || d[0].Offset != 0 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestSmallFileInOneTransfer(t *testing.T) {
	for _, size := range []int64{1, 4096, 200 << 10, mib} {
		srv := newServer(size)
		g := newRig(t, srv, 8*mib)
		g.read(0, 1)
		srv.awaitNoConnection() // without a further READ
		for off := int64(0); off < size; off += 64 << 10 {
			g.read(off, 64<<10)
		}
		g.read(0, size)
		if d := srv.downloads(); len(d) != 1 || srv.bytes != size {
			t.Errorf("size %d: %d bytes in %+v", size, srv.bytes, d)
		}
	}
}

func TestSmallFileFromItsEnd(t *testing.T) {
	srv := newServer(100 << 10)
	g := newRig(t, srv, 8*mib)
	g.read(90<<10, 4096)
	g.read(0, 4096)
	if d := srv.downloads(); len(d) != 1 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestForwardGapIsReadAway(t *testing.T) {
	srv := newServer(32 * mib)
	g := newRig(t, srv, 16*mib)
	g.read(0, 4096)
	g.read(900<<10, 4096)
	g.read(1700<<10, 4096)
	if d := srv.downloads(); len(d) != 1 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestBackwardReadInsideTheWindow(t *testing.T) {
	srv := newServer(32 * mib)
	g := newRig(t, srv, 16*mib)
	g.read(0, mib)
	for off := int64(900 << 10); off >= 0; off -= 100 << 10 {
		g.read(off, 64<<10)
	}
	if d := srv.downloads(); len(d) != 1 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestThreeSeeksTurnToRanges(t *testing.T) {
	srv := newServer(256 * mib)
	g := newRig(t, srv, 64*mib)
	for i, off := range []int64{10, 100, 50, 200, 30, 150} {
		g.read(off*mib+5, 4096)
		d := srv.downloads()
		if len(d) != i+1 {
			t.Fatalf("read %d: downloads %+v", i, d)
		}
		last := d[i]
		if i < maxSeeks {
			if last.Length != -1 || last.Offset != off*mib+5 {
				t.Errorf("seek %d: %+v", i, last)
			}
		} else if last.Length != minRange || last.Offset != off*mib {
			t.Errorf("seek %d: %+v", i, last)
		}
	}
	g.read(150*mib+4101, 4000)
	if d := srv.downloads(); len(d) != 6 {
		t.Errorf("a read beside the last one was not served by it: %+v", d)
	}
	g.read(150*mib+100<<10, 4096)
	g.read(150*mib+200<<10, 4096)
	if d := srv.downloads(); len(d) != 7 || d[6].Offset != 150*mib || d[6].Length != blocks.ChunkSize {
		t.Errorf("a second place of a block did not bring the block: %+v", d)
	}
}

func TestRangesGrowAndTurnBackToAStream(t *testing.T) {
	srv := newServer(256 * mib)
	g := newRig(t, srv, 64*mib)
	for _, off := range []int64{0, 100, 50, 200} {
		g.read(off*mib, 4096)
	}
	before := len(srv.downloads())
	for off := int64(200 * mib); off < 230*mib; off += 64 << 10 {
		g.read(off, 64<<10)
	}
	var lengths []int64
	for _, o := range srv.downloads()[before:] {
		lengths = append(lengths, o.Length)
	}
	want := []int64{56 << 10, 224 << 10, 896 << 10, mib, -1}
	if len(lengths) != len(want) {
		t.Fatalf("lengths %d", lengths)
	}
	for i := range want {
		if lengths[i] != want[i] {
			t.Errorf("lengths %d, want %d", lengths, want)
		}
	}
}

func TestTwoHandlesShareBlocks(t *testing.T) {
	srv := newServer(4 * mib)
	g := newRig(t, srv, 16*mib)
	for off := int64(0); off < srv.size; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	g.Close()
	second := New(g.Reader.cfg)
	defer second.Close()
	for off := int64(0); off < srv.size; off += 100 << 10 {
		check(t, second, srv.size, off, 100<<10)
	}
	if d := srv.downloads(); len(d) != 1 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestCancelledReadReturnsAndTheTransferGoesOn(t *testing.T) {
	srv := newServer(4 * mib)
	gate := make(chan struct{})
	srv.before = func(*download) { <-gate }
	g := newRig(t, srv, 16*mib)
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	go func() {
		_, err := g.ReadAt(ctx, make([]byte, 4096), 0)
		errs <- err
	}()
	srv.await(func() bool { return len(srv.active) == 1 })
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(gate)
	g.read(0, mib)
	if d := srv.downloads(); len(d) != 1 {
		t.Errorf("downloads: %+v", d)
	}
}

func TestCloseEndsWaitingReads(t *testing.T) {
	srv := newServer(4 * mib)
	srv.before = func(d *download) { <-d.aborted }
	g := newRig(t, srv, 16*mib)
	errs := make(chan error)
	for range 4 {
		go func() {
			_, err := g.ReadAt(context.Background(), make([]byte, 4096), 0)
			errs <- err
		}()
	}
	srv.await(func() bool { return len(srv.active) == 1 })
	g.Close()
	for range 4 {
		if err := <-errs; !errors.Is(err, os.ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
	if _, err := g.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestReset(t *testing.T) {
	srv := newServer(8 * mib)
	g := newRig(t, srv, 16*mib)
	g.read(0, 4096)
	srv.size = 3 * mib
	g.Reset(blocks.Key{File: 1, Version: 2}, srv.size)
	g.read(0, 128<<10)
	g.read(3*mib-10, 100)
	if st := g.store.Stats(); st.Held > minWindow+blocks.ChunkSize*2 {
		t.Errorf("old window still held: %+v", st)
	}
}

func TestSetSize(t *testing.T) {
	srv := newServer(mib)
	g := newRig(t, srv, 16*mib)
	g.read(0, 128<<10)
	srv.awaitNoConnection()
	srv.size = 5 * mib
	g.SetSize(srv.size)
	g.read(mib, 3*mib)
	srv.size = mib
	g.SetSize(srv.size)
	g.read(mib-100, 4096)
}

func TestCutContinuesAtTheOffset(t *testing.T) {
	srv := newServer(20 * mib)
	cuts := []int64{3*mib + 17, 5, mib, -1}
	srv.cutAfter = func(n int) int64 { return cuts[n] }
	was := pool.Entry{Name: "f"}
	g := newRig(t, srv, 16*mib, func(c *Config) { c.Expect = func() *pool.Entry { return &was } })
	for off := int64(0); off < srv.size; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	d := srv.downloads()
	if len(d) != 4 || d[1].Offset != cuts[0] || d[2].Offset != cuts[0]+cuts[1] || d[3].Offset != cuts[0]+cuts[1]+cuts[2] {
		t.Errorf("downloads: %+v", d)
	}
	for i, o := range d {
		if (o.Expect != nil) != (i > 0) {
			t.Errorf("download %d: expects %v", i, o.Expect)
		}
	}
}

func TestChangedFileIsNotMixed(t *testing.T) {
	srv := newServer(20 * mib)
	srv.cutAfter = func(int) int64 { return 2 * mib }
	changed := &pool.Error{Op: "read", Kind: pool.KindChanged}
	srv.refuse = func(n int) error {
		if n > 0 {
			return changed
		}
		return nil
	}
	g := newRig(t, srv, 16*mib, func(c *Config) { c.Expect = func() *pool.Entry { return &pool.Entry{Name: "f"} } })
	g.read(0, 2*mib)
	n, err := g.ReadAt(context.Background(), make([]byte, mib), 3*mib/2)
	if n != mib/2 || !errors.Is(err, changed) {
		t.Errorf("read %d, %v", n, err)
	}
	g.read(mib, mib) // what is here stays readable
}

func TestLineThatIsCutAgainAndAgain(t *testing.T) {
	srv := newServer(20 * mib)
	srv.cutAfter = func(int) int64 { return 0 }
	g := newRig(t, srv, 16*mib)
	_, err := g.ReadAt(context.Background(), make([]byte, 10), 0)
	if pool.KindOf(err) != pool.KindNetwork {
		t.Errorf("error %v", err)
	}
	if d := srv.downloads(); len(d) != maxFruitless {
		t.Errorf("%d downloads", len(d))
	}
	srv.cutAfter = nil
	g.read(0, 4096) // a later READ tries anew
}

func TestErrorGoesToThoseWhoNeedTheBytes(t *testing.T) {
	srv := newServer(20 * mib)
	srv.cutAfter = func(int) int64 { return mib }
	refused := &pool.Error{Op: "read", Kind: pool.KindTimeout}
	srv.refuse = func(n int) error {
		if n == 0 {
			return nil
		}
		return refused
	}
	g := newRig(t, srv, 16*mib)
	g.read(0, 1)
	var wg sync.WaitGroup
	for i := range int64(8) {
		wg.Go(func() { g.read(i*128<<10, 128<<10) })
	}
	wg.Wait()
	if n, err := g.ReadAt(context.Background(), make([]byte, 256<<10), mib-128<<10); n != 128<<10 || !errors.Is(err, refused) {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestShortFileIsAnError(t *testing.T) {
	srv := newServer(mib)
	g := newRig(t, srv, 16*mib, func(c *Config) { c.Size = 2 * mib })
	n, err := g.ReadAt(context.Background(), make([]byte, 2*mib), 0)
	if n != mib || !errors.Is(err, io.ErrUnexpectedEOF) || pool.KindOf(err) != pool.KindIncomplete {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestSuspendGivesTheConnectionUp(t *testing.T) {
	srv := newServer(64 * mib)
	g := newRig(t, srv, 64*mib, func(c *Config) { c.Expect = func() *pool.Entry { return &pool.Entry{Name: "f"} } })
	g.read(0, 128<<10)
	g.Suspend()
	srv.mu.Lock()
	active := len(srv.active)
	srv.mu.Unlock()
	if active != 0 {
		t.Fatalf("%d connections", active)
	}
	for off := int64(128 << 10); off < 32*mib; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	d := srv.downloads()
	if len(d) != 2 || d[1].Offset == 0 || d[1].Expect == nil {
		t.Errorf("downloads: %+v", d)
	}
}

func TestIdleHandleGivesUpConnectionAndWindow(t *testing.T) {
	srv := newServer(64 * mib)
	g := newRig(t, srv, 64*mib)
	g.read(0, 128<<10)
	if n := g.clock.fire(idleAfter); n != 1 {
		t.Fatalf("%d timers", n)
	}
	srv.awaitNoConnection()
	g.mu.Lock()
	for len(g.fetches) > 0 && g.fetches[0].running {
		over := g.fetches[0].over
		g.mu.Unlock()
		<-over
		g.mu.Lock()
	}
	g.mu.Unlock()
	if st := g.store.Stats(); st.Held != 0 {
		t.Errorf("held %d", st.Held)
	}
	for off := int64(128 << 10); off < 8*mib; off += 128 << 10 {
		g.read(off, 128<<10)
	}
	if d := srv.downloads(); len(d) != 2 {
		t.Errorf("downloads: %+v", d)
	}
	// A handle that is read stays as it is.
	g.read(8*mib, 10)
	g.clock.fire(idleAfter)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if len(srv.active) != 1 {
		t.Errorf("%d connections", len(srv.active))
	}
}

// Bytes that a stream brought and nobody read are counted when it is left.
func TestBytesInVain(t *testing.T) {
	srv := newServer(64 * mib)
	g := newRig(t, srv, 16*mib)
	g.read(0, 128<<10)
	g.read(32*mib, 128<<10)
	g.Close()
	st := g.store.Stats()
	if vain := st.Unread + int64(st.BytesInVain); vain != srv.bytes-256<<10 {
		t.Errorf("%d of %d bytes in vain, %+v", vain, srv.bytes, st)
	}
}
