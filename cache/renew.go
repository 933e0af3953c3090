package cache

import (
	"context"
	"time"
)

// Somebody who makes one file after the other with O_EXCL (tar, rsync) believes no absence that is older than a second, and would
// wait for the listing of the folder once a second; somebody who makes folders, or plain files, does for the sake of the
// LOOKUPs before them as often as absences age. So it is listed again, aside, just before the next ones would find it too old.
// What counts as fresh stays as it is.
const (
	renewMost = 300 // names up to which that is done without asking what it brings
	renewals  = 2   // listings under way at a time
)

// renewal is what a folder knows of being listed again ahead of those who ask for absences.
type renewal struct {
	last   [2]moment     // when an absence was told to those who believe a usual one, and none that is as old
	took   time.Duration // what the last listing took
	unused bool          // the listing was made ahead, and nobody asked for it yet
	unpaid bool          // the last such one was in vain
}

// renew lists w's folder again if its listing, which has just answered w, will be too old for the question after the next.
func (c *Cache) renewLocked(w want) {
	if c.o.Walk.Parallel <= 0 || c.closed {
		return
	}
	n, now := c.findLocked(w.dir), c.now()
	k := c.knowLocked(n, w.name)
	if k.state != absent || !k.listed {
		return
	}
	last := &n.renewal.last[0]
	if w.limit != anyAge {
		last = &n.renewal.last[1]
	}
	between := last.age(now)
	*last = now
	life, q := c.believed(k, w.limit), question{askList, w.dir}
	if n.renewal.unpaid || between >= life || n.renewal.took >= life/2 || !n.worthwhile() || c.beside >= renewals || c.flights[q] != nil {
		return
	}
	if k.at.age(now)+max(2*between, between+n.renewal.took, life/4) < life {
		return
	}
	c.beside++
	c.launchLocked(c.o.Walk.Aside(context.Background()), q, nil, true).renews = true
}

// besideLocked lists w's folder beside the question about w, which is answered a round trip sooner: the first name asked for that the listing, a
// little too old by now, did not tell. Who asks for one more has it then.
func (c *Cache) besideLocked(w want, n *node, now moment) bool {
	k, q := c.knowLocked(n, w.name), question{askList, w.dir}
	first := n.misses == 0 || n.missAt.age(now) > missWindow
	if !first || k.state != absent || !k.listed || k.at.age(now) > missWindow || w.limit != anyAge || w.exact || c.closed {
		return false
	}
	if c.o.Walk.Parallel <= 0 || n.renewal.unused || n.renewal.unpaid || !n.worthwhile() || c.beside >= renewals || c.flights[q] != nil || c.o.Walk.AtHand == nil {
		return false
	}
	ctx, can := c.o.Walk.AtHand(context.Background())
	if !can {
		return false
	}
	n.missed(w.name, now)
	c.beside++
	f := c.launchLocked(ctx, q, nil, true)
	f.renews, f.atHand = true, true
	return true
}

// worthwhile tells whether a listing saves more than it costs. Of a large folder it does when the one before has answered so many
// that the next who finds it too old would wait for another one.
func (n *node) worthwhile() bool {
	size := len(n.base.Entries) + n.loose
	return size <= renewMost || size <= bigFolder && n.served >= listingPays(size)
}

// renewedLocked is told that f, which was to renew a listing, is over.
func (c *Cache) renewedLocked(f *flight) {
	c.beside--
	if f.err != nil {
		return // no connection could be spared
	}
	c.stats.Prefetched++
	if n := c.findLocked(f.path); n != nil && n.base == f.listing {
		n.renewal.unused = true
	} else {
		c.stats.PrefetchedInVain++
		c.stats.BytesInVain += f.listing.Bytes
	}
}

// lateLocked notes that w finds n's listing too old, but only a little: had it been renewed it would have been of use.
func (c *Cache) lateLocked(n *node, w want, now moment) {
	if n.base != nil && n.baseAt.age(now)/2 < c.believed(info{state: absent, listed: true}, w.limit) {
		n.renewal.unpaid = false
	}
}

// unpaidLocked notes that n's listing is given up; if it was made ahead and nobody asked for it, no further one is until there is a
// reason again.
func (c *Cache) unpaidLocked(n *node) {
	if n.renewal.unused {
		n.renewal.unused, n.renewal.unpaid = false, true
		c.stats.PrefetchedInVain++
		c.stats.BytesInVain += n.cost
	}
}
