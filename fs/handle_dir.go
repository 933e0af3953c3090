package fs

import (
	"context"
	"slices"
	"strings"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/pool"
)

// dirHandle is an open folder: a snapshot, taken when it is first read, that answers everything in a fixed order. Position 0 is ".", 1 is "..", then the listing as it
// came (sorted by name), then files made here that the server does not list yet. The cookie of an entry is the position behind it.
type dirHandle struct {
	n *node

	mu      sync.Mutex
	listing *pool.Listing // guarded by mu; nil until read; shared with the cache, never changed
	extra   []pool.Entry  // guarded by mu
	gen     uint64        // guarded by mu; dirState.gen when the snapshot was taken
	pos     int           // guarded by mu
	current pool.Entry    // guarded by mu; what Readdirent gave last
}

func (h *dirHandle) unread() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.listing == nil
}

// load takes a new snapshot and goes to its begin. The kernel reads a handle from one thread at a time.
func (h *dirHandle) load(ctx context.Context) syscall.Errno {
	defer h.n.srv.enter()()
	gen := h.n.dir.gen.Load()
	l, err := h.n.list(ctx)
	if err != nil {
		path, _ := h.n.Path()
		return h.n.srv.fail("list", path, err)
	}
	extra := h.n.unlisted(l)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listing, h.extra, h.gen, h.pos = l, extra, gen, 0
	return 0
}

// unlisted gives the files of the folder that only we know, sorted by name.
func (n *node) unlisted(l *pool.Listing) []pool.Entry {
	var out []pool.Entry
	for _, c := range n.srv.names.children(n, func(c *node) bool { return c.kind == pool.TypeFile }) {
		f := c.openContent()
		if f == nil || f.Clean() {
			continue
		}
		e := f.Entry()
		e.Name, e.Type = n.srv.names.nameOf(c), pool.TypeFile
		if _, listed := findEntry(l.Entries, e.Name); !listed {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b pool.Entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func findEntry(entries []pool.Entry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e pool.Entry, name string) int { return strings.Compare(e.Name, name) })
}

// Readdirent gives the next entry, nil at the end. A listing that the server cut short ends in EIO: what is missing must not
// look as if it did not exist.
func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if h.unread() {
		if errno := h.load(ctx); errno != 0 {
			return nil, errno
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		pos := h.pos
		switch {
		case pos == 0:
			h.pos++
			return &fuse.DirEntry{Name: ".", Mode: syscall.S_IFDIR, Ino: h.n.StableAttr().Ino, Off: 1}, 0
		case pos == 1:
			h.pos++
			return &fuse.DirEntry{Name: "..", Mode: syscall.S_IFDIR, Ino: h.n.srv.names.parentIno(h.n), Off: 2}, 0
		case pos-2 < len(h.listing.Entries):
			h.current = h.listing.Entries[pos-2]
		case pos-2-len(h.listing.Entries) < len(h.extra):
			h.current = h.extra[pos-2-len(h.listing.Entries)]
		case h.listing.Truncated:
			return nil, syscall.EIO
		default:
			return nil, 0
		}
		h.pos++
		if !showable(h.current.Name) {
			h.n.srv.log.Warn("a name that cannot be shown was left out", "name", h.current.Name)
			continue
		}
		return &fuse.DirEntry{
			Name: h.current.Name,
			Mode: direntType(h.current.Type),
			Ino:  h.n.srv.names.childIno(h.n, h.current.Name),
			Off:  uint64(h.pos),
		}, 0
	}
}

// direntType gives d_type; DT_UNKNOWN makes programs ask.
func direntType(t pool.Type) uint32 {
	if t == pool.TypeUnknown {
		return 0
	}
	return typeBits(t)
}

// Lookup answers READDIRPLUS for the entry that Readdirent gave last. Where a name was changed here since the
// snapshot, the snapshot is not believed.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	h.mu.Lock()
	e, changed := h.current, h.gen != h.n.dir.gen.Load()
	h.mu.Unlock()
	if changed || e.Name != name || e.Type == pool.TypeUnknown {
		return h.n.Lookup(ctx, name, out)
	}
	c, local, ok := h.n.local(name)
	if ok {
		e = local
	} else {
		c = h.n.obtain(ctx, name, e)
	}
	c.fillEntry(e, out)
	return c.EmbeddedInode(), 0
}

// Seekdir implements seekdir(3); rewinddir(3) looks at the folder anew.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	if off == 0 || h.unread() {
		if errno := h.load(ctx); errno != 0 {
			return errno
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pos = int(min(off, uint64(2+len(h.listing.Entries)+len(h.extra))))
	return 0
}

// Fsyncdir has nothing to do: every change of names was on the server when it was answered.
func (h *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno { return 0 }

// Releasedir ends the handle.
func (h *dirHandle) Releasedir(context.Context, uint32) { h.n.srv.openDirs.Add(-1) }

var (
	_ fusefs.FileReaddirenter = (*dirHandle)(nil)
	_ fusefs.FileLookuper     = (*dirHandle)(nil)
	_ fusefs.FileSeekdirer    = (*dirHandle)(nil)
	_ fusefs.FileFsyncdirer   = (*dirHandle)(nil)
	_ fusefs.FileReleasedirer = (*dirHandle)(nil)
)
