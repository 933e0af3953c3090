package blocks

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t *testing.T, chunks int) *Store {
	s := New(int64(chunks) * ChunkSize)
	t.Cleanup(func() {
		if st := s.Stats(); st.Held != 0 || st.Waiting != 0 || st.Mapped > st.Limit {
			t.Errorf("at the end: %+v", st)
		}
		s.Close()
		if st := s.Stats(); st.Mapped != 0 || st.Cached != 0 {
			t.Errorf("after Close: %+v", st)
		}
	})
	return s
}

// take allocates for a caller that must not have to wait.
func take(t *testing.T, h *Holder) *Chunk {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	h.store.mu.Lock()
	c, err := h.store.takeLocked(h, h.hungryLocked())
	h.store.mu.Unlock()
	if c == nil || err != nil {
		t.Fatalf("no chunk: %v", err)
	}
	if _, err := h.Alloc(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Alloc with an ended context: %v", err)
	}
	return c
}

// waiting blocks until n callers wait in Alloc.
func waiting(s *Store, n int) {
	for s.Stats().Waiting != n {
		time.Sleep(time.Millisecond)
	}
}

func TestBudget(t *testing.T) {
	s := newStore(t, 8)
	h := s.NewHolder(nil)
	defer h.Close()
	var got []*Chunk
	for c := h.TryAlloc(); c != nil; c = h.TryAlloc() {
		if len(c.Buf) != ChunkSize {
			t.Fatalf("chunk of %d bytes", len(c.Buf))
		}
		got = append(got, c)
	}
	if len(got) != 7 { // one is kept for those who have nothing
		t.Errorf("%d chunks", len(got))
	}
	poor := s.NewHolder(nil)
	defer poor.Close()
	last := poor.TryAlloc()
	if last == nil {
		t.Fatal("no chunk for a holder with nothing")
	}
	if c := poor.TryAlloc(); c != nil {
		t.Error("a chunk beyond the limit")
	}
	last.Free()
	for _, c := range got {
		c.Free()
	}
	if st := s.Stats(); st.Held != 0 || st.Mapped != 8*ChunkSize {
		t.Errorf("%+v", st)
	}
	again := h.TryAlloc()
	if s.Stats().Mapped != 8*ChunkSize {
		t.Error("a freed chunk was not used again")
	}
	again.Free()
}

func TestFreeTwicePanics(t *testing.T) {
	s := newStore(t, 2)
	c := s.TryAlloc()
	c.Free()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	c.Free()
}

func put(t *testing.T, s *Store, key Key, index int64, from, to int, fill byte) {
	t.Helper()
	c := s.TryAlloc()
	if c == nil {
		t.Fatal("no chunk")
	}
	for i := range c.Buf {
		c.Buf[i] = fill
	}
	s.PutRange(key, index, c, from, to)
}

func TestCache(t *testing.T) {
	s := newStore(t, 8)
	a, b := Key{1, 1}, Key{1, 2}
	put(t, s, a, 3, 0, 100, 'x')
	dst := make([]byte, 200)
	for _, c := range []struct {
		key   Key
		index int64
		off   int
		n     int
	}{
		{a, 3, 0, 100}, {a, 3, 60, 40}, {a, 3, 99, 1}, {a, 3, 100, 0}, {a, 3, -1, 0}, {a, 2, 0, 0}, {b, 3, 0, 0},
	} {
		n, ok := s.Get(c.key, c.index, dst, c.off)
		if n != c.n || ok != (c.n > 0) || s.Has(c.key, c.index, c.off) != ok {
			t.Errorf("Get(%v, %d, %d) = %d, %t", c.key, c.index, c.off, n, ok)
		}
		if !bytes.Equal(dst[:n], bytes.Repeat([]byte{'x'}, n)) {
			t.Error("wrong bytes")
		}
	}
	if st := s.Stats(); st.Hits != 3 || st.Misses != 4 || st.Cached != ChunkSize {
		t.Errorf("%+v", st)
	}
	s.Drop(b)
	if !s.Has(a, 3, 0) {
		t.Error("dropped the wrong version")
	}
	s.Drop(a)
	if s.Has(a, 3, 0) || s.Stats().Cached != 0 {
		t.Error("not dropped")
	}
}

