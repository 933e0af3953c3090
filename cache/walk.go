package cache

import (
	"context"

	"github.com/ftpsfs/ftpsfs/pool"
)

// How far a walk is run ahead of.
const (
	firstAhead = 7  // folders ahead of the walker at first: with his own, one for each connection that there usually may be
	mostAhead  = 64 // and once what was listed ahead turned out to be of use
)

// walker recognises somebody who goes from folder to folder, and lists the next ones for them. There is one for all: two
// walks at a time disturb each other's recognition and nothing else.
type walker struct {
	at     string // the folder gone to last
	top    string // it is in this one, as all others that were gone through: nothing beyond it is listed ahead
	by     uint32 // by whom, 0: not known
	when   moment
	steps  int  // in a row
	window int  // folders to be ahead
	times  bool // exact times were asked for in a folder that was walked through
	left   int  // listings that may still be started before the walker's next step
	under  int  // listings under way
	bytes  int64
	ahead  map[*node]struct{} // folders listed and not used yet; bytes is their sum
}

// walkOn goes on when a listing has arrived.
func (c *Cache) walkOnLocked(f *flight) {
	if f.asking != askList || !f.background {
		return
	}
	c.walk.under--
	if f.err != nil {
		return // the walker's next step tries again
	}
	if n := c.findLocked(f.path); n != nil && n.base == f.listing {
		c.stats.Prefetched++
		if f.waiters == 0 {
			c.aheadLocked(n)
		}
		c.timesAheadLocked(n, f.path)
	} else if f.waiters == 0 {
		c.stats.BytesInVain += f.listing.Bytes
	}
	c.runAheadLocked()
}

// timesAhead asks for the exact times of the files in a folder listed ahead, if the walker wants such.
func (c *Cache) timesAheadLocked(n *node, dir string) {
	if !c.walk.times || n.base == nil {
		return
	}
	for i := range n.base.Entries {
		if name := n.base.Entries[i].Name; needsTime(c.knowLocked(n, name)) {
			w := want{path: join(dir, name), dir: dir, name: name, limit: anyAge}
			c.askTimesLocked(c.o.Walk.Background(context.Background()), w, c.roughLocked(w, n, c.batches[dir]), true)
			return
		}
	}
}

// ahead notes that nobody has asked for n's listing yet, and lets it go again if there are too many such.
func (c *Cache) aheadLocked(n *node) {
	w := &c.walk
	if w.ahead == nil {
		w.ahead = make(map[*node]struct{})
	}
	n.ahead = true
	w.ahead[n] = struct{}{}
	w.bytes += n.bytes
	if w.bytes > c.o.Walk.MaxBytes {
		n.dropBase()
		c.accountLocked(n)
	}
}

// used notes that n's listing was of use.
func (c *Cache) usedLocked(n *node) {
	n.renewal.unused = false
	if n.ahead {
		c.noLongerAheadLocked(n)
		c.walk.window = min(2*c.walk.window, mostAhead)
	}
}

// vain notes that n's listing is given up; if nobody ever asked for it, it was made in vain.
func (c *Cache) vainLocked(n *node) {
	if n.ahead {
		c.noLongerAheadLocked(n)
		c.stats.PrefetchedInVain++
		c.stats.BytesInVain += n.cost
		c.walk.window = firstAhead
	}
	c.unpaidLocked(n)
}

func (c *Cache) noLongerAheadLocked(n *node) {
	n.ahead = false
	delete(c.walk.ahead, n)
	c.walk.bytes -= n.bytes
}

// runAhead starts listings of the folders that the walker comes to next, as far as the window reaches. It goes by listings
// however old, as they only help to guess.
func (c *Cache) runAheadLocked() {
	w, now := &c.walk, c.now()
	if !w.walking(now) || c.closed {
		return
	}
	for n := range w.ahead {
		if n.baseAt.age(now) >= c.o.DirTTL {
			n.dropBase()
			c.accountLocked(n)
		}
	}
	g := guess{c: c, left: w.window, now: now}
	for dir, after := w.at, ""; dir != "" && g.more(); dir, after = split(dir) {
		if n := c.findLocked(dir); n != nil { // else it is just being asked about for the first time
			g.below(n, dir, after)
		}
		if dir == w.top {
			return
		}
	}
}

// guess goes through folders in the order in which a walk comes to them: each before those in it.
type guess struct {
	c    *Cache
	left int
	now  moment
}

func (g *guess) more() bool {
	w := &g.c.walk
	return g.left > 0 && w.left > 0 && w.under < g.c.o.Walk.Parallel && w.bytes < g.c.o.Walk.MaxBytes
}

// below visits the folders in n, whose path is dir, that come after the name after.
func (g *guess) below(n *node, dir, after string) {
	if n.base == nil {
		return
	}
	for _, i := range n.folders() {
		if !g.more() {
			return
		}
		name := n.base.Entries[i].Name
		if name > after && g.c.knowLocked(n, name).state == present {
			g.visit(n, join(dir, name), name)
		}
	}
}

func (g *guess) visit(parent *node, path, name string) {
	g.left--
	n := parent.kids[name]
	if n != nil && n.base != nil && n.baseAt.age(g.now) < g.c.o.DirTTL {
		g.below(n, path, "")
		return
	}
	q := question{askList, path}
	if g.c.flights[q] != nil || n != nil && n.unlisted {
		return
	}
	g.c.walk.under++
	g.c.walk.left--
	g.c.launchLocked(g.c.o.Walk.Background(context.Background()), q, nil, true)
}

// folders gives the positions of the folders in the listing.
func (n *node) folders() []int32 {
	if n.dirs == nil {
		n.dirs = []int32{}
		for i := range n.base.Entries {
			if n.base.Entries[i].Type == pool.TypeDir {
				n.dirs = append(n.dirs, int32(i))
			}
		}
	}
	return n.dirs
}
