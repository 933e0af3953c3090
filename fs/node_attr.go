package fs

import (
	"context"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

const (
	// blockSize is what st_blksize recommends: large enough for few calls, small enough for stdio to allocate.
	blockSize = 128 << 10
	// folderSize is shown for folders whose size the server does not tell.
	folderSize = 4096
)

// attr shows an entry as struct stat. Times that the server does not tell are 0; atime and ctime, which FTP does not know, are
// the mtime. setuid, setgid and sticky bits are never shown.
func (s *Server) attr(e pool.Entry, kind pool.Type, out *fuse.Attr) {
	out.Mode = typeBits(kind) | s.perm(e, kind)
	out.Nlink = 1
	out.Uid, out.Gid = s.cfg.UID, s.cfg.GID
	size := max(e.Size, 0)
	switch {
	case kind == pool.TypeDir && size == 0:
		size = folderSize
	case kind == pool.TypeSymlink && e.Target != "":
		size = int64(len(e.Target))
	}
	out.Size = uint64(size)
	out.Blksize = blockSize
	out.Blocks = uint64(size+511) / 512
	if !e.ModTime.IsZero() {
		out.SetTimes(&e.ModTime, &e.ModTime, &e.ModTime)
	}
}

// perm gives the permission bits of an entry.
func (s *Server) perm(e pool.Entry, kind pool.Type) uint32 {
	switch {
	case kind == pool.TypeSymlink:
		return 0o777
	case s.cfg.HasUmask:
		return 0o777 &^ s.cfg.Umask
	case e.HasMode:
		return e.Mode & 0o777
	case kind == pool.TypeDir:
		return 0o755
	default:
		return 0o644
	}
}

// fillEntry answers LOOKUP and its relatives.
func (n *node) fillEntry(e pool.Entry, out *fuse.EntryOut) {
	n.srv.attr(n.touchedUp(e), n.kind, &out.Attr)
	out.SetEntryTimeout(n.srv.entryTTL())
	if n.keepAttr(e) {
		out.SetAttrTimeout(n.srv.kernelTTL)
	}
}

// fillAttr answers GETATTR and SETATTR.
func (n *node) fillAttr(e pool.Entry, out *fuse.AttrOut) {
	n.srv.attr(n.touchedUp(e), n.kind, &out.Attr)
	out.Ino = n.StableAttr().Ino
	if n.keepAttr(e) {
		out.SetTimeout(n.srv.kernelTTL)
	}
}

// keepAttr says whether the kernel may keep attributes. Those with a time that is only known roughly it should ask for
// again, with GETATTR, when it needs them. Folders are an exception: it looks at their modes with every path.
func (n *node) keepAttr(e pool.Entry) bool {
	return n.kind == pool.TypeDir || e.Exact && n.clean()
}

// touchedUp gives the attributes of a folder with the time of our last change in it, where that is the better one.
func (n *node) touchedUp(e pool.Entry) pool.Entry {
	if n.dir == nil {
		return e
	}
	return n.dir.touched.over(e, n.srv.now(), n.srv.cfg.AttrTTL)
}

// clean reports whether the server has all of the node's content, so that its attributes will not change by themselves.
func (n *node) clean() bool {
	f := n.openContent()
	return f == nil || f.Clean()
}

// Getattr implements stat(2) and fstat(2).
func (n *node) Getattr(ctx context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	defer n.srv.enter()()
	if n.IsRoot() {
		n.fillAttr(n.srv.rootEntry(ctx), out)
		return 0
	}
	for {
		*out = fuse.AttrOut{}
		path, linked := n.Path()
		errno := n.getattrAt(ctx, path, linked, out)
		if now, still := n.Path(); errno == syscall.ESTALE || now == path && still == linked {
			return errno
		}
		// Renamed or removed meanwhile: the answer was about something else.
	}
}

// getattrAt is Getattr of a node that is, or was last, at path.
func (n *node) getattrAt(ctx context.Context, path string, linked bool, out *fuse.AttrOut) syscall.Errno {
	f := n.openContent()
	switch {
	case f != nil && linked && !f.Clean():
		n.fillAttr(f.Entry(), out)
		return 0
	case !linked:
		return n.getattrGone(f, out)
	}
	var seen pool.Entry
	if f != nil {
		seen = f.Entry()
	}
	e, err := n.exact(ctx)
	switch {
	case notFound(err) && f != nil:
		return n.getattrGone(f, out)
	case err != nil:
		return n.srv.fail("stat", path, err)
	case nodeKind(e.Type) != n.kind || f != nil && n.replaced(e, seen):
		// Something else has taken the name. ESTALE makes the kernel look it up again.
		n.srv.names.detachAt(n, path)
		return syscall.ESTALE
	}
	if f != nil {
		e = f.Entry()
	}
	n.fillAttr(e, out)
	return 0
}

// getattrGone answers fstat(2) on what has no name any more: what was known last, without a link.
func (n *node) getattrGone(f *content.File, out *fuse.AttrOut) syscall.Errno {
	switch {
	case f != nil:
		n.fillAttr(f.Entry(), out)
	case n.dir != nil:
		n.fillAttr(n.srv.names.lastOf(n), out)
	default:
		return syscall.ESTALE
	}
	out.Nlink = 0
	out.SetTimeout(0)
	return 0
}

// rootEntry gives the attributes of the mount's root, which must never make anybody wait long: df(1), mountpoint(1)
// and umount(8) ask for them also when the server is gone.
func (s *Server) rootEntry(ctx context.Context) pool.Entry {
	if e, fresh := s.cfg.Cache.Peek("/"); fresh && e.Type == pool.TypeDir {
		return s.rootIs(e)
	}
	if !s.askingRoot.CompareAndSwap(false, true) {
		return *s.lastRoot.Load()
	}
	found := make(chan pool.Entry, 1)
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		defer s.askingRoot.Store(false)
		if e, err := s.cfg.Cache.Exact(s.ctx, "/"); err == nil && e.Type == pool.TypeDir {
			found <- s.rootIs(e)
			return
		}
		found <- *s.lastRoot.Load()
	}()
	timer := time.NewTimer(rootPatience)
	defer timer.Stop()
	select {
	case e := <-found:
		return e
	case <-timer.C:
	case <-ctx.Done():
	}
	return *s.lastRoot.Load()
}

