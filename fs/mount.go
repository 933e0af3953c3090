package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/cache"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Remote is what nodes ask the server for directly. *pool.Pool is one.
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
	Can(ctx context.Context, c pool.Capability, probeDir string) (bool, error)
	Known(c pool.Capability) (can, known bool)
	KeepsName(ctx context.Context, path string) error
}

// LinkTimes keeps the modification times of symlinks, which no server can set. e is what was told of the link last.
type LinkTimes interface {
	SetLinkTime(path string, e pool.Entry, t time.Time) error
}

// Metadata is what nodes ask of names and attributes. *cache.Cache is one.
type Metadata interface {
	Lookup(ctx context.Context, path string) (pool.Entry, error)
	LookupFresh(ctx context.Context, path string, maxAge time.Duration) (pool.Entry, error)
	Exact(ctx context.Context, path string) (pool.Entry, error)
	List(ctx context.Context, dir string) (*pool.Listing, error)
	Known(ctx context.Context, path string) (e pool.Entry, fresh bool)
	Peek(path string) (e pool.Entry, fresh bool)
	Variant(path string) (name string, ok bool)
	Changed(path string, e pool.Entry)
	MadeDir(path string, e pool.Entry)
	Removed(path string)
	Moving(path string) (done func())
	Renamed(from, to string)
	Forget(path string)
	ForgetDir(dir string)
}

var (
	_ Remote   = (*pool.Pool)(nil)
	_ Metadata = (*cache.Cache)(nil)
)

// Config is what a mount is made of. Mountpoint, Remote, Cache and Content are required.
type Config struct {
	Mountpoint string // an existing folder
	Source     string // what mount(8) and df(1) show as the device; no secrets
	Remote     Remote
	Links      LinkTimes // nil: lutimes(2) of a symlink fails with EOPNOTSUPP
	Allocate   bool      // fallocate(2) succeeds without reserving anything; false: it fails with EOPNOTSUPP
	Cache      Metadata
	Content    *content.Store
	// Root is the server's path of the mount's root, as the server writes absolute paths; "" when they are the same. Targets of
	// symbolic links are seen from there.
	Root     string
	Symlinks Symlinks

	// AttrTTL, DirTTL and NegTTL are how long attributes, names and absences are believed. The kernel remembers them
	// for KernelTTL of these on top of Cache, whose own must be shorter by that (see CacheTTL).
	AttrTTL, DirTTL, NegTTL time.Duration

	ReadOnly   bool
	AllowOther bool   // other users may enter; the kernel checks modes in any case
	UID, GID   uint32 // who everything belongs to
	// Umask, if HasUmask, makes all modes 0777 less these bits, as for every FUSE mount; what the server says is not shown.
	Umask    uint32
	HasUmask bool
	// MountOptions are generic options of mount(8): noexec, nosuid, nodev, noatime ... Those without a meaning here are left out.
	MountOptions []string
	// Debug logs every request of the kernel at debug level.
	Debug bool
	Log   *slog.Logger     // nil: slog.Default
	Now   func() time.Time // nil: time.Now
}

// Server is one mount. Its methods may be called concurrently.
type Server struct {
	cfg        Config
	log        *slog.Logger
	now        func() time.Time
	mountpoint string // absolute, without symlinks
	since      time.Time
	kernelTTL  time.Duration
	device     string // of the mount, as the kernel's table has it; "" where there is none
	fuse       *fuse.Server
	root       *node
	ended      chan struct{} // closed when the kernel asks nothing more
	cutOff     chan struct{} // closed when Unmount left only copies of the mount in other namespaces
	cutOnce    sync.Once     // closes cutOff

	// killed, holdsOpen and inherited look at callers; replaced in tests.
	killed    func(tid uint32) bool
	holdsOpen func(tid uint32, d description) bool
	inherited func(tid, writer uint32, d description) bool

	names   names
	moves   moves
	links   madeLinks
	notify  *notifier
	handles set[*fileHandle]
	open    set[*node] // nodes with content in use

	// ctx is what operations run under: it ends when the mount has been drained.
	ctx    context.Context
	cancel context.CancelFunc
	// running counts the goroutines of operations.
	running   sync.WaitGroup
	inFlight  atomic.Int64
	abandoned atomic.Int64
	openDirs  atomic.Int64

	warnings   logLimit
	folderMode atomic.Pointer[pool.Entry] // mode that this server gives new folders; nil: not known yet
	foldsSeen  atomic.Bool                // the server was seen to fold case where that could not be tried out
	lastRoot   atomic.Pointer[pool.Entry] // last attributes of the root
	askingRoot atomic.Bool
}

// KernelTTL is how long the kernel may answer by itself out of a time to live: a second, or a quarter of it.
func KernelTTL(ttl time.Duration) time.Duration { return min(time.Second, ttl/4) }

// CacheTTL is what is left of a time to live for the cache below, so that both together do not exceed it.
func CacheTTL(ttl time.Duration) time.Duration { return ttl - KernelTTL(ttl) }

const (
	// maxTransfer is the largest READ and WRITE.
	maxTransfer = 1 << 20
	// maxBackground is how many read-ahead requests the kernel may have in flight.
	maxBackground = 64
	// maxRequestBytes bounds the memory of requests that wait: as many writers may be blocked at once as requests of
	// the largest size fit in.
	maxRequestBytes = 64 << 20
)

// Mount mounts the file system and returns when it answers. The caller ends it with Unmount (or anybody does with
// umount(8)), waits for that with Wait, and then calls Drain.
func Mount(cfg Config) (*Server, error) {
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.mount(); err != nil {
		s.shutdown()
		return nil, err
	}
	return s, nil
}

