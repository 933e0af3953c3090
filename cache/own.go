package cache

import (
	"strings"

	"github.com/ftpsfs/ftpsfs/pool"
)

// The changes of our own are told after the server has confirmed them. None of them waits for anything, and none costs more
// in a large folder than in a small one; Removed takes as long as there are folders known below.

// Changed tells that e is what is at path now. It appears in the listing of its folder, and its attributes are as fresh as
// if just asked for.
func (c *Cache) Changed(path string, e pool.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changedLocked(path, e)
}

// MadeDir is Changed for a folder that we just made: it is known to be empty.
func (c *Cache) MadeDir(path string, e pool.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropBelowLocked(path)
	c.changedLocked(path, e)
	n := c.makeLocked(path)
	c.vainLocked(n)
	n.base, n.baseAt, n.baseSeq, n.dirs, n.cases = &pool.Listing{}, c.now(), c.seq, nil, nil
	c.weighLocked(n)
}

func (c *Cache) changedLocked(path string, e pool.Entry) {
	seq := c.nextLocked()
	if e.Type == pool.TypeFile {
		c.dropBelowLocked(path)
	}
	c.existAboveLocked(path, seq)
	dir, name := split(path)
	n := c.makeLocked(dir)
	e.Name = strings.Clone(name)
	n.put(name, rec{state: present, e: e, at: c.now(), seq: seq, own: seq})
	c.weighLocked(n)
}

// Removed tells that nothing is at path any more, nor below it.
func (c *Cache) Removed(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removedLocked(path, c.nextLocked())
}

func (c *Cache) removedLocked(path string, seq uint64) {
	c.dropBelowLocked(path)
	dir, name := split(path)
	n := c.makeLocked(dir)
	n.put(name, rec{state: absent, at: c.now(), seq: seq, own: seq, deep: seq})
	c.weighLocked(n)
}

// Moving tells that what is at path is about to be renamed, until done is called, after Renamed. The server carries that out at some
// moment in between: what it then says to be absent at path, or below, is so under that path alone, and must not be taken
// along to the new one.
func (c *Cache) Moving(path string) (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moving == nil {
		c.moving = map[string]int{}
	}
	c.moving[path]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.moving[path]--; c.moving[path] == 0 {
			delete(c.moving, path)
		}
	}
}

// movesLocked tells whether path, or a folder above it, is being renamed.
func (c *Cache) movesLocked(path string) bool {
	if len(c.moving) == 0 {
		return false
	}
	for ; path != ""; path, _ = split(path) {
		if c.moving[path] > 0 {
			return true
		}
	}
	return false
}

// Renamed tells that what was at from is at to now, with everything below it; what was at to before is gone. Attributes keep
// their age.
func (c *Cache) Renamed(from, to string) {
	if from == to {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	seq := c.nextLocked()
	fromDir, fromName := split(from)
	toDir, toName := split(to)
	k := c.knowLocked(c.findLocked(fromDir), fromName)
	c.dropBelowLocked(to)
	c.moveLocked(from, to)
	c.removedLocked(from, seq)
	c.existAboveLocked(to, seq)

	n := c.makeLocked(toDir)
	r := rec{at: c.now(), seq: seq, own: seq, deep: seq}
	if k.state == present {
		r.state, r.e, r.at, r.tried = present, k.e, k.at, k.tried
		r.e.Name = strings.Clone(toName)
	} else {
		n.floor = seq // something is there, and no listing that we know tells what
	}
	n.put(toName, r)
	c.weighLocked(n)
}

// move hangs the node of a folder, with all below, to another place in the tree.
func (c *Cache) moveLocked(from, to string) {
	n := c.findLocked(from)
	if n == nil || n == c.top || n.parent == c.top || strings.HasPrefix(to, from+"/") {
		return
	}
	toDir, toName := split(to)
	parent := c.makeLocked(toDir)
	old := n.parent
	delete(old.kids, n.name)
	if old != parent {
		old.prune()
	}
	n.parent, n.name = parent, strings.Clone(toName)
	if parent.kids == nil {
		parent.kids = make(map[string]*node)
	}
	parent.kids[n.name] = n
}

// Forget tells that nothing is known of path, nor below it: a change of our own failed half-way.
func (c *Cache) Forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropBelowLocked(path)
	dir, name := split(path)
	n := c.makeLocked(dir)
	seq := c.nextLocked()
	n.put(name, rec{at: c.now(), seq: seq, own: seq, deep: seq})
	n.floor = seq
	c.weighLocked(n)
}

// ForgetDir drops the listing of dir and what was told of names in it. What we changed there ourselves remains known.
func (c *Cache) ForgetDir(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.makeLocked(dir)
	n.floor = c.nextLocked()
	n.dropBase()
	n.unlisted, n.cut, n.misses, n.served = false, false, 0, 0
	for name, r := range n.recs {
		if r.own < r.seq {
			c.raiseFloorLocked(r.own)
			n.drop(name, r)
		}
	}
	c.weighLocked(n)
}