// rootIs remembers the attributes of the root. Many servers tell no time of it: then it is that of the mount.
func (s *Server) rootIs(e pool.Entry) pool.Entry {
	if e.ModTime.IsZero() {
		e.ModTime = s.since
	}
	s.lastRoot.Store(&e)
	return e
}

// rootPatience is how long the attributes of the root may take.
const rootPatience = time.Second

// exact gives attributes with an exact time; the caller waits killably.
func (n *node) exact(ctx context.Context) (pool.Entry, error) {
	c := n.srv.cfg.Cache
	if path, linked := n.Path(); linked {
		if e, fresh := c.Peek(path); fresh && e.Exact && e.Type != pool.TypeUnknown {
			return e, nil
		}
	}
	return ask(n.srv, ctx, n.own, c.Exact)
}

// Setattr implements chmod(2), chown(2), truncate(2) and utimensat(2).
func (n *node) Setattr(ctx context.Context, _ fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	defer n.srv.enter()()
	if uid, ok := in.GetUID(); ok && uid != n.srv.cfg.UID {
		return syscall.EPERM
	}
	if gid, ok := in.GetGID(); ok && gid != n.srv.cfg.GID {
		return syscall.EPERM
	}
	size, truncate := in.GetSize()
	attrs := wanted(in, truncate, n.srv.now())
	if n.srv.cfg.ReadOnly && (truncate || attrs != (pool.Attrs{})) {
		return syscall.EROFS
	}
	if truncate {
		if errno := n.truncate(ctx, int64(size)); errno != 0 {
			return errno
		}
	}
	if attrs != (pool.Attrs{}) {
		if errno := n.setAttrs(ctx, attrs); errno != 0 {
			return errno
		}
	}
	return n.Getattr(ctx, nil, out)
}

