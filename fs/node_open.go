package fs

import (
	"context"
	"errors"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// settleTime is for how long a size and mtime must have been seen unchanged before pages read since then can be trusted: a
// file changed twice within one second of the server's clock shows the same time twice. It is measured with our clock
// from when the time was first seen, so a server whose clock is wrong does no harm.
const settleTime = 2 * time.Second

// openContent gives the content of a file that is in use, nil otherwise. The caller may look at it, not keep it.
func (n *node) openContent() *content.File {
	if n.kind != pool.TypeFile {
		return nil
	}
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	return n.file.content
}

// useNew takes the content of a file that CREATE has just made into use. unuse gives it back.
func (n *node) useNew(e pool.Entry) *content.File {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	n.file.content = n.srv.cfg.Content.File(n, e, true)
	n.file.users++
	n.srv.open.add(n)
	return n.file.content
}

// take takes the content of a file into use that the server has. e is what it says of the file, seen is what the content
// told before the server was asked. The caller has pinned the node, or changes its name itself. ESTALE: the node is not
// that file any more.
func (n *node) take(e, seen pool.Entry) (*content.File, error) {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	if n.file.content == nil {
		path, linked := n.Path()
		if !linked {
			return nil, syscall.ESTALE
		}
		n.file.content = n.srv.cfg.Content.File(n, n.latest(path, e), false)
		n.srv.open.add(n)
	} else if n.replacedLocked(e, seen) {
		return nil, syscall.ESTALE
	}
	n.file.users++
	return n.file.content, nil
}

// latest gives what is known of the file now, e if that is nothing: between the server's answer and the moment at which
// nobody has the file open, it may have been opened, written and closed. What that made of it is in the cache.
func (n *node) latest(path string, e pool.Entry) pool.Entry {
	if now, fresh := n.srv.cfg.Cache.Peek(path); fresh && now.Type == pool.TypeFile {
		return now
	}
	return e
}

// replaced tells the content what the server says of the file and reports whether somebody else's has taken its place: those
// who have the old one open must not get pages of the new one, so it needs another node. Where somebody writes, the
// content stays with the node. An answer that may be older than an upload of our own says nothing.
func (n *node) replaced(e, seen pool.Entry) bool {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	return n.replacedLocked(e, seen)
}

func (n *node) replacedLocked(e, seen pool.Entry) bool {
	f := n.file.content
	if f == nil || !f.Clean() || f.Entry() != seen || !f.Revalidate(e) {
		return false
	}
	n.srv.notify.content(n)
	return n.file.writers == 0
}

// writes counts a handle that may write.
func (n *node) writes(may bool, delta int) {
	if !may {
		return
	}
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	n.file.writers += delta
}

// again takes content into use that somebody uses already; nil when nobody does.
func (n *node) again() *content.File {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	if n.file.content != nil {
		n.file.users++
	}
	return n.file.content
}

// unuse ends one use; the last one closes the content. That may wait (for a rename of a folder above), so it happens
// without the lock: who opens the file meanwhile gets another content, for which the server's word counts.
func (n *node) unuse() {
	if f := n.lastUse(); f != nil {
		f.Close()
	}
}

func (n *node) lastUse() *content.File {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	n.file.users--
	if n.file.users > 0 {
		return nil
	}
	f := n.file.content
	n.file.content = nil
	n.srv.open.remove(n)
	return f
}

// use takes the content of an existing file into use and pins the file, after a look at what the server says of it: the
// attributes are not older than the attribute TTL, which makes close-to-open consistency. They are returned as well, and are
// zero when the server was not asked: a file with content that the server does not have, or without a name, is what
// we have of it. The caller ends both with unpin and unuse.
func (n *node) use(ctx context.Context) (*content.File, pool.Entry, syscall.Errno) {
	s := n.srv
	p, stop := s.patient(ctx)
	defer stop()
	if err := s.moves.still(p); err != nil {
		return nil, pool.Entry{}, toErrno(p.verdict(err))
	}
	defer s.moves.done()
	if err := n.pin(p); err != nil {
		return nil, pool.Entry{}, toErrno(p.verdict(err))
	}
	path, linked := n.Path()
	f, e, err := n.usePinned(ctx, path, linked)
	if err == nil {
		s.names.attach(n)
		return f, e, 0
	}
	n.unpin()
	if notFound(err) || errors.Is(err, syscall.ESTALE) {
		// The kernel's answer to ESTALE is to look the name up again, which then tells the truth.
		s.names.detachAt(n, path)
		return nil, pool.Entry{}, syscall.ESTALE
	}
	return nil, pool.Entry{}, s.fail("open", path, err)
}

func (n *node) usePinned(ctx context.Context, path string, linked bool) (*content.File, pool.Entry, error) {
	var seen pool.Entry
	if f := n.again(); f != nil {
		if !linked || !f.Clean() {
			return f, pool.Entry{}, nil
		}
		seen = f.Entry()
		n.unuse()
	}
	if !linked {
		return nil, pool.Entry{}, syscall.ESTALE
	}
	e, err := n.srv.fresh(ctx, path)
	if err == nil && nodeKind(e.Type) != n.kind {
		err = syscall.ESTALE
	}
	if err != nil {
		return nil, pool.Entry{}, err
	}
	f, err := n.take(e, seen)
	return f, e, err
}

// fresh gives attributes that are not older than the attribute TTL; the caller waits killably, and has seen to it that
// the path stays what it is.
func (s *Server) fresh(ctx context.Context, path string) (pool.Entry, error) {
	if e, fresh := s.cfg.Cache.Peek(path); fresh && e.Type != pool.TypeUnknown {
		return e, nil
	}
	return run(s, ctx, func(ctx context.Context) (pool.Entry, error) {
		return s.cfg.Cache.LookupFresh(ctx, path, s.cfg.AttrTTL)
	}, nil)
}

// Open implements open(2) of an existing file.
func (n *node) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	defer n.srv.enter()()
	of := openFlags(flags)
	if (of.Write || of.Truncate) && n.srv.cfg.ReadOnly {
		return nil, 0, syscall.EROFS
	}
	if n.kind != pool.TypeFile {
		return nil, 0, syscall.ENXIO
	}
	f, e, errno := n.use(ctx)
	if errno != 0 {
		return nil, 0, errno
	}
	h, errno := n.openHandle(ctx, f, of, of.Truncate)
	if errno != 0 {
		return nil, 0, errno
	}
	return h, n.fuseFlags(of, e, of.Truncate), 0
}

