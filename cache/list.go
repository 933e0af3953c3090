package cache

import (
	"context"
	"slices"

	"github.com/ftpsfs/ftpsfs/pool"
)

// List gives the listing of the folder at dir, from memory while it is fresh, our own changes included and hidden names
// left out. It is shared: the caller must not change it. It fails with KindNotFound or KindNotDir where there is no
// folder, otherwise with the source's error.
func (c *Cache) List(ctx context.Context, dir string) (*pool.Listing, error) {
	var f *flight
	for try := 0; ; try++ {
		c.mu.Lock()
		l, err, ok := c.listingLocked(dir, f, try >= maxTries)
		if ok {
			c.countLocked(f == nil, err != nil)
			if err == nil {
				c.walkedLocked(ctx, dir)
			}
			c.mu.Unlock()
			return l, err
		}
		q := question{askList, dir}
		if f = c.joinLocked(q, c.o.DirTTL, c.now()); f == nil {
			c.makeRoomLocked(dir)
			f = c.launchLocked(ctx, q, nil, false)
		}
		f.awaitLocked()
		c.walkedLocked(ctx, dir) // those beside it need not wait for this one
		c.mu.Unlock()
		if err := c.wait(ctx, f); err != nil {
			return nil, err
		}
	}
}

// PeekList is List without asking anybody; fresh is false when there is no listing, or one that is too old.
func (c *Cache) PeekList(dir string) (l *pool.Listing, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.findLocked(dir)
	if n == nil || n.base == nil || n.baseSeq < n.floor || n.baseAt.age(c.now()) >= c.o.DirTTL {
		return nil, false
	}
	c.mergeLocked(n)
	return n.base, true
}

// listing gives the listing of dir out of what is known and fresh, or as fresh as f's question, or what f brought.
func (c *Cache) listingLocked(dir string, f *flight, last bool) (*pool.Listing, error, bool) {
	n, now := c.findLocked(dir), c.now()
	if n != nil && n.base != nil && n.baseSeq >= n.floor {
		if f != nil && n.baseSeq >= f.asked || n.baseAt.age(now) < c.o.DirTTL {
			c.touchLocked(n)
			c.usedLocked(n)
			c.mergeLocked(n)
			return n.base, nil, true
		}
	}
	if f != nil && (!f.void || last) && !(f.background && f.err != nil) {
		return f.listing, f.err, true
	}
	if kind, no := c.noWayLocked(join(dir, "x"), anyAge, now); no {
		return nil, failure("list", dir, kind), true
	}
	return nil, nil, false
}

// makeRoom lets a large listing go that is too old to be shown, before its successor takes as much again.
func (c *Cache) makeRoomLocked(dir string) {
	if n := c.findLocked(dir); n != nil && n.base != nil && n.baseBytes > c.o.MaxBytes/4 && n.baseAt.age(c.now()) >= max(c.o.DirTTL, c.o.AttrTTL) {
		n.dropBase()
		c.accountLocked(n)
	}
}

// merge makes the records that are newer than the listing part of a new one. Callers keep the old one.
func (c *Cache) mergeLocked(n *node) {
	if n.loose == 0 {
		return
	}
	var newer []string
	for name, r := range n.recs {
		if r.loose && r.seq > n.baseSeq && r.state != unknown && !c.o.Hide(name) {
			newer = append(newer, name)
		}
		r.loose = false
	}
	n.loose = 0
	if len(newer) == 0 {
		return
	}
	slices.Sort(newer)
	merged := *n.base
	merged.Entries = make([]pool.Entry, 0, len(n.base.Entries)+len(newer))
	old := n.base.Entries
	for _, name := range newer {
		i, found := searchName(old, name)
		merged.Entries = append(merged.Entries, old[:i]...)
		if r := n.recs[name]; r.state == present {
			merged.Entries = append(merged.Entries, r.e)
		}
		if found {
			i++
		}
		old = old[i:]
	}
	merged.Entries = append(merged.Entries, old...)
	n.base, n.dirs = &merged, nil
	n.baseBytes = listingBytes(n.base)
	c.weighLocked(n)
}
