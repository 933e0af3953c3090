package fs

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/fs/content"
)

// fileHandle is one open file description. It holds one use of its node's content until it is released.
type fileHandle struct {
	n     *node
	f     *content.File
	h     *content.Handle
	write bool
	as    content.OpenFlags // how it was opened, without Truncate
	made  bool              // the open has created or truncated the file
	// unsent: something was written since the last flush, which will make or replace the file in its folder.
	unsent atomic.Bool
	// writer is the thread that wrote last, before that the one that opened the file to write; 0: none that is known.
	writer atomic.Uint32
	once   sync.Once
	// busy counts flushes that go on although their caller was killed; the release waits for them.
	busy sync.WaitGroup
}

// newHandle registers an open content handle.
func (s *Server) newHandle(n *node, f *content.File, h *content.Handle, of content.OpenFlags, made bool) *fileHandle {
	fh := &fileHandle{n: n, f: f, h: h, write: of.Write, as: access(of), made: made}
	fh.unsent.Store(made)
	s.handles.add(fh)
	n.writes(of.Write, 1)
	return fh
}

// openedBy notes who opened the handle. Who opens it to write may start programs before it writes anything.
func (fh *fileHandle) openedBy(tid uint32) *fileHandle {
	if fh.write {
		fh.writer.Store(tid)
	}
	return fh
}

// Read fills dest from the content at off.
func (fh *fileHandle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	s := fh.n.srv
	defer s.enter()()
	p, stop := s.patient(ctx)
	defer stop()
	n, err := fh.h.ReadAt(p, dest, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fh.fail("read", p.verdict(err))
	}
	return fuse.ReadResultData(dest[:n]), 0
}

// Write hands data to the content; it blocks at the speed of the line when the content does.
func (fh *fileHandle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	s := fh.n.srv
	defer s.enter()()
	p, stop := s.patient(ctx)
	defer stop()
	fh.unsent.Store(true)
	fh.writer.Store(callerOf(ctx))
	n, err := fh.h.WriteAt(p, data, off)
	if err != nil {
		return uint32(n), fh.fail("write", p.verdict(err))
	}
	return uint32(n), 0
}

// Flush is close(2) of one of possibly many descriptors: success means that the server has what was written.
func (fh *fileHandle) Flush(ctx context.Context) syscall.Errno {
	s := fh.n.srv
	defer s.enter()()
	tid := callerOf(ctx)
	if fh.inheritedBy(tid) {
		return 0 // who writes goes on, and has its own close, also for what an earlier one put off
	}
	more := func() bool { return fh.duplicated(tid) }
	if fh.made && !fh.write && !more() {
		// O_CREAT or O_TRUNC with O_RDONLY: the handle writes nothing, and still the server must learn of the file.
		return fh.upload(ctx, "close", fh.h.Fsync)
	}
	return fh.upload(ctx, "close", func(ctx context.Context) error { return fh.h.Flush(ctx, more) })
}

// duplicated reports whether the process of a thread has this open file under another descriptor. A descriptor of
// another open(2) is no sign that anything will be written: while there is one that was opened alike, the two cannot
// be told apart, and the answer is no.
func (fh *fileHandle) duplicated(tid uint32) bool {
	return fh.h.Unique() && fh.n.srv.holdsOpen(tid, fh.description())
}

// inheritedBy reports whether the process of a thread closes a descriptor that it got from the process that writes, and
// that this one still has.
func (fh *fileHandle) inheritedBy(tid uint32) bool {
	return fh.h.Unique() && fh.n.srv.inherited(tid, fh.writer.Load(), fh.description())
}

func (fh *fileHandle) description() description {
	path, _ := fh.n.Path()
	return description{path: fh.n.srv.mountpoint + path, ino: fh.n.StableAttr().Ino, as: fh.as}
}

// description is an open file as /proc shows it. The path is the one below our mount point, as another mount may have the
// same numbers: to a process that sees us elsewhere (a bind mount, another namespace) the answer is no.
type description struct {
	path string
	ino  uint64
	as   content.OpenFlags
}

// access is what of says of a descriptor during its whole life.
func access(of content.OpenFlags) content.OpenFlags {
	of.Truncate = false
	return of
}

// Fsync implements fsync(2) and fdatasync(2).
func (fh *fileHandle) Fsync(ctx context.Context, _ uint32) syscall.Errno {
	defer fh.n.srv.enter()()
	return fh.upload(ctx, "fsync", fh.h.Fsync)
}

// upload runs a flush that must not be cut off by the end of its caller.
func (fh *fileHandle) upload(ctx context.Context, op string, flush func(context.Context) error) syscall.Errno {
	fh.busy.Add(1)
	return fh.fail(op, fh.n.srv.do(ctx, func(ctx context.Context) error {
		defer fh.busy.Done()
		if fh.unsent.Swap(false) {
			defer fh.n.srv.names.parentOf(fh.n).touch()
		}
		return flush(ctx)
	}))
}

// Release ends the handle. Nobody hears its errors: what could not be sent is kept and logged by the content.
func (fh *fileHandle) Release(context.Context) syscall.Errno {
	defer fh.n.srv.enter()()
	fh.release()
	return 0
}

// release is Release, also for handles that the kernel never saw or forgot to release; only the first call counts.
func (fh *fileHandle) release() {
	fh.once.Do(func() {
		fh.busy.Wait()
		fh.h.Release()
		fh.n.writes(fh.write, -1)
		fh.n.unuse()
		fh.n.srv.handles.remove(fh)
	})
}

// Lseek implements SEEK_DATA and SEEK_HOLE of lseek(2): all of a file is data, and the hole is at its end.
func (fh *fileHandle) Lseek(_ context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	size := uint64(max(fh.f.Entry().Size, 0))
	switch {
	case whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE:
		return 0, syscall.EINVAL
	case off >= size:
		return 0, syscall.ENXIO
	case whence == unix.SEEK_DATA:
		return off, 0
	default:
		return size, 0
	}
}

// keepSize is FALLOC_FL_KEEP_SIZE, as the FUSE protocol has it on every system.
const keepSize = 1

// Allocate implements fallocate(2). No server reserves space, so it fails unless the user asked for what is left of it
// without that: the file grows to the end of the range. Ranges that are to be zeroed, punched or shifted are not served.
// The kernel lets no write of the file come between the look at its size and the change.
func (fh *fileHandle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	s := fh.n.srv
	defer s.enter()()
	switch {
	case !s.cfg.Allocate || mode&^keepSize != 0:
		return syscall.EOPNOTSUPP
	case mode == keepSize || int64(off+size) <= fh.f.Entry().Size:
		return 0
	}
	fh.unsent.Store(true)
	return fh.n.truncate(ctx, int64(off+size))
}

func (fh *fileHandle) fail(op string, err error) syscall.Errno {
	if err == nil {
		return 0
	}
	path, _ := fh.n.Path()
	return fh.n.srv.fail(op, path, err)
}

var (
	_ fusefs.FileReader    = (*fileHandle)(nil)
	_ fusefs.FileWriter    = (*fileHandle)(nil)
	_ fusefs.FileFlusher   = (*fileHandle)(nil)
	_ fusefs.FileFsyncer   = (*fileHandle)(nil)
	_ fusefs.FileReleaser  = (*fileHandle)(nil)
	_ fusefs.FileLseeker   = (*fileHandle)(nil)
	_ fusefs.FileAllocater = (*fileHandle)(nil)
)