// openHandle opens f, which is in use, and the node, which is pinned; the pin ends with the call. The handle takes the use
// over, on an error it is given back.
func (n *node) openHandle(ctx context.Context, f *content.File, of content.OpenFlags, empty bool) (*fileHandle, syscall.Errno) {
	s := n.srv
	path, _ := n.Path()
	h, err := run(s, ctx, func(ctx context.Context) (*content.Handle, error) {
		defer n.unpin()
		h, err := f.Open(ctx, of)
		if err != nil {
			n.unuse()
		}
		return h, err
	}, func(h *content.Handle) {
		h.Release()
		n.unuse()
	})
	if err != nil {
		return nil, s.fail("open", path, err)
	}
	return s.newHandle(n, f, h, of, empty).openedBy(callerOf(ctx)), 0
}

// openFlags reads the flags of open(2).
func openFlags(flags uint32) content.OpenFlags {
	var of content.OpenFlags
	switch flags & syscall.O_ACCMODE {
	case syscall.O_RDONLY:
		of.Read = true
	case syscall.O_WRONLY:
		of.Write = true
	default:
		of.Read, of.Write = true, true
	}
	of.Append = of.Write && flags&syscall.O_APPEND != 0
	of.Truncate = flags&syscall.O_TRUNC != 0
	return of
}

// fuseFlags tells the kernel how to treat a handle. Writers that do not read go past the page cache: no page is
// read to be filled up, and what arrives is what was written. Readers need no FLUSH, unless their open has created or
// truncated the file. Pages from before are kept if they are certainly those of this file.
func (n *node) fuseFlags(of content.OpenFlags, e pool.Entry, empty bool) uint32 {
	switch {
	case !of.Read:
		return fuse.FOPEN_DIRECT_IO
	case of.Write || empty:
		return 0
	case n.keepPages(e):
		return fuse.FOPEN_NOFLUSH | fuse.FOPEN_KEEP_CACHE
	default:
		return fuse.FOPEN_NOFLUSH
	}
}

// keepPages says whether the kernel's pages of the file are those of e, and remembers e as what pages are read from now.
func (n *node) keepPages(e pool.Entry) bool {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	p := n.file.pages
	if e.Name == "" || !e.Exact || e.Size < 0 {
		n.file.pages = nil
		return false
	}
	now := n.srv.now()
	if p == nil || p.size != e.Size || !p.modTime.Equal(e.ModTime) || p.unique != e.Unique {
		n.file.pages = &pageState{size: e.Size, modTime: e.ModTime, unique: e.Unique, since: now}
		return false
	}
	keep := p.settled
	p.settled = p.settled || now.Sub(p.since) > settleTime
	return keep
}

var _ fusefs.NodeOpener = (*node)(nil)
