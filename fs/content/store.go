package content

import (
	"context"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Store is all content of one mount that is open or not yet on the server. Its methods may be called concurrently.
//
// Order of locks: a File's turn, sender.mu, then leaves that hold no other: window.mu, temp.mu, File.mu, Handle.mu, Store.mu. A turn
// and sender.mu are held over the network, the others never. Two turns are held at once only by BeforeRename, which takes
// them in the order of the files' ids.
type Store struct {
	cfg   Config
	log   *slog.Logger
	names namer
	line  *reader.Line

	// ctx is for everything that goes to the server; cancel ends it all, at Close.
	ctx    context.Context
	cancel context.CancelFunc

	noReplace atomic.Bool // seen: RNTO over an existing file is refused
	noResume  atomic.Bool // seen: neither APPE nor REST + STOR goes on with a file

	mu     sync.Mutex
	nextID uint64             // guarded by mu
	files  map[*File]struct{} // guarded by mu
	temps  map[*temp]struct{} // guarded by mu
	closed bool               // guarded by mu
	// sweeping says that a sweep is to come or under way; guarded by mu
	sweeping bool
	work     sync.WaitGroup // goroutines; Add only with mu held and closed false

	stats counters
}

type counters struct {
	handles, streams, staged                         atomic.Int64
	uploads, replaced, resumed, recovered, bytesSent atomic.Int64
}

// New makes a Store. It does not use the network.
func New(cfg Config) *Store {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Meta == nil {
		cfg.Meta = noMeta{}
	}
	if cfg.ReplayBytes == 0 {
		cfg.ReplayBytes = 16 << 20
	}
	if cfg.MountID == "" {
		cfg.MountID = newMountID()
	}
	s := &Store{cfg: cfg, log: cfg.Log, line: reader.NewLine(), files: map[*File]struct{}{}, temps: map[*temp]struct{}{}}
	s.names.mount = cfg.MountID
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

type noMeta struct{}

func (noMeta) Changed(string, pool.Entry) {}
func (noMeta) Removed(string)             {}
func (noMeta) Renamed(string, string)     {}
func (noMeta) Forget(string)              {}

// goes runs fn in a goroutine that Close waits for; after Close it does nothing.
func (s *Store) goes(fn func()) bool {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return false
	}
	s.work.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.work.Done()
		defer func() {
			if p := recover(); p != nil {
				_ = s.panicked("", p) // it is logged, and nobody waits
			}
		}()
		fn()
	}()
	return true
}

// panicked logs a panic with its stack and gives the error for who waits.
func (s *Store) panicked(path string, p any) error {
	s.log.Error("an operation panicked, please report it", "path", path, "panic", p, "stack", string(debug.Stack()))
	return opError("content", path, pool.KindOther, errPanic)
}

// open lists the files in the order of their ids.
func (s *Store) open() []*File {
	s.mu.Lock()
	all := make([]*File, 0, len(s.files))
	for f := range s.files {
		all = append(all, f)
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *File) int { return int(a.id) - int(b.id) })
	return all
}

// Pending lists the files with content that the server does not have yet, by path.
func (s *Store) Pending() []Status {
	var all []Status
	for _, f := range s.open() {
		if st, pending := f.status(); pending {
			all = append(all, st)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Sync returns nil when the server has all content that was written before the call, else the first error. All files are
// tried whatever happens to one of them.
func (s *Store) Sync(ctx context.Context) error {
	s.sweep(ctx)
	var first error
	for _, f := range s.open() {
		if _, pending := f.status(); !pending {
			continue
		}
		if err := f.do(ctx, func(ctx context.Context) error { return f.push(ctx, nothingToCome) }); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Stats gives gauges and counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	files, temps := len(s.files), len(s.temps)
	s.mu.Unlock()
	c := &s.stats
	return Stats{
		Files: int64(files), Handles: c.handles.Load(), Streams: c.streams.Load(), Staged: c.staged.Load(), Temps: int64(temps),
		Uploads: c.uploads.Load(), Replaced: c.replaced.Load(), Resumed: c.resumed.Load(), Recovered: c.recovered.Load(),
		BytesSent: c.bytesSent.Load(), Line: s.line.Stats(),
	}
}

// Close is called once at unmount, when no handle is in use any more: it ends all transfers and waits for them. Content
// that is not on the server by now (call Sync first) goes to the recovery folder, the first place or failure is logged.
// ctx bounds the wait for operations under way before they are cut off.
func (s *Store) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	for _, f := range s.open() {
		f.Close()
	}
	s.sweep(s.ctx)
	s.work.Wait()
	s.cancel()
	return context.Cause(ctx)
}