// wanted gives what SETATTR asks of the server beside the size. An atime alone is accepted and not kept, as on a noatime mount;
// setuid, setgid and sticky bits are dropped, as POSIX allows. The server itself sets the time of a file that it truncates.
func wanted(in *fuse.SetAttrIn, truncate bool, now time.Time) pool.Attrs {
	var a pool.Attrs
	if mode, ok := in.GetMode(); ok {
		mode &= 0o777
		a.Mode = &mode
	}
	if mtime, ok := in.GetMTime(); ok {
		switch {
		case in.Valid&fuse.FATTR_MTIME_NOW == 0:
			a.ModTime = &mtime
		case !truncate:
			a.ModTime = &now
		}
	}
	return a
}

// setAttrs sets mode and mtime of any node.
func (n *node) setAttrs(ctx context.Context, a pool.Attrs) syscall.Errno {
	s := n.srv
	path, _ := n.Path()
	link := n.kind == pool.TypeSymlink && s.cfg.Links != nil && a.Mode == nil
	if n.kind != pool.TypeFile && n.kind != pool.TypeDir && !link {
		// Every command that sets attributes follows a link and changes what it points to.
		return syscall.EOPNOTSUPP
	}
	return s.fail("setattr", path, s.do(ctx, func(ctx context.Context) error {
		if err := s.moves.still(ctx); err != nil {
			return err
		}
		still := sync.OnceFunc(s.moves.done)
		defer still()
		if err := n.pin(ctx); err != nil {
			return err
		}
		defer n.unpin()
		if f := n.again(); f != nil {
			still() // the content needs no path of ours, and may be busy for long
			defer n.unuse()
			return f.SetAttrs(ctx, a)
		}
		return n.setAttrsAt(ctx, a)
	}))
}

// setAttrsAt sets the attributes of what nobody has open.
func (n *node) setAttrsAt(ctx context.Context, a pool.Attrs) error {
	s := n.srv
	path, linked := n.Path()
	if !linked {
		return syscall.ESTALE
	}
	e, known := s.cfg.Cache.Peek(path)
	set := func() error { return s.cfg.Remote.SetAttrs(ctx, path, n.kind == pool.TypeDir, a) }
	if n.kind == pool.TypeSymlink {
		set = func() error {
			e, err := s.cfg.Cache.Lookup(ctx, path)
			if err != nil {
				return err
			}
			return s.cfg.Links.SetLinkTime(path, e, *a.ModTime)
		}
	}
	if err := set(); err != nil {
		if both := a.Mode != nil && a.ModTime != nil; both || pool.KindOf(err) != pool.KindUnsupported {
			s.cfg.Cache.Forget(path) // nobody knows what is there now; what the server cannot do alone it has not done
		}
		return err
	}
	if n.dir != nil && a.ModTime != nil {
		n.dir.touched.undo()
	}
	if now, still := s.cfg.Cache.Peek(path); !known || !still || now != e {
		s.cfg.Cache.Forget(path) // somebody else has changed it meanwhile
		return nil
	}
	s.cfg.Cache.Changed(path, with(e, a))
	return nil
}

// with gives e with attributes that the server has accepted.
func with(e pool.Entry, a pool.Attrs) pool.Entry {
	if a.Mode != nil {
		e.Mode, e.HasMode = *a.Mode, true
	}
	if a.ModTime != nil {
		e.ModTime, e.Exact = a.ModTime.UTC().Truncate(time.Second), true
	}
	return e
}

// truncate implements truncate(2) and ftruncate(2).
func (n *node) truncate(ctx context.Context, size int64) syscall.Errno {
	if n.kind != pool.TypeFile {
		return syscall.EINVAL
	}
	s := n.srv
	path, _ := n.Path()
	f, _, errno := n.use(ctx)
	if errno != 0 {
		return errno
	}
	return s.fail("truncate", path, s.do(ctx, func(ctx context.Context) error {
		defer n.unuse()
		defer n.unpin()
		defer s.names.parentOf(n).touch()
		return f.Truncate(ctx, size)
	}))
}

var (
	_ fusefs.NodeGetattrer = (*node)(nil)
	_ fusefs.NodeSetattrer = (*node)(nil)
)