// newServer makes everything but the mount.
func newServer(cfg Config) (*Server, error) {
	if cfg.Remote == nil || cfg.Cache == nil || cfg.Content == nil || cfg.Mountpoint == "" {
		return nil, errors.New("fs: Mountpoint, Remote, Cache and Content are required")
	}
	s := &Server{
		cfg: cfg, log: cfg.Log, now: cfg.Now, kernelTTL: KernelTTL(min(cfg.AttrTTL, cfg.DirTTL)),
		killed: callerKilled, holdsOpen: holdsOpen, inherited: inherited, notify: newNotifier(), moves: newMoves(),
		ended: make(chan struct{}), cutOff: make(chan struct{}),
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.since = s.now()
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.lastRoot.Store(&pool.Entry{Type: pool.TypeDir, Size: -1, ModTime: s.since.UTC().Truncate(time.Second)})
	s.root = s.newNode(pool.TypeDir)
	return s, nil
}

func (s *Server) mount() error {
	mountpoint, err := filepath.Abs(s.cfg.Mountpoint)
	if err != nil {
		return err
	}
	if mountpoint, err = filepath.EvalSymlinks(mountpoint); err != nil {
		return err
	}
	if info, err := os.Stat(mountpoint); err != nil {
		return err
	} else if !info.IsDir() {
		return &os.PathError{Op: "mount", Path: mountpoint, Err: syscall.ENOTDIR}
	}
	s.mountpoint = mountpoint
	if s.fuse, err = fusefs.Mount(mountpoint, s.root, s.options()); err != nil {
		return fmt.Errorf("mount on %s: %w", mountpoint, err)
	}
	go func() { // ends with the kernel's side of the mount: at the latest with the process
		s.fuse.Wait()
		close(s.ended)
	}()
	s.device = deviceOf(mountpoint)
	raiseReadAhead(s.device, s.log)
	return nil
}

// options are go-fuse's.
func (s *Server) options() *fusefs.Options {
	zero, negative := time.Duration(0), KernelTTL(s.cfg.NegTTL)
	o := &fusefs.Options{
		// Answers carry their own times; these are for what does not.
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &negative,
		NullPermissions: true,
		RootStableAttr:  &fusefs.StableAttr{Ino: fuse.FUSE_ROOT_ID},
		// Numbers that 32-bit programs can hold as well.
		FirstAutomaticIno: 2,
		MountOptions: fuse.MountOptions{
			AllowOther: s.cfg.AllowOther, FsName: s.cfg.Source, Name: "ftpsfs",
			MaxWrite: maxTransfer, MaxBackground: maxBackground, MaxInflightRequestBytes: maxRequestBytes,
			// Answers come from memory: a splice would copy them once more.
			DisableSplice: true,
			// No server has extended attributes; ENOTSUP, and the kernel does not ask again.
			DisableXAttrs:     true,
			ExtraCapabilities: extraCapabilities,
			PanicHandler: func(p any) fuse.Status {
				_ = s.panicked(p)
				return fuse.EIO
			},
			Debug:  s.cfg.Debug,
			Logger: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		},
	}
	platformOptions(&s.cfg, &o.MountOptions)
	return o
}

// enter counts a request; the result is called at its end.
func (s *Server) enter() func() {
	s.inFlight.Add(1)
	return s.leave
}

func (s *Server) leave() { s.inFlight.Add(-1) }

// Mountpoint is the absolute path of the mount, without symbolic links.
func (s *Server) Mountpoint() string { return s.mountpoint }

// Wait returns when the file system is not mounted any more and the requests that were under way are answered.
func (s *Server) Wait() {
	select {
	case <-s.ended:
	case <-s.cutOff:
	}
}

// copyPatience is how long Unmount waits for the kernel's last word about a mount that is gone, before it looks why none comes.
const copyPatience = 2 * time.Second

// Unmount unmounts. It gives an error while somebody uses the mount (EBUSY, in the words of the helper). A process in a mount
// namespace that was made from ours meanwhile (unshare -m, a container) has a copy of the mount, which can keep it alive for
// ever without anybody using it: such a copy is cut off.
func (s *Server) Unmount() error {
	done := make(chan error, 1)
	go func() { done <- s.fuse.Unmount() }()
	for {
		look := time.NewTimer(copyPatience)
		select {
		case err := <-done:
			look.Stop()
			return err
		case <-look.C:
		}
		if s.inFlight.Load() == 0 && !attached(s.mountpoint, s.device) {
			s.log.Warn("the mount is gone; a copy of it in another mount namespace is cut off")
			s.cutOnce.Do(func() { close(s.cutOff) })
			return nil
		}
	}
}

// Detach takes the mount out of the tree at once; who uses it goes on until he is done.
func (s *Server) Detach() error { return detach(s.mountpoint) }

// Sync returns nil when the server has all content that was written before the call, else the first error.
func (s *Server) Sync(ctx context.Context) error { return s.cfg.Content.Sync(ctx) }

// Drain is called once the file system is not mounted any more (Wait): it waits for operations whose callers were
// killed, releases handles that the kernel did not release (a mount that was torn off), and brings pending content
// to the server. After it nothing of this package runs. When ctx ends first the rest is given up, and
// ctx's error returned; what was not sent is the content store's to keep (content.Store.Close).
func (s *Server) Drain(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		for _, fh := range s.handles.all() {
			fh.release()
		}
		err := s.cfg.Content.Sync(ctx)
		s.running.Wait()
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.shutdown()
	return err
}

// shutdown ends what is left.
func (s *Server) shutdown() {
	s.cancel()
	s.notify.close()
}
