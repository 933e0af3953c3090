package fs

import (
	"context"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/cache"
	"github.com/ftpsfs/ftpsfs/pool"
)

// maxName is the longest name that is looked up or made, in bytes: what the file systems behind FTP servers allow.
const maxName = 255

// Lookup finds name in a folder.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	defer n.srv.enter()()
	c, e, errno := n.lookup(ctx, name)
	if errno != 0 {
		if !n.srv.absencesLast() {
			out.SetEntryTimeout(1) // the library gives an answer with a time of its own to the kernel without it
		}
		return nil, errno
	}
	c.fillEntry(e, out)
	return c.EmbeddedInode(), 0
}

// lookup gives the node at name and its attributes.
func (n *node) lookup(ctx context.Context, name string) (*node, pool.Entry, syscall.Errno) {
	s := n.srv
	switch {
	case len(name) > maxName:
		return nil, pool.Entry{}, syscall.ENAMETOOLONG
	case s.cfg.Content.IsTemp(name):
		return nil, pool.Entry{}, syscall.ENOENT
	}
	p, stop := s.patient(ctx)
	defer stop()
	name, errno := n.find(ctx, name, false)
	if errno != 0 {
		return nil, pool.Entry{}, errno
	}
	for asked := name; ; {
		if c, e, ok := n.local(name); ok {
			return c, e, 0
		}
		moved := n.dir.moved.Load()
		e, errno := n.told(ctx, name)
		if errno == syscall.ENOENT && name == asked {
			if other, why := n.find(ctx, name, true); why != 0 {
				errno = why
			} else if other != name {
				name = other
				continue
			}
		}
		if errno != 0 {
			return nil, pool.Entry{}, errno
		}
		c := n.obtain(ctx, name, e)
		if waited, err := c.settled(p); err != nil {
			return nil, pool.Entry{}, toErrno(p.verdict(err))
		} else if !waited && n.dir.moved.Load() == moved {
			return c, e, 0
		}
		// The name was given to something else meanwhile: what we were told may be about the one, and the node the other.
	}
}

// told gives what the server has at name, from the cache if it knows.
func (n *node) told(ctx context.Context, name string) (pool.Entry, syscall.Errno) {
	s := n.srv
	path, err := n.place(name)
	if err != nil {
		return pool.Entry{}, syscall.ENOENT
	}
	if e, fresh := s.cfg.Cache.Known(cache.By(ctx, callerOf(ctx)), path); fresh && e.Type != pool.TypeUnknown {
		return e, 0
	}
	known := s.names.child(n, name)
	e, err := ask(s, ctx, func(context.Context) (string, error) { return n.place(name) }, s.cfg.Cache.Lookup)
	if notFound(err) && known != nil && known.clean() {
		s.names.detachAt(known, path)
	}
	return e, s.fail("lookup", path, err)
}

// local gives a file whose truth is here and not on the server: it has content that the server does not have.
func (n *node) local(name string) (*node, pool.Entry, bool) {
	c := n.srv.names.child(n, name)
	if c == nil || c.kind != pool.TypeFile {
		return nil, pool.Entry{}, false
	}
	f := c.openContent()
	if f == nil || f.Clean() {
		return nil, pool.Entry{}, false
	}
	return c, f.Entry(), true
}

// obtain gives the node for what the server has at name: the existing one if it is the same object, so that its inode number
// and everything open on it stay, else a new one.
func (n *node) obtain(ctx context.Context, name string, e pool.Entry) *node {
	kind := nodeKind(e.Type)
	return n.srv.names.obtain(n, name,
		func(c *node) bool { return c.kind == kind },
		func() *node { return n.newChild(ctx, kind) })
}

// newChild makes a node with an inode for a child of n.
func (n *node) newChild(ctx context.Context, kind pool.Type) *node {
	c := n.srv.newNode(kind)
	n.NewInode(ctx, c, fusefs.StableAttr{Mode: typeBits(kind)})
	return c
}

// OpendirHandle implements opendir(3). Nothing is asked before the first entry is read: many programs open a folder only
// to fsync(2) it, and df(1) to look where it is.
func (n *node) OpendirHandle(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	n.srv.openDirs.Add(1)
	return &dirHandle{n: n}, 0, 0
}

// list gives the listing of a folder; the caller waits killably.
func (n *node) list(ctx context.Context) (*pool.Listing, error) {
	if _, linked := n.Path(); !linked {
		// A folder that was removed while open is empty.
		return &pool.Listing{}, nil
	}
	return ask(n.srv, ctx, n.own, n.srv.cfg.Cache.List)
}

// showable reports whether a name that a server told can be a name in a folder here. A name with a slash would lead
// elsewhere, and "." and ".." are made by ourselves.
func showable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

var (
	_ fusefs.NodeLookuper       = (*node)(nil)
	_ fusefs.NodeOpendirHandler = (*node)(nil)
)
