package fs

import (
	"context"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// exclusiveAge is how old an absence may be that open(2) with O_EXCL and rename(2) with RENAME_NOREPLACE believe.
// FTP has neither in one step: between processes of one mount both are atomic, between hosts a second is the promise.
const exclusiveAge = time.Second

// change runs one change of names in a folder: alone in that folder, to its end even if the caller is killed, and with
// the kernel told of the names when nobody waits for the answer any more.
func change[T any](n *node, ctx context.Context, op func(context.Context) (T, error), drop func(T), names ...string) (T, error) {
	if n.srv.cfg.ReadOnly {
		var zero T
		return zero, syscall.EROFS
	}
	return run(n.srv, ctx, func(ctx context.Context) (T, error) {
		var zero T
		if err := n.srv.moves.still(ctx); err != nil {
			return zero, err
		}
		defer n.srv.moves.done()
		if err := n.lockNames(ctx); err != nil {
			return zero, err
		}
		defer n.unlockNames()
		v, err := op(ctx)
		if err == nil {
			n.touch()
		}
		return v, err
	}, func(v T) {
		if drop != nil {
			drop(v)
		}
		for _, name := range names {
			n.srv.notify.entry(n, name)
		}
	})
}

// lockNames takes the folder's token.
func (n *node) lockNames(ctx context.Context) error {
	select {
	case n.dir.changes <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *node) unlockNames() {
	n.dir.gen.Add(1)
	<-n.dir.changes
}

// place gives the path of a name to be made or removed in the folder.
func (n *node) place(name string) (string, error) {
	dir, linked := n.Path()
	if !linked {
		return "", syscall.ENOENT
	}
	return join(dir, name), nil
}

// newName checks a name that is to be made. A file is only sent at its first flush, so what FTP cannot carry is refused
// here, by the call that can still be told.
func (s *Server) newName(name string) error {
	switch {
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case strings.ContainsAny(name, "\r\n\x00") || strings.IndexByte(name, 0xff) >= 0:
		return syscall.EINVAL
	case s.cfg.Content.IsTemp(name):
		return syscall.EINVAL
	}
	return nil
}

// created is the file that CREATE has made.
type created struct {
	n *node
	h *fileHandle
	e pool.Entry
}

// Create implements open(2) with O_CREAT of a name that the kernel thinks is free. It does not wait for the network unless
// O_EXCL is set: the file reaches the server with its first flush.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	defer n.srv.enter()()
	of := openFlags(flags)
	of.Truncate = false
	c, err := n.create(ctx, name, of, mode, flags&syscall.O_EXCL != 0)
	if err != nil {
		path, _ := n.place(name)
		return nil, nil, 0, n.srv.fail("create", path, err)
	}
	c.n.fillEntry(c.e, out)
	return c.n.EmbeddedInode(), c.h.openedBy(callerOf(ctx)), c.n.fuseFlags(of, pool.Entry{}, true), 0
}

func (n *node) create(ctx context.Context, name string, of content.OpenFlags, mode uint32, exclusive bool) (created, error) {
	if err := n.srv.newName(name); err != nil {
		return created{}, err
	}
	return change(n, ctx, func(ctx context.Context) (created, error) {
		path, err := n.place(name)
		if err != nil {
			return created{}, err
		}
		if err := n.vacant(ctx, name, path, exclusive); err != nil {
			return created{}, err
		}
		if err := n.srv.cfg.Remote.KeepsName(ctx, path); err != nil {
			return created{}, err
		}
		return n.createLocked(ctx, name, of, mode)
	}, func(c created) {
		c.h.release()
		n.srv.names.detach(c.n)
	}, name)
}

// vacant gives nil when a file can be made at name. ESTALE for a name that turns out to be taken makes the kernel look it
// up again, and open what is there.
func (n *node) vacant(ctx context.Context, name, path string, exclusive bool) error {
	taken := error(syscall.ESTALE)
	if exclusive {
		taken = syscall.EEXIST
	}
	if _, _, ok := n.local(name); ok {
		return taken
	}
	if e, fresh := n.srv.cfg.Cache.Peek(path); fresh && e.Type != pool.TypeUnknown {
		return taken
	}
	if exclusive {
		_, err := n.srv.cfg.Cache.LookupFresh(ctx, path, exclusiveAge)
		if err == nil {
			return taken
		}
		if !notFound(err) {
			return err
		}
	}
	if other, err := n.actual(ctx, name); err != nil {
		return err
	} else if other != name {
		return taken
	}
	return nil
}

// createLocked makes the file, known only here for now.
func (n *node) createLocked(ctx context.Context, name string, of content.OpenFlags, mode uint32) (created, error) {
	s := n.srv
	e := pool.Entry{
		Name: name, Type: pool.TypeFile, ModTime: s.now().UTC().Truncate(time.Second), UID: -1, GID: -1,
		Mode: mode & 0o777, HasMode: !s.cfg.HasUmask,
	}
	c := s.names.obtain(n, name,
		func(*node) bool { return false },
		func() *node { return n.newChild(ctx, pool.TypeFile) })
	f := c.useNew(e)
	h, err := f.Open(ctx, of)
	if err != nil {
		s.names.detach(c)
		c.unuse()
		return created{}, err
	}
	fh := s.newHandle(c, f, h, of, true)
	return created{c, fh, f.Entry()}, nil
}

// Mknod makes regular files; FTP knows no others.
func (n *node) Mknod(ctx context.Context, name string, mode, _ uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	defer n.srv.enter()()
	if t := mode & syscall.S_IFMT; t != syscall.S_IFREG && t != 0 {
		return nil, syscall.EPERM
	}
	path, _ := n.place(name)
	c, err := n.create(ctx, name, content.OpenFlags{Write: true}, mode, true)
	if err != nil {
		return nil, n.srv.fail("mknod", path, err)
	}
	err = n.srv.do(ctx, func(ctx context.Context) error {
		defer c.h.release()
		return c.h.h.Fsync(ctx)
	})
	if err != nil {
		return nil, n.srv.fail("mknod", path, err)
	}
	c.n.fillEntry(c.e, out)
	return c.n.EmbeddedInode(), 0
}

// Mkdir implements mkdir(2).
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	defer n.srv.enter()()
	path, _ := n.place(name)
	if err := n.srv.newName(name); err != nil {
		return nil, n.srv.fail("mkdir", path, err)
	}
	e, err := change(n, ctx, func(ctx context.Context) (pool.Entry, error) {
		path, err := n.place(name)
		if err != nil {
			return pool.Entry{}, err
		}
		return n.srv.mkdir(ctx, path, name, mode&0o777)
	}, nil, name)
	if err != nil {
		return nil, n.srv.fail("mkdir", path, err)
	}
	c := n.obtain(ctx, name, e)
	c.fillEntry(e, out)
	return c.EmbeddedInode(), 0
}

