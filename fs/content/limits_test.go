package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

func TestStagedFileStreamsAgain(t *testing.T) {
	for name, q := range map[string]quirks{"all": {}, "append only": {noRest: true}} {
		t.Run(name, func(t *testing.T) {
			k := newTightKit(t, q, 24<<20, 8<<20)
			k.srv.put("/a", "old")
			_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true, Truncate: true})
			want := k.fill(h, 0, 20<<20, 1<<20)
			if name == "all" {
				copy(want[100:], "HEADER")
				k.write(h, 100, "HEADER")
			} else {
				k.read(h, 0, 10) // twice, then staging
				want = append(want, k.fill(h, int64(len(want)), 1<<20, 1<<20)...)
				k.read(h, 0, 10)
				want = append(want, k.fill(h, int64(len(want)), 1<<20, 1<<20)...)
				k.read(h, 0, 10)
			}
			if k.s.Stats().Staged != 1 {
				t.Fatal("not staged")
			}
			for range 40 {
				want = append(want, k.fill(h, int64(len(want)), 1<<20, 1<<20)...)
			}
			if k.s.Stats().Staged != 0 {
				t.Error("still staged")
			}
			k.want("/a", "old")
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/a")), want)
			if sent, _ := k.srv.traffic(); sent > int64(len(want))+1000 {
				t.Errorf("%d bytes sent for %d", sent, len(want))
			}
		})
	}
}

func TestLocalDiskFull(t *testing.T) {
	k := newTightKit(t, quirks{noAppend: true, noRest: true}, 1<<20, 8<<20)
	k.srv.put("/a", string(pattern(0, 3<<20)))
	_, f, h := k.existing("/a", OpenFlags{Write: true})
	var err error
	for off := int64(100); off < 3<<20 && err == nil; off += 1 << 16 {
		_, err = h.WriteAt(bg, pattern(off, 1<<16), off)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write: %v", err)
	}
	if err := h.Flush(bg, nil); !errors.Is(err, syscall.ENOSPC) { // what is missing does not fit either
		t.Fatalf("close: %v", err)
	}
	h.Release()
	f.Close()
	same(t, "server", []byte(k.srv.content("/a")), pattern(0, 3<<20))
}

func TestNoMemoryForWindows(t *testing.T) {
	k := newTightKit(t, quirks{}, 1<<30, 4<<20)
	var hold []*blocks.Chunk
	for c := k.blocks.TryAlloc(); c != nil; c = k.blocks.TryAlloc() {
		hold = append(hold, c)
	}
	_, f, h := k.create("/a")
	want := k.fill(h, 0, 1<<20, 5000)
	if st := k.s.Stats(); st.Streams != 1 {
		t.Fatalf("not streamed: %+v", st)
	}
	for _, c := range hold {
		c.Free()
	}
	want = append(want, k.fill(h, 1<<20, 1<<20, 5000)...)
	same(t, "handle", []byte(k.read(h, 0, 3<<20)), want)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), want)
}

func TestMemoryIsGivenUp(t *testing.T) {
	k := newKit(t, quirks{}, func(c *Config) { c.ReplayBytes = 16 << 20 })
	_, f, h := k.create("/a")
	want := k.fill(h, 0, 16<<20, 1<<16)
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	other := k.blocks.NewHolder(nil)
	defer other.Close()
	var got []*blocks.Chunk
	for range 30 { // more than is free: the window must shrink
		c, err := other.Alloc(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	for _, c := range got {
		c.Free()
	}
	want = append(want, k.fill(h, 16<<20, 1<<20, 1<<16)...)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), want)
}

// recorder notes what the cache is told.
type recorder struct {
	noMeta
	mu      sync.Mutex
	changed map[string]pool.Entry
	removed []string
}

func (r *recorder) Changed(p string, e pool.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changed[p] = e
}

func (r *recorder) Removed(p string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, p)
}

