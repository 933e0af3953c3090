package fs

import (
	"context"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/pool"
)

// maxName is the longest name that is looked up or made, in bytes: what the file systems behind FTP servers allow.
const maxName = 255

// Lookup finds name in a folder.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	defer n.srv.enter()()
	c, e, errno := n.lookup(ctx, name)
	if errno != 0 {
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
	if c, e, ok := n.local(name); ok {
		return c, e, 0
	}
	path, err := n.place(name)
	if err != nil {
		return nil, pool.Entry{}, syscall.ENOENT
	}
	e, fresh := s.cfg.Cache.Peek(path)
	if !fresh || e.Type == pool.TypeUnknown {
		e, err = ask(s, ctx, func() (string, error) { return n.place(name) }, s.cfg.Cache.Lookup)
		if c := s.names.child(n, name); notFound(err) && c != nil && c.clean() {
			s.names.detach(c)
		}
		if err != nil {
			return nil, pool.Entry{}, s.fail("lookup", path, err)
		}
	}
	return n.obtain(ctx, name, e), e, 0
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
