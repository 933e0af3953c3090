package fs

import (
	"context"
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

// useAs takes the content into use; unuse gives it back. e is what the server says of the file (created: it knows nothing
// yet), seen is what the content told before the server was asked. replaced means that somebody else's content has taken
// the place of the one that readers have open; nothing was taken into use then.
func (n *node) useAs(e pool.Entry, created bool, seen pool.Entry) (f *content.File, replaced bool) {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	switch {
	case n.file.content == nil:
		if !created {
			e = n.latest(e)
		}
		n.file.content = n.srv.cfg.Content.File(n, e, created)
		n.srv.open.add(n)
	case !created && n.replacedLocked(e, seen):
		return nil, true
	}
	n.file.users++
	return n.file.content, false
}

// latest gives what is known of the file now, e if that is nothing: between the server's answer and the moment at which
// nobody has the file open, it may have been opened, written and closed. What that made of it is in the cache.
func (n *node) latest(e pool.Entry) pool.Entry {
	path, linked := n.Path()
	if !linked {
		return e
	}
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

// use takes the content of an existing file into use, after a look at what the server says of it. A file with content
// that the server does not have, or without a name, is what we have of it.
func (n *node) use(ctx context.Context) (*content.File, syscall.Errno) {
	f, _, errno := n.revalidated(ctx)
	return f, errno
}

// revalidated is use, and tells what the server says if it was asked.
func (n *node) revalidated(ctx context.Context) (*content.File, pool.Entry, syscall.Errno) {
	s := n.srv
	p, stop := s.patient(ctx)
	defer stop()
	if err := s.moves.still(p); err != nil {
		return nil, pool.Entry{}, toErrno(p.verdict(err))
	}
	defer s.moves.done()
	path, linked := n.Path()
	var seen pool.Entry
	if f := n.again(); f != nil {
		if !linked || !f.Clean() {
			return f, pool.Entry{}, 0
		}
		seen = f.Entry()
		n.unuse()
	}
	if !linked {
		return nil, pool.Entry{}, syscall.ESTALE
	}
	e, err := s.fresh(ctx, path)
	switch {
	case notFound(err):
		// The kernel's answer to ESTALE is to look the name up again, which then tells the truth.
		s.names.detach(n)
		return nil, pool.Entry{}, syscall.ESTALE
	case err != nil:
		return nil, pool.Entry{}, s.fail("open", path, err)
	case nodeKind(e.Type) != n.kind:
		s.names.detach(n)
		return nil, pool.Entry{}, syscall.ESTALE
	}
	f, replaced := n.useAs(e, false, seen)
	if replaced {
		s.names.detach(n)
		return nil, pool.Entry{}, syscall.ESTALE
	}
	s.names.attach(n)
	return f, e, 0
}

// fresh gives attributes that are not older than the attribute TTL: what makes close-to-open consistency.
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
	f, e, errno := n.revalidated(ctx)
	if errno != 0 {
		return nil, 0, errno
	}
	h, errno := n.openHandle(ctx, f, of, of.Truncate)
	if errno != 0 {
		return nil, 0, errno
	}
	return h, n.fuseFlags(of, e, of.Truncate), 0
}

// openHandle opens f, which is in use; the handle takes that use over, on an error it is given back.
func (n *node) openHandle(ctx context.Context, f *content.File, of content.OpenFlags, empty bool) (*fileHandle, syscall.Errno) {
	s := n.srv
	path, _ := n.Path()
	h, err := run(s, ctx, func(ctx context.Context) (*content.Handle, error) {
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
	return s.newHandle(n, f, h, of, empty), 0
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
