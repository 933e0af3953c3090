package fs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// node is one object of the mount: a folder, a regular file, a symlink, or something that is shown and never opened.
// Its inode number is the library's; its identity is the node itself, which survives renames.
type node struct {
	fusefs.Inode

	srv  *Server
	kind pool.Type // TypeFile, TypeDir, TypeSymlink or TypeOther; never changes

	// Place in the name tree, guarded by srv.names.mu.
	parent *node
	name   string
	gone   bool // unlinked, replaced, or its folder is

	dir  *dirState // folders only
	file fileState // regular files only
}

// dirState is what folders have on top.
type dirState struct {
	children map[string]*node // guarded by Server.names.mu; nil until there is one
	// gen counts changes of names in this folder made through the mount. A snapshot of the folder with an older
	// number may show what is gone.
	gen atomic.Uint64
	// moved counts names of this folder that went, or were given to something else, by a rename or a removal.
	moved   atomic.Uint64
	touched touch // when a change made through the mount gave the folder a new mtime on the server
	// changes holds one token: who changes names in this folder has taken it. The kernel sends such requests one at
	// a time, but one whose caller was killed is still running when the next arrives.
	changes chan struct{}
	// last is what was known of a folder when it was removed; guarded by Server.names.mu.
	last pool.Entry
}

// fileState is what regular files have on top. It is small: a folder of a hundred thousand files has one for each.
type fileState struct {
	mu sync.Mutex // never held while anything waits

	content *content.File // guarded by mu; nil while nobody uses it
	users   int           // guarded by mu; handles and operations that use content
	writers int           // guarded by mu; handles that may write
	pages   *pageState    // guarded by mu; nil until the file was read

	// See pin.go.
	pins     int           // guarded by mu
	changing chan struct{} // guarded by mu; closed when the change of the name is over, nil when there is none
	free     chan struct{} // guarded by mu; closed when the last pin is gone, nil when nobody waits for that
}

// pageState is what the pages in the kernel's cache were read from.
type pageState struct {
	size    int64
	modTime time.Time
	unique  string
	since   time.Time // when this combination was first seen
	settled bool      // pages were read when it had been seen for longer than a server's clock tick
}

// typeBits maps the type of an entry to the type bits of st_mode. What is neither file, folder nor symlink is shown as a
// socket: open(2) of one fails at once, where a fifo would wait for a peer for ever.
func typeBits(t pool.Type) uint32 {
	switch t {
	case pool.TypeDir:
		return syscall.S_IFDIR
	case pool.TypeSymlink:
		return syscall.S_IFLNK
	case pool.TypeOther:
		return syscall.S_IFSOCK
	default:
		return syscall.S_IFREG
	}
}

// nodeKind is the kind of node an entry gets. A server that does not tell the type means a file.
func nodeKind(t pool.Type) pool.Type {
	if t == pool.TypeUnknown {
		return pool.TypeFile
	}
	return t
}

// newNode makes a node that is in no folder yet.
func (s *Server) newNode(kind pool.Type) *node {
	n := &node{srv: s, kind: kind}
	if kind == pool.TypeDir {
		n.dir = &dirState{changes: make(chan struct{}, 1)}
	}
	return n
}

// touch notes that something in the folder was made, removed or renamed.
func (n *node) touch() { n.dir.touched.now(n.srv.now()) }

// Path gives the current path within the mount, and false when the node was unlinked or replaced.
func (n *node) Path() (string, bool) { return n.srv.names.path(n) }

// own gives the path of a node that has one, once no change of its name is under way.
func (n *node) own(ctx context.Context) (string, error) {
	if _, err := n.settled(ctx); err != nil {
		return "", err
	}
	path, linked := n.Path()
	if !linked {
		return path, syscall.ESTALE
	}
	return path, nil
}

// OnForget is called when the kernel has dropped its last reference.
func (n *node) OnForget() { n.srv.names.forget(n) }

var (
	_ content.Name           = (*node)(nil)
	_ fusefs.NodeOnForgetter = (*node)(nil)
)
