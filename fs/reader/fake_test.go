package reader

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pattern is what every file of the fake server holds, again and again; its length divides no power of two.
var pattern = func() []byte {
	b := make([]byte, 1<<20+7)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}()

func fill(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, pattern[off%int64(len(pattern)):])
		p, off = p[n:], off+int64(n)
	}
}

// server is a Downloader over a file in memory.
type server struct {
	size int64
	// readSize gives the most bytes of one Read; nil: as many as fit.
	readSize func() int
	// cutAfter gives the number of bytes after which download n (from 0) breaks; nil or negative: never.
	cutAfter func(n int) int64
	// refuse gives the error of Download; nil: none.
	refuse func(n int) error
	// before is called in each Read, without a lock.
	before func(d *download)
	// conns is the number of connections, 0: any. Whoever waits for one puts the others under pressure.
	conns int

	mu      sync.Mutex
	changed sync.Cond
	opened  []pool.DownloadOptions
	active  map[*download]bool
	bytes   int64 // sent
	peak    int   // most active at a time
	queue   []int // downloads that wait for a connection, in the order in which they get one
}

func newServer(size int64) *server {
	s := &server{size: size, active: map[*download]bool{}}
	s.changed.L = &s.mu
	return s
}

type download struct {
	s        *server
	o        pool.DownloadOptions
	pos, end int64 // changed under server.mu by who reads
	left     int64 // until the cut; negative: none
	ctx      context.Context
	aborted  chan struct{}
	once     sync.Once
	pressed  bool
}

func (s *server) Download(ctx context.Context, _ string, o pool.DownloadOptions) (pool.Download, error) {
	stop := context.AfterFunc(ctx, func() { s.mu.Lock(); s.changed.Broadcast(); s.mu.Unlock() })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.opened)
	s.opened = append(s.opened, o)
	s.changed.Broadcast()
	if s.refuse != nil {
		if err := s.refuse(n); err != nil {
			return nil, err
		}
	}
	at := slices.IndexFunc(s.queue, func(m int) bool {
		other := s.opened[m]
		return other.Background && (!o.Background || other.Ahead > o.Ahead)
	})
	if at < 0 {
		at = len(s.queue)
	}
	s.queue = slices.Insert(s.queue, at, n)
	leave := func() {
		s.queue = slices.DeleteFunc(s.queue, func(m int) bool { return m == n })
		s.changed.Broadcast()
	}
	defer leave()
	for s.conns > 0 && (len(s.active) >= s.conns || s.queue[0] != n) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for d := range s.active {
			if !d.pressed && !o.Background {
				d.pressed = true
				go d.o.OnPressure()
			}
		}
		s.changed.Wait()
	}
	leave()
	d := &download{s: s, o: o, pos: o.Offset, end: s.size, left: -1, ctx: ctx, aborted: make(chan struct{})}
	if o.Length >= 0 {
		d.end = min(d.end, o.Offset+o.Length)
	}
	if s.cutAfter != nil {
		d.left = s.cutAfter(n)
	}
	s.active[d] = true
	s.peak = max(s.peak, len(s.active))
	s.changed.Broadcast()
	s.mu.Unlock()
	if o.OnBegin != nil {
		o.OnBegin()
	}
	s.mu.Lock()
	return d, nil
}

func (d *download) Read(p []byte) (int, error) {
	if d.s.before != nil {
		d.s.before(d)
	}
	select {
	case <-d.aborted:
		return 0, &pool.Error{Kind: pool.KindCanceled}
	default:
	}
	if d.pos >= d.end {
		return 0, io.EOF
	}
	n := min(int64(len(p)), d.end-d.pos)
	if d.s.readSize != nil {
		n = min(n, int64(d.s.readSize()))
	}
	if d.left >= 0 {
		if n = min(n, d.left); n == 0 {
			return 0, &pool.Error{Op: "read", Kind: pool.KindNetwork}
		}
		d.left -= n
	}
	fill(p[:n], d.pos)
	d.s.mu.Lock()
	d.pos += n
	d.s.bytes += n
	d.s.mu.Unlock()
	return int(n), nil
}

func (d *download) Close() error {
	d.once.Do(func() { close(d.aborted) })
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	delete(d.s.active, d)
	d.s.changed.Broadcast()
	return nil
}

// await blocks until cond, which is called with the lock, holds.
func (s *server) await(cond func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !cond() {
		s.changed.Wait()
	}
}

func (s *server) awaitNoConnection() { s.await(func() bool { return len(s.active) == 0 }) }

func (s *server) downloads() []pool.DownloadOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]pool.DownloadOptions(nil), s.opened...)
}

// clock is an AfterFunc under test control.
type clock struct {
	mu     sync.Mutex
	timers map[*func()]time.Duration
}

func (c *clock) AfterFunc(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = map[*func()]time.Duration{}
	}
	key := &f
	c.timers[key] = d
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, ok := c.timers[key]
		delete(c.timers, key)
		return ok
	}
}

// fire runs the timers of this duration that are armed now and tells how many there were.
func (c *clock) fire(d time.Duration) int {
	c.mu.Lock()
	var due []func()
	for key, t := range c.timers {
		if t == d {
			due = append(due, *key)
			delete(c.timers, key)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
	return len(due)
}

func (c *clock) armed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}

// rig is a reader on a fake server with a budget of its own. At the end everything must be given back.
type rig struct {
	*Reader
	t     testing.TB
	srv   *server
	store *blocks.Store
	clock *clock
}

func newRig(t testing.TB, srv *server, limit int64, change ...func(*Config)) *rig {
	g := &rig{t: t, srv: srv, store: blocks.New(limit), clock: &clock{}}
	cfg := Config{Downloader: srv, Blocks: g.store, Path: func() string { return "/f" }, Key: blocks.Key{File: 1},
		Size: srv.size, AfterFunc: g.clock.AfterFunc}
	if srv.conns > 0 {
		cfg.MaxFlows = func() int { return srv.conns }
	}
	for _, c := range change {
		c(&cfg)
	}
	g.Reader = New(cfg)
	t.Cleanup(func() {
		g.Close()
		st := g.store.Stats()
		if st.Held != 0 || st.Holders != 0 || st.Waiting != 0 {
			t.Errorf("after Close: %+v", st)
		}
		if st.Mapped > max(limit, 2*blocks.ChunkSize) {
			t.Errorf("took %d bytes of %d", st.Mapped, limit)
		}
		if n := g.clock.armed(); n != 0 {
			t.Errorf("%d timers left", n)
		}
		srv.mu.Lock()
		defer srv.mu.Unlock()
		if len(srv.active) != 0 {
			t.Errorf("%d downloads left open", len(srv.active))
		}
		g.store.Close()
	})
	return g
}

// read reads and compares.
func (g *rig) read(off, n int64) {
	g.t.Helper()
	check(g.t, g.Reader, g.srv.size, off, n)
}

func check(t testing.TB, r *Reader, size, off, n int64) {
	t.Helper()
	p := make([]byte, n)
	got, err := r.ReadAt(context.Background(), p, off)
	wantN, wantErr := n, error(nil)
	if off+n > size {
		wantN, wantErr = max(0, size-off), io.EOF
	}
	if int64(got) != wantN || err != wantErr {
		t.Errorf("ReadAt(%d, %d) = %d, %v; want %d, %v", off, n, got, err, wantN, wantErr)
		return
	}
	want := make([]byte, got)
	fill(want, off)
	if !bytes.Equal(p[:got], want) {
		t.Errorf("ReadAt(%d, %d): wrong bytes", off, n)
	}
}