func TestSyncAndPending(t *testing.T) {
	meta := &recorder{changed: map[string]pool.Entry{}}
	k := newKit(t, quirks{}, func(c *Config) { c.Meta = meta })
	k.srv.put("/c", "clean")
	k.srv.put("/s", string(pattern(0, 1<<20)))
	_, fa, ha := k.create("/a")
	_, fb, hb := k.create("/b")
	_, fc, hc := k.existing("/c", OpenFlags{Read: true})
	ns, fs, hs := k.existing("/s", OpenFlags{Write: true})
	k.write(ha, 0, "aaa")
	k.fill(hb, 0, 1<<20, 1<<16)
	k.write(hs, 5, "staged")
	got := k.s.Pending()
	if len(got) != 3 || got[0].Path != "/a" || got[0].Pending != 3 || got[1].State != "streaming" || got[2].State != "staged" || got[2].Pending != 6 {
		t.Fatalf("pending %+v", got)
	}
	if fa.Clean() || !fc.Clean() {
		t.Error("Clean is wrong")
	}
	if err := k.s.Sync(bg); err != nil {
		t.Fatal(err)
	}
	if got := k.s.Pending(); len(got) != 0 {
		t.Fatalf("pending after sync: %+v", got)
	}
	k.want("/a", "aaa")
	if e := meta.changed["/a"]; e.Size != 3 || e.Name != "a" || e.ModTime.IsZero() || len(meta.changed) != 3 {
		t.Errorf("cache was told %+v", meta.changed)
	}
	k.unlink(ns, fs)
	if len(meta.removed) != 1 {
		t.Errorf("cache was told of %q", meta.removed)
	}
	k.done(fa, ha)
	k.done(fb, hb)
	k.done(fc, hc)
	k.done(fs, hs)
}

func TestManyStreamsOnFewConnections(t *testing.T) {
	for _, q := range []quirks{{conns: 2}, {conns: 2, restTruncates: true}, {conns: 1, noRest: true}} {
		t.Run(fmt.Sprintf("%+v", q), func(t *testing.T) {
			k := newKit(t, q)
			var all sync.WaitGroup
			for i := range 6 {
				name := fmt.Sprintf("/%d", i)
				_, f, h := k.create(name)
				all.Go(func() {
					for off := int64(0); off < 2<<20; off += 1 << 16 {
						if _, err := h.WriteAt(bg, pattern(off, 1<<16), off); err != nil {
							t.Error(err)
							break
						}
					}
					if err := h.Flush(bg, nil); err != nil {
						t.Error(err)
					}
					h.Release()
					f.Close()
				})
			}
			all.Wait()
			for i := range 6 {
				same(t, "server", []byte(k.srv.content(fmt.Sprintf("/%d", i))), pattern(0, 2<<20))
			}
		})
	}
}

func TestConcurrentHandles(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h := k.create("/a")
	const size = 2 << 20
	k.fill(h, 0, size, 1<<16)
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var readers, writers sync.WaitGroup
	for i := range 3 {
		r := k.handle(f, OpenFlags{Read: true})
		readers.Go(func() {
			defer r.Release()
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			p := make([]byte, 50_000)
			for ctx.Err() == nil {
				off := rnd.Int64N(size - 50_000)
				n, err := r.ReadAt(ctx, p, off)
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				if err == nil && !bytes.Equal(p[:n], pattern(off, n)) {
					t.Error("wrong bytes")
					return
				}
			}
		})
	}
	for i := range 2 {
		w := k.handle(f, OpenFlags{Write: true})
		writers.Go(func() {
			defer w.Release()
			rnd := rand.New(rand.NewPCG(uint64(i), 2))
			for range 60 { // the same bytes again: readers never see others
				off := rnd.Int64N(size - 20_000)
				wctx, stop := context.WithTimeout(ctx, time.Duration(rnd.IntN(2000))*time.Microsecond)
				if _, err := w.WriteAt(wctx, pattern(off, 20_000), off); err != nil && kind(err) != pool.KindCanceled {
					t.Error(err)
				}
				if err := w.Flush(wctx, nil); err != nil && kind(err) != pool.KindCanceled {
					t.Error(err)
				}
				stop()
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), pattern(0, size))
}

func TestVerifyHash(t *testing.T) {
	k := newKit(t, quirks{cuts: 1, cutAt: 600_000, cutKeeps: 1000}, func(c *Config) { c.Verify = pool.VerifyHash })
	_, f, h := k.create("/a")
	want := k.fill(h, 0, 2<<20, 1<<16)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), want)
	if k.srv.hashed != 1 {
		t.Errorf("%d digests compared", k.srv.hashed)
	}
	_, f, h = k.existing("/a", OpenFlags{Read: true, Write: true})
	k.write(h, 7, "x")
	k.done(f, h)
	if k.srv.hashed != 2 {
		t.Errorf("%d digests compared", k.srv.hashed)
	}
}