func TestBlocksOfOnePlaceAreMerged(t *testing.T) {
	type piece struct{ from, to int }
	for _, c := range []struct {
		first, second, want piece
	}{
		{piece{0, 100}, piece{100, 200}, piece{0, 200}},
		{piece{100, 200}, piece{0, 100}, piece{0, 200}},
		{piece{50, 150}, piece{0, 200}, piece{0, 200}},
		{piece{0, 200}, piece{50, 150}, piece{0, 200}},
		{piece{0, 100}, piece{150, 200}, piece{0, 100}}, // apart: the longer one
		{piece{0, 100}, piece{150, 300}, piece{150, 300}},
		{piece{0, 100}, piece{20, 20}, piece{0, 100}},
	} {
		s := newStore(t, 4)
		put(t, s, Key{}, 0, c.first.from, c.first.to, 1)
		put(t, s, Key{}, 0, c.second.from, c.second.to, 2)
		for i := range 301 {
			if s.Has(Key{}, 0, i) != (i >= c.want.from && i < c.want.to) {
				t.Errorf("%v then %v: byte %d: %t", c.first, c.second, i, s.Has(Key{}, 0, i))
				break
			}
		}
		dst := make([]byte, 400)
		n, _ := s.Get(Key{}, 0, dst, c.want.from)
		for i, v := range dst[:n] {
			off := i + c.want.from
			in1, in2 := off >= c.first.from && off < c.first.to, off >= c.second.from && off < c.second.to
			if v == 1 && !in1 || v == 2 && !in2 || v == 0 {
				t.Errorf("%v then %v: byte %d is %d", c.first, c.second, off, v)
				break
			}
		}
	}
}

func TestCachedBlocksMakeRoomOldestFirst(t *testing.T) {
	s := newStore(t, 8)
	for i := range int64(7) {
		put(t, s, Key{}, i, 0, 10, byte(i))
	}
	s.Get(Key{}, 0, make([]byte, 1), 0) // used: the youngest now
	h := s.NewHolder(nil)
	defer h.Close()
	var got []*Chunk
	for range 3 {
		got = append(got, take(t, h))
	}
	for i := range int64(7) {
		if want := i == 0 || i > 2; s.Has(Key{}, i, 0) != want {
			t.Errorf("block %d cached: %t", i, !want)
		}
	}
	if st := s.Stats(); st.Evictions != 2 {
		t.Errorf("%+v", st)
	}
	for _, c := range got {
		c.Free()
	}
}

func TestWaitersAreServedInOrderThoseWithNothingFirst(t *testing.T) {
	s := newStore(t, 2)
	rich := s.NewHolder(nil)
	defer rich.Close()
	first := take(t, rich)
	poor := s.NewHolder(nil)
	defer poor.Close()
	second := take(t, poor)

	names := make(chan string, 3)
	chunks := make(chan *Chunk, 3)
	var wg sync.WaitGroup
	wait := func(name string, h *Holder) {
		n := s.Stats().Waiting
		wg.Go(func() {
			c, err := h.Alloc(context.Background())
			if err != nil {
				t.Error(err)
			}
			names <- name
			chunks <- c
		})
		waiting(s, n+1)
	}
	wait("more", rich)
	nothing := []*Holder{s.NewHolder(nil), s.NewHolder(nil)}
	wait("nothing 0", nothing[0])
	wait("nothing 1", nothing[1])
	if s.TryAlloc() != nil {
		t.Error("TryAlloc overtook those who wait")
	}
	second.Free()
	if n := <-names; n != "nothing 0" {
		t.Errorf("first served: %s", n)
	}
	first.Free() // rich has nothing now either, and came first
	if n := <-names; n != "more" {
		t.Errorf("second served: %s", n)
	}
	(<-chunks).Free()
	if n := <-names; n != "nothing 1" {
		t.Errorf("third served: %s", n)
	}
	(<-chunks).Free()
	(<-chunks).Free()
	wg.Wait()
	for _, h := range nothing {
		h.Close()
	}
}

func TestCancelledWait(t *testing.T) {
	s := newStore(t, 2)
	a, b := take(t, s.NewHolder(nil)), take(t, s.NewHolder(nil))
	ctx, cancel := context.WithCancel(context.Background())
	errs := make(chan error)
	go func() {
		_, err := s.Alloc(ctx)
		errs <- err
	}()
	waiting(s, 1)
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if st := s.Stats(); st.Waiting != 0 || st.Waits != 1 {
		t.Errorf("%+v", st)
	}
	a.Free()
	b.Free()
}

func TestHoldersAreAskedForRoom(t *testing.T) {
	s := newStore(t, 8)
	var asked []Pressure
	var mine []*Chunk
	rich := s.NewHolder(func(p Pressure) {
		asked = append(asked, p)
		if p == PressureStarving {
			for i, c := range mine {
				s.Put(Key{}, int64(i), c, ChunkSize)
			}
			mine = nil
		}
	})
	defer rich.Close()
	for c := rich.TryAlloc(); c != nil; c = rich.TryAlloc() {
		mine = append(mine, c)
	}
	poor, poorer := s.NewHolder(nil), s.NewHolder(nil)
	defer poor.Close()
	defer poorer.Close()
	one := take(t, poor)
	two, err := poorer.Alloc(context.Background())
	if err != nil || len(asked) != 1 || asked[0] != PressureStarving {
		t.Errorf("%v, asked %v", err, asked)
	}
	one.Free()
	two.Free()
}