// mkdir makes a folder and gives it the mode that was asked for. What mode this server's folders get by themselves is
// learned from the first one, so that a folder normally costs one command. A server that cannot change modes leaves the folder
// with the mode it chose: stat(2) tells the truth.
func (s *Server) mkdir(ctx context.Context, path, name string, mode uint32) (pool.Entry, error) {
	usual := s.folderMode.Load()
	told, set, err := s.makeFolder(ctx, path, mode, usual)
	if err != nil {
		if !notFound(err) {
			s.cfg.Cache.Forget(path)
		}
		return pool.Entry{}, err
	}
	e := pool.Entry{Name: name, Type: pool.TypeDir, Size: -1, ModTime: s.now().UTC().Truncate(time.Second), UID: -1, GID: -1}
	if s.cfg.HasUmask {
		s.cfg.Cache.MadeDir(path, e)
		return e, nil
	}
	if told != nil {
		told.Name = name
		e, usual = *told, &pool.Entry{Mode: told.Mode & 0o777, HasMode: told.HasMode}
		s.folderMode.Store(usual)
	}
	if usual != nil {
		e.Mode, e.HasMode = usual.Mode, usual.HasMode
	}
	if !set && (!e.HasMode || e.Mode&0o777 != mode) {
		err := s.cfg.Remote.SetAttrs(ctx, path, true, pool.Attrs{Mode: &mode})
		if set = err == nil; !set {
			s.log.Debug("mode of a new folder not set", "path", path, "err", err)
		}
	}
	if set {
		e.Mode, e.HasMode = mode, true
	}
	s.cfg.Cache.MadeDir(path, e)
	return e, nil
}

// makeFolder makes a folder, with its mode at once where usual, the one that folders get by themselves, is another or not known.
// told is what the server says of the first one ahead of that, if it does.
func (s *Server) makeFolder(ctx context.Context, path string, mode uint32, usual *pool.Entry) (told *pool.Entry, set bool, err error) {
	switch {
	case s.cfg.HasUmask || usual != nil && usual.HasMode && usual.Mode == mode:
		err = s.cfg.Remote.Mkdir(ctx, path)
	case usual == nil:
		return s.cfg.Remote.MkdirTold(ctx, path, mode)
	default:
		set, err = s.cfg.Remote.MkdirMode(ctx, path, mode)
	}
	return nil, set, err
}

// Symlink implements symlink(2).
func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	defer n.srv.enter()()
	s := n.srv
	path, _ := n.place(name)
	if err := s.newName(name); err != nil {
		return nil, s.fail("symlink", path, err)
	}
	if s.cfg.Symlinks == SymlinksOff {
		return nil, syscall.EPERM
	}
	e, err := change(n, ctx, func(ctx context.Context) (pool.Entry, error) {
		path, err := n.place(name)
		if err != nil {
			return pool.Entry{}, err
		}
		if err := s.cfg.Remote.Symlink(ctx, target, path); err != nil {
			s.cfg.Cache.Forget(path)
			return pool.Entry{}, err
		}
		e := pool.Entry{
			Name: name, Type: pool.TypeSymlink, Size: int64(len(target)), Target: target,
			ModTime: s.now().UTC().Truncate(time.Second), UID: -1, GID: -1,
		}
		s.links.made(path, target)
		s.cfg.Cache.Changed(path, e)
		return e, nil
	}, nil, name)
	if err != nil {
		if errno := s.fail("symlink", path, err); errno != syscall.EOPNOTSUPP {
			return nil, errno
		}
		return nil, syscall.EPERM // symlink(2) has this errno for file systems that have no links
	}
	c := n.obtain(ctx, name, e)
	c.fillEntry(e, out)
	return c.EmbeddedInode(), 0
}

// Link implements link(2): FTP has no hard links.
func (n *node) Link(context.Context, fusefs.InodeEmbedder, string, *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return nil, syscall.EPERM
}

var (
	_ fusefs.NodeCreater   = (*node)(nil)
	_ fusefs.NodeMknoder   = (*node)(nil)
	_ fusefs.NodeMkdirer   = (*node)(nil)
	_ fusefs.NodeSymlinker = (*node)(nil)
	_ fusefs.NodeLinker    = (*node)(nil)
)
