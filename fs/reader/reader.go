package reader

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Downloader starts downloads. *pool.Pool is one. The ctx given to it may be cancelled long after it returned. Close of a
// download may be called while another goroutine is in its Read, to end that.
type Downloader interface {
	Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error)
}

// Config is what a Reader needs.
type Config struct {
	Downloader Downloader
	Blocks     *blocks.Store
	Path       func() string // where the file is now, asked at every re-open
	Key        blocks.Key    // the content, for blocks shared by all handles of the file
	Size       int64         // size of the content
	// Expect gives what the file was when it was opened, for every download but the first: the server is asked in the same
	// flight, so that no descriptor mixes a file with its successor. nil, or nil given: not asked.
	Expect func() *pool.Entry

	// MaxFlows tells how many downloads may run beside each other at present. It does not wait. nil: not known.
	MaxFlows func() int

	// Line is shared by the readers of one mount; nil: one of its own.
	Line *Line

	// Now replaces time.Now, for tests.
	Now func() time.Time
	// AfterFunc replaces time.AfterFunc, for tests; stop as time.Timer.Stop. nil: the real one.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
	Log       *slog.Logger // nil: silent
}

// Reader answers the READs of one open handle. All methods may be called concurrently.
type Reader struct {
	cfg  Config
	line *Line
	wg   sync.WaitGroup // goroutines of fetches

	team *blocks.Team // of all fetches

	mu       sync.Mutex
	key      blocks.Key  // guarded by mu
	size     int64       // guarded by mu
	closed   bool        // guarded by mu
	fetches  []*fetch    // those that run or have chunks, the newest last; guarded by mu
	last     *fetch      // started last, may be over; guarded by mu
	window   int64       // how far a stream is filled ahead of the reader; guarded by mu
	seeks    int         // streams that were given up for another place; guarded by mu
	ranged   bool        // too many of them: bounded downloads; guarded by mu
	rangeLen int64       // of the last bounded download; guarded by mu
	at       int64       // the reader got everything before, as far as READs come in order; guarded by mu
	received int64       // bytes from the server; guarded by mu
	alone    measure     // of a single stream; guarded by mu
	train    *train      // nil: one stream at a time; guarded by mu
	moves    moves       // of the reader; guarded by mu
	ahead    *ahead      // nil: no pattern; guarded by mu
	opened   atomic.Bool // a download was started
	pending  int         // READs that are not answered yet; guarded by mu
	reads    uint64      // READs so far, to see whether the handle is in use; guarded by mu
	idle     idleTimer   // guarded by mu
	mute     error       // the server did not answer, believed until muteEnd; guarded by mu
	muteEnd  time.Time   // guarded by mu
}

// New gives a reader. Nothing goes to the server before the first ReadAt.
func New(cfg Config) *Reader {
	if cfg.AfterFunc == nil {
		cfg.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Line == nil {
		cfg.Line = NewLine()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Reader{cfg: cfg, line: cfg.Line, key: cfg.Key, size: cfg.Size, window: minWindow, team: cfg.Blocks.NewTeam()}
}

// ReadAt fills p from off. It gives less than len(p) only at the end of the content, then with io.EOF, or together with
// an error. ctx ends the wait of this caller and nothing else.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	r.followLocked(off, len(p))
	r.pending++
	defer func() { r.pending-- }()
	for n := 0; ; {
		if r.closed {
			return n, os.ErrClosed
		}
		if n == len(p) {
			return n, nil
		}
		pos := off + int64(n)
		if pos >= r.size {
			return n, io.EOF
		}
		m, err := r.stepLocked(ctx, p[n:min(int64(len(p)), r.size-off)], pos)
		n += m
		if err != nil {
			return n, err
		}
	}
}

// stepLocked gets at least some of the bytes at pos, or finds that it has to be asked again. It lets go of mu while it
// copies and waits.
func (r *Reader) stepLocked(ctx context.Context, p []byte, pos int64) (int, error) {
	if f, s := r.findLocked(pos); s != nil {
		return r.copyLocked(p, pos, f, s), nil
	}
	if n := r.cachedLocked(p, pos); n > 0 {
		return n, nil
	}
	f := r.comingLocked(pos, len(p))
	if f == nil && r.mute != nil && r.cfg.Now().Before(r.muteEnd) {
		return 0, r.mute
	}
	if f == nil {
		f = r.startLocked(pos, len(p))
	}
	return r.waitLocked(ctx, f, p, pos)
}

// muteFor is how long READs that need the server are answered with its silence: the kernel asks once more, for the first
// page alone, before it tells the program of a failure.
const muteFor = 300 * time.Millisecond

// unansweredLocked notes a download that ended because the server did not answer.
func (r *Reader) unansweredLocked(err error) {
	if pool.KindOf(err) != pool.KindTimeout {
		return
	}
	r.mute, r.muteEnd = err, r.cfg.Now().Add(muteFor)
}

// copyLocked copies out of a slot, which stays where it is meanwhile.
func (r *Reader) copyLocked(p []byte, pos int64, f *fetch, s *slot) int {
	s.pins++
	b := s.at(pos)
	r.mu.Unlock()
	n := copy(p, b)
	r.mu.Lock()
	s.read += n
	f.unpinLocked(s)
	r.advanceLocked(pos + int64(n))
	return n
}

// cachedLocked copies out of the block cache. 0: not there.
func (r *Reader) cachedLocked(p []byte, pos int64) int {
	key, index, off := r.key, pos/blocks.ChunkSize, int(pos%blocks.ChunkSize)
	if !r.cfg.Blocks.Has(key, index, off) {
		return 0
	}
	r.mu.Unlock()
	n, _ := r.cfg.Blocks.Get(key, index, p, off)
	r.mu.Lock()
	if r.key != key {
		return 0 // the content became another one meanwhile
	}
	if n > 0 {
		r.advanceLocked(pos + int64(n))
	}
	return n
}

// waitLocked waits until f has what a READ needs next, up to the end of one chunk, and copies that.
func (r *Reader) waitLocked(ctx context.Context, f *fetch, p []byte, pos int64) (int, error) {
	want := min(pos+int64(len(p)), (pos/blocks.ChunkSize+1)*blocks.ChunkSize, f.end)
	w := &waiter{pos: pos, want: want, done: make(chan struct{})}
	f.attachLocked(w, pos+int64(len(p)))
	r.mu.Unlock()
	var err error
	select {
	case <-w.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	r.mu.Lock()
	defer f.detachLocked(w)
	if err != nil {
		return 0, err
	}
	if s := f.slotAtLocked(pos); s != nil && !f.discard {
		return r.copyLocked(p, pos, f, s), nil
	}
	return 0, f.err // nil: f was stopped for something else, the caller looks again
}