func TestShares(t *testing.T) {
	s := newStore(t, 32)
	a, b := s.NewHolder(nil), s.NewHolder(nil)
	defer a.Close()
	defer b.Close()
	var got []*Chunk
	for range 22 {
		got = append(got, take(t, a))
	}
	got = append(got, take(t, b))
	if n := a.Share(); n != 14 {
		t.Errorf("share %d", n)
	}
	got = append(got, take(t, b))
	// Nearly used up: the one over its share gets no more, the other one does.
	if c := a.TryAlloc(); c != nil {
		t.Error("more than its share")
		c.Free()
	}
	if c := b.TryAlloc(); c == nil {
		t.Error("less than its share")
	} else {
		c.Free()
	}
	if a.Held() != 22 || b.Held() != 2 {
		t.Errorf("held %d and %d", a.Held(), b.Held())
	}
	for _, c := range got {
		c.Free()
	}
}

// The holders of a team are one among others, and one of them may leave room for the rest.
func TestTeam(t *testing.T) {
	s := newStore(t, 32) // 4 of them are for holders with nothing
	team := s.NewTeam()
	a, b, c := team.NewHolder(nil), team.NewHolder(nil), s.NewHolder(nil)
	for _, h := range []*Holder{a, b, c} {
		defer h.Close()
	}
	var got []*Chunk
	more := func(h *Holder, n, leaving int) (had int) {
		for range n {
			if chunk := h.TryAllocLeaving(leaving); chunk != nil {
				got, had = append(got, chunk), had+1
			}
		}
		return had
	}
	if n := more(a, 20, 0) + more(b, 10, 3); n != 25 {
		t.Errorf("%d chunks, 3 of 28 were to be left", n)
	}
	if n := more(a, 10, 0); n != 3 {
		t.Errorf("%d chunks of those that were left", n)
	}
	if n := more(c, 1, 0); n != 1 || a.Share() != 14 || c.Share() != 14 {
		t.Errorf("%d chunks, shares of %d and %d", n, a.Share(), c.Share())
	}
	for _, chunk := range got {
		chunk.Free()
	}
	if n := c.Share(); n != 28 {
		t.Errorf("share of the only one %d", n)
	}
}

// TestTraffic lets many holders fill, cache, read and drop at once under a budget for a quarter of them.
func TestTraffic(t *testing.T) {
	s := newStore(t, 8)
	var wg sync.WaitGroup
	for g := range uint64(16) {
		h := s.NewHolder(nil)
		wg.Go(func() {
			defer h.Close()
			rnd := rand.New(rand.NewPCG(g, 0))
			dst := make([]byte, 4096)
			for range 300 {
				key, index := Key{File: rnd.Uint64N(3)}, rnd.Int64N(4)
				c, err := h.Alloc(context.Background())
				if err != nil {
					t.Error(err)
					return
				}
				mark := byte(key.File)<<4 | byte(index)
				for i := range 4096 {
					c.Buf[i] = mark
				}
				switch rnd.IntN(4) {
				case 0:
					c.Free()
				case 1:
					more := h.TryAlloc()
					s.Put(key, index, c, rnd.IntN(4097))
					if more != nil {
						more.Free()
					}
				default:
					s.Put(key, index, c, 4096)
				}
				if n, ok := s.Get(key, index, dst, 0); ok && !bytes.Equal(dst[:n], bytes.Repeat([]byte{mark}, n)) {
					t.Error("wrong bytes")
				}
				if rnd.IntN(20) == 0 {
					s.Drop(key)
				}
			}
		})
	}
	wg.Wait()
}

// What was fetched and not read is counted when it is given up, unless somebody found a use for it until then.
func TestUnreadBytes(t *testing.T) {
	s := newStore(t, 4)
	key := Key{File: 1}
	h := s.NewHolder(nil)
	defer h.Close()
	put := func(index int64, from, to, unread int) {
		s.PutUnread(key, index, take(t, h), from, to, unread)
	}
	sum := func(unread int64, vain uint64) {
		t.Helper()
		if st := s.Stats(); st.Unread != unread || st.BytesInVain != vain {
			t.Errorf("%d unread, %d in vain; want %d, %d", st.Unread, st.BytesInVain, unread, vain)
		}
	}
	put(0, 0, 1000, 600)
	sum(600, 0)
	s.Get(key, 0, make([]byte, 400), 0)
	sum(200, 0)
	s.Get(key, 0, make([]byte, 400), 0) // once more: as if it was the rest
	sum(0, 0)
	put(1, 0, 1000, 1000)
	put(1, 200, 300, 100) // is there already
	sum(1000, 100)
	put(1, 900, 1500, 600) // 100 of them are
	sum(1500, 200)
	put(1, 5000, 5100, 100) // apart, and shorter
	sum(1500, 300)
	put(1, 5000, 9000, 4000) // longer: it stays
	sum(4000, 1800)
	s.Waste(7)
	s.Drop(key)
	sum(0, 5807)
}
