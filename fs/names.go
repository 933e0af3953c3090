package fs

import (
	"strings"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// names is the name tree: which node is where. It is told of a change as soon as the server made it, so that open
// handles find their file under its new path before the kernel has heard the answer.
type names struct {
	mu        sync.RWMutex
	count     int         // nodes in the tree, the root not counted; guarded by mu
	forgotten []forgotten // oldest first; guarded by mu
}

// forgotten is a node that the kernel has dropped. A LOOKUP on its way may have been given the node just before, and the
// kernel then has it again without our hearing of it: a folder that is not in the tree any more would not move with its
// name. So it stays for a while, and goes only if it is still not in use then.
type forgotten struct {
	n    *node
	when time.Time
}

// reviveTime is longer than any answer to a LOOKUP takes to reach the kernel.
const reviveTime = 10 * time.Second

// path walks up to the root. It gives false when the node, or a folder above it, is not in the tree any more; the path
// is then the last one known.
func (t *names) path(n *node) (string, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return pathLocked(n)
}

func pathLocked(n *node) (string, bool) {
	linked, length := true, 0
	for p := n; p.parent != nil; p = p.parent {
		linked = linked && !p.gone
		length += 1 + len(p.name)
	}
	if length == 0 {
		return "/", true
	}
	b := make([]byte, length)
	for p := n; p.parent != nil; p = p.parent {
		length -= len(p.name)
		copy(b[length:], p.name)
		length--
		b[length] = '/'
	}
	return string(b), linked
}

// join appends a name to a folder's path.
func join(dir, name string) string {
	if dir == "/" {
		return "/" + name
	}
	return dir + "/" + name
}

// parentOf gives the folder of a path.
func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// child gives the node at name in dir, nil when there is none.
func (t *names) child(dir *node, name string) *node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return dir.dir.children[name]
}

// children gives the nodes in dir for which keep is true, in no order. keep is called under the lock.
func (t *names) children(dir *node, keep func(*node) bool) []*node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*node
	for _, c := range dir.dir.children {
		if keep(c) {
			out = append(out, c)
		}
	}
	return out
}

// obtain gives the node at name if accept takes it, and otherwise puts the one that create makes there; the former is
// gone then. Both functions are called under the lock.
func (t *names) obtain(dir *node, name string, accept func(*node) bool, create func() *node) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweepLocked(dir.srv.now())
	if c := dir.dir.children[name]; c != nil && accept(c) {
		return c
	}
	c := create()
	t.putLocked(dir, name, c)
	return c
}

// attach puts n back where it was if its place is free.
func (t *names) attach(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.parent == nil || n.gone || n.parent.dir.children[n.name] != nil {
		return
	}
	t.putLocked(n.parent, n.name, n)
}

func (t *names) putLocked(dir *node, name string, c *node) {
	t.dropLocked(dir, name)
	if dir.dir.children == nil {
		dir.dir.children = make(map[string]*node)
	}
	dir.dir.children[name] = c
	c.parent, c.name, c.gone = dir, name, false
	t.count++
}

// dropLocked takes the node at name out of the tree; it keeps its parent and name as its last known place.
func (t *names) dropLocked(dir *node, name string) *node {
	c := dir.dir.children[name]
	if c == nil {
		return nil
	}
	delete(dir.dir.children, name)
	c.gone = true
	t.count--
	return c
}

// remove says that nothing is at name any more and gives the node that was there.
func (t *names) remove(dir *node, name string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir.dir.moved.Add(1)
	return t.dropLocked(dir, name)
}

// detach says that n is not at its place any more (another object is, or will be).
func (t *names) detach(n *node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.detachLocked(n)
}

// detachAt is detach for what the server said of a path: a node that was renamed meanwhile is not meant.
func (t *names) detachAt(n *node, path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now, linked := pathLocked(n); linked && now == path {
		t.detachLocked(n)
	}
}

func (t *names) detachLocked(n *node) {
	if n.parent == nil {
		return
	}
	if n.parent.dir.children[n.name] == n {
		t.dropLocked(n.parent, n.name)
	}
	n.gone = true
}

// move says that the server renamed from to to. What was at to is gone; it is returned.
func (t *names) move(fromDir *node, from string, toDir *node, to string) *node {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := fromDir.dir.children[from]
	if fromDir == toDir && from == to {
		return nil
	}
	fromDir.dir.moved.Add(1)
	toDir.dir.moved.Add(1)
	old := t.dropLocked(toDir, to)
	if c != nil {
		t.dropLocked(fromDir, from)
		t.putLocked(toDir, to, c)
	}
	return old
}

// forget is told of a node that the kernel does not know any more.
func (t *names) forget(n *node) {
	now := n.srv.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgotten = append(t.forgotten, forgotten{n, now})
	t.sweepLocked(now)
}

// sweepLocked takes nodes out that the kernel has dropped and not found again.
func (t *names) sweepLocked(now time.Time) {
	for len(t.forgotten) > 0 && now.Sub(t.forgotten[0].when) >= reviveTime {
		n := t.forgotten[0].n
		t.forgotten = t.forgotten[1:]
		//nolint:staticcheck // the node was forgotten long ago: who has found it again since has told go-fuse
		if n.parent == nil || n.gone || !n.Forgotten() || n.parent.dir.children[n.name] != n {
			continue
		}
		delete(n.parent.dir.children, n.name)
		if len(n.parent.dir.children) == 0 {
			n.parent.dir.children = nil
		}
		t.count--
	}
}

// size is the number of nodes in the tree.
func (t *names) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.count
}

// keepLast remembers what was known of a folder that is about to go, for those who have it open.
func (t *names) keepLast(dir *node, e pool.Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	dir.dir.last = e
}

// lastOf gives what keepLast was told.
func (t *names) lastOf(dir *node) pool.Entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return dir.dir.last
}

// nameOf gives the last path element of a node.
func (t *names) nameOf(n *node) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return n.name
}

// parentOf gives the folder that a node is in, or was in last.
func (t *names) parentOf(n *node) *node {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return n.parent
}

// parentIno gives the inode number of ".." (the root's own for the root).
func (t *names) parentIno(n *node) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if n.parent == nil {
		return n.StableAttr().Ino
	}
	return n.parent.StableAttr().Ino
}

// childIno gives the inode number of a child that is known, else 0.
func (t *names) childIno(dir *node, name string) uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if c := dir.dir.children[name]; c != nil {
		return c.StableAttr().Ino
	}
	return 0
}
