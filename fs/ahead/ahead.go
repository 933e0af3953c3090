package ahead

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Remote is the server. *pool.Pool is one.
type Remote interface {
	Stat(ctx context.Context, path string) (pool.Entry, error)
	Mkdir(ctx context.Context, path string) error
	MkdirMode(ctx context.Context, path string, mode uint32) (set bool, err error)
	MkdirTold(ctx context.Context, path string, mode uint32) (told *pool.Entry, set bool, err error)
	Rmdir(ctx context.Context, path string) error
	Remove(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string) error
	SetAttrs(ctx context.Context, path string, isDir bool, a pool.Attrs) error
	Symlink(ctx context.Context, target, path string) error
	Readlink(ctx context.Context, path string) (string, error)
	Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error)
	Upload(ctx context.Context, path string, o pool.UploadOptions) (pool.Upload, error)
	Can(ctx context.Context, c pool.Capability, probeDir string) (bool, error)
	MaxConnections() int
	Known(c pool.Capability) (can, known bool)
	KeepsName(ctx context.Context, path string) error
}

// Meta tells what is known of names without asking the server. *cache.Cache is one.
type Meta interface {
	Peek(path string) (e pool.Entry, fresh bool)
	PeekList(dir string) (l *pool.Listing, fresh bool)
}

// Config is what Files are made of. Remote and Meta are required.
type Config struct {
	Remote   Remote
	Meta     Meta
	TTL      time.Duration    // what was fetched is used no longer than this
	Budget   int64            // most bytes that nobody has asked for yet, those under way included
	Parallel int              // most downloads at a time; 0: nothing is fetched ahead
	Now      func() time.Time // nil: time.Now
	// AfterFunc replaces time.AfterFunc, for tests; stop as time.Timer.Stop. nil: the real one.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
}

// Stats are counters since the start, and what is there now.
type Stats struct {
	Held        int64 `json:"held"`          // gauge: bytes fetched or being fetched that nobody has asked for
	Files       int64 `json:"files"`         // fetched ahead
	Used        int64 `json:"used"`          // of them, read by somebody
	Bytes       int64 `json:"bytes"`         // of the files fetched
	BytesInVain int64 `json:"bytes_in_vain"` // of those that nobody read in time
}

// Files is a Remote that answers downloads of small files from what it fetched ahead. All methods may be called
// concurrently.
type Files struct {
	Remote
	cfg    Config
	ctx    context.Context // of all fetches
	cancel context.CancelFunc
	wg     sync.WaitGroup // fetches

	mu      sync.Mutex
	closed  bool               // guarded by mu
	files   map[string]*file   // by path; guarded by mu
	folders map[string]*folder // by path; guarded by mu
	writing map[string]int     // uploads under way, by path; guarded by mu
	asked   map[string]int     // by path, who has come for a file and is not in the pattern yet; guarded by mu
	under   int                // fetches under way; guarded by mu
	waiting int                // of them, those without a connection; guarded by mu
	stats   Stats              // guarded by mu
	stop    func() bool        // of the timer that drops what is old; nil: not armed; guarded by mu
}

// New gives Files over cfg.Remote.
func New(cfg Config) *Files {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.AfterFunc == nil {
		cfg.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
	f := &Files{Remote: cfg.Remote, cfg: cfg, files: map[string]*file{}, folders: map[string]*folder{}, writing: map[string]int{}, asked: map[string]int{}}
	f.ctx, f.cancel = context.WithCancel(pool.Ahead(context.Background()))
	return f
}

// Close ends what is under way and forgets the rest. Downloads go on to be answered by the remote.
func (f *Files) Close() {
	f.mu.Lock()
	f.closed = true
	for _, x := range f.files {
		f.dropLocked(x)
	}
	if f.stop != nil {
		f.stop()
		f.stop = nil
	}
	f.mu.Unlock()
	f.cancel()
	f.wg.Wait()
}

// Stats gives a snapshot.
func (f *Files) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// Download answers from memory if it can, and notes who reads what. Only the first download of an open file counts: later
// ones compare the file with what was read of it before, and that is between them and the server.
func (f *Files) Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error) {
	if o.Offset != 0 || o.Length >= 0 || o.Expect != nil || o.Size <= 0 || o.Size > maxFile {
		return f.Remote.Download(ctx, path, o)
	}
	f.count(f.asked, path, 1)
	defer f.count(f.asked, path, -1)
	if data := f.take(ctx, path, o.Size); data != nil {
		f.noticed(path)
		return &fetched{data: data}, nil
	}
	d, err := f.Remote.Download(ctx, path, o) // the caller's own comes first
	if err == nil {
		f.noticed(path)
	}
	return d, err
}

// Upload voids what was fetched of the file, and keeps others from being fetched while it lasts.
func (f *Files) Upload(ctx context.Context, path string, o pool.UploadOptions) (pool.Upload, error) {
	f.count(f.writing, path, 1)
	f.void(path) // some servers do not take a STOR while they send the file
	u, err := f.Remote.Upload(ctx, path, o)
	if err != nil {
		f.count(f.writing, path, -1)
		return nil, err
	}
	return &upload{Upload: u, done: sync.OnceFunc(func() { f.count(f.writing, path, -1) })}, nil
}

// count adds n to what a map of f has for path.
func (f *Files) count(of map[string]int, path string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if of[path] += n; of[path] == 0 {
		delete(of, path)
	}
}

// upload tells when it is over.
type upload struct {
	pool.Upload
	done func()
}

func (u *upload) Finish(ctx context.Context, o pool.Finish) (pool.FinishResult, error) {
	defer u.done()
	return u.Upload.Finish(ctx, o)
}

func (u *upload) Abort() {
	defer u.done()
	u.Upload.Abort()
}

// Remove removes a file or a symlink.
func (f *Files) Remove(ctx context.Context, path string) error {
	defer f.void(path)
	return f.Remote.Remove(ctx, path)
}

// Rmdir removes an empty folder.
func (f *Files) Rmdir(ctx context.Context, path string) error {
	defer f.void(path)
	return f.Remote.Rmdir(ctx, path)
}

// Rename renames a file or a folder.
func (f *Files) Rename(ctx context.Context, from, to string) error {
	f.void(from)
	defer f.void(from)
	defer f.void(to)
	return f.Remote.Rename(ctx, from, to)
}

// SetAttrs sets mode and time.
func (f *Files) SetAttrs(ctx context.Context, path string, isDir bool, a pool.Attrs) error {
	defer f.void(path)
	return f.Remote.SetAttrs(ctx, path, isDir, a)
}

// void forgets what was fetched at and below path, and waits until nothing of it is being fetched.
func (f *Files) void(path string) {
	var ends []chan struct{}
	f.mu.Lock()
	for at, x := range f.files {
		if at == path || strings.HasPrefix(at, strings.TrimSuffix(path, "/")+"/") {
			f.dropLocked(x)
			ends = append(ends, x.over)
		}
	}
	f.mu.Unlock()
	for _, over := range ends {
		<-over
	}
}
