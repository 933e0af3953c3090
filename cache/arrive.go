package cache

import (
	"slices"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool"
)

// arrivedAnswers remembers what was told of single names.
func (c *Cache) arrivedAnswersLocked(f *flight) {
	if f.asking == askTimes {
		dir, _ := split(f.path)
		c.batches[dir] = slices.DeleteFunc(c.batches[dir], func(b *flight) bool { return b == f })
		if len(c.batches[dir]) == 0 {
			delete(c.batches, dir)
		}
	}
	for path, result := range f.results {
		c.arrivedAnswerLocked(f, path, result)
	}
}

func (c *Cache) arrivedAnswerLocked(f *flight, path string, result pool.StatResult) {
	missing := result.Err != nil && pool.KindOf(result.Err) == pool.KindNotFound
	if result.Err != nil && !missing && f.asking != askTimes {
		return
	}
	if c.outdatedLocked(path, f.asked) || missing && c.movesLocked(path) {
		f.void = true
		return
	}
	dir, name := split(path)
	k := c.knowLocked(c.findLocked(dir), name)
	if k.seq > f.asked {
		f.void = f.void || k.state == unknown
		return
	} else if result.Err != nil && !missing {
		// The time is not to be had; what the listing said remains.
		if k.state == present {
			c.noteTriedLocked(dir, name, k)
		}
		return
	}
	if missing || result.Entry.Type == pool.TypeFile || result.Entry.Type == pool.TypeOther {
		c.dropBelowLocked(path)
	}
	if !missing {
		c.existAboveLocked(path, f.asked)
	}
	n := c.makeLocked(dir)
	r := rec{at: f.started, seq: f.asked, state: absent}
	if !missing {
		r.state, r.e = present, result.Entry
		r.e.Name = strings.Clone(name)
		r.tried = f.asking == askTimes && !result.Entry.Exact
		if f.asking == askTimes && k.state == present && supplement(&r.e, k.e) {
			r.at = k.at // no older than its oldest part
		}
	}
	n.put(name, r)
	c.weighLocked(n)
}

// supplement completes what a server told of times and sizes with what its listing said of the rest, and reports whether
// anything was taken over. SIZE and MDTM know nothing of modes, owners and links.
func supplement(e *pool.Entry, listed pool.Entry) bool {
	if e.HasMode || !listed.HasMode || listed.Type != e.Type && listed.Type != pool.TypeSymlink {
		return false
	}
	size, mtime, exact := e.Size, e.ModTime, e.Exact
	*e = listed
	if listed.Type != pool.TypeSymlink { // the answer was of the file behind the link
		e.Size, e.ModTime, e.Exact = size, mtime, exact
	}
	return true
}

// noteTried remembers that a rough time is all there is, for as long as what it belongs to.
func (c *Cache) noteTriedLocked(dir, name string, k info) {
	n := c.makeLocked(dir)
	r := rec{state: present, e: k.e, at: k.at, seq: k.seq, tried: true}
	if k.listed {
		r.seq++ // just above the listing and not above any later question
	}
	n.put(name, r)
	c.weighLocked(n)
}

// dropBelow forgets what is known of the inside of a folder that is none any more.
func (c *Cache) dropBelowLocked(path string) {
	if n := c.findLocked(path); n != nil && n != c.top {
		c.emptyBelowLocked(n)
	}
}

// arrivedListing remembers a folder.
func (c *Cache) arrivedListingLocked(f *flight, bytes int64) {
	if c.outdatedLocked(join(f.path, "x"), f.asked) {
		f.void = true
		return
	}
	if f.err != nil {
		c.arrivedRefusalLocked(f)
		return
	}
	if n := c.findLocked(f.path); n != nil && (n.floor > f.asked || n.base != nil && n.baseSeq > f.asked) {
		f.void = n.floor > f.asked
		return
	}
	c.existAboveLocked(join(f.path, "x"), f.asked)
	c.pruneKidsLocked(f)
	n := c.makeLocked(f.path)
	c.vainLocked(n)
	for name, r := range n.recs {
		if r.seq < f.asked && c.tells(f.listing, name) {
			c.raiseFloorLocked(r.own)
			n.drop(name, r)
		} else if !r.loose {
			r.loose = true
			n.loose++
		}
	}
	n.base, n.baseAt, n.baseSeq, n.baseBytes = f.listing, f.started, f.asked, bytes
	n.dirs, n.cases = nil, nil
	n.count, n.cut, n.cost = len(f.listing.Entries), f.listing.Truncated, f.listing.Bytes
	n.renewal.took = f.started.age(c.now())
	n.misses, n.served, n.unlisted = 0, 0, false
	n.swept = len(n.recs)
	c.weighLocked(n)
}

// tells says whether a listing settles whether name exists.
func (c *Cache) tells(l *pool.Listing, name string) bool {
	if c.o.Hide(name) {
		return false
	}
	if !l.Truncated {
		return true
	}
	_, ok := searchName(l.Entries, name)
	return ok
}

// arrivedRefusal remembers that a folder could not be listed.
func (c *Cache) arrivedRefusalLocked(f *flight) {
	switch kind := pool.KindOf(f.err); {
	case kind == pool.KindNotFound:
		c.arrivedAnswerLocked(f, f.path, pool.StatResult{Err: f.err})
	case lookupFallsBack(kind):
		n := c.makeLocked(f.path)
		n.unlisted, n.refused = true, f.started
		n.misses = max(n.misses, 1)
		c.weighLocked(n)
	}
}

// lookupFallsBack tells the refusals that concern the listing and not the names in it: a folder may be closed to readers
// and open to those who know a name.
func lookupFallsBack(kind pool.Kind) bool {
	switch kind {
	case pool.KindPermission, pool.KindRefused, pool.KindUnsupported, pool.KindOther, pool.KindProtocol:
		return true
	}
	return false
}

// existAbove drops the belief that a folder above path is absent, or no folder, which what happened in it disproves.
func (c *Cache) existAboveLocked(path string, seq uint64) {
	for dir, _ := split(path); dir != ""; {
		var name string
		dir, name = split(dir)
		n := c.findLocked(dir)
		k := c.knowLocked(n, name)
		if k.seq > seq || k.state == unknown || k.state == present && k.e.Type != pool.TypeFile && k.e.Type != pool.TypeOther {
			continue
		}
		n.put(name, rec{seq: seq})
		n.floor = max(n.floor, seq)
		c.weighLocked(n)
	}
}

// pruneKids forgets folders below the one that f listed and that are none any more.
func (c *Cache) pruneKidsLocked(f *flight) {
	parent := c.findLocked(f.path)
	if parent == nil || f.listing.Truncated {
		return
	}
	for name, kid := range parent.kids {
		i, ok := searchName(f.listing.Entries, name)
		gone := !ok && !c.o.Hide(name) || ok && f.listing.Entries[i].Type == pool.TypeFile
		if r := parent.recs[name]; gone && (r == nil || r.seq < f.asked) {
			c.emptyBelowLocked(kid)
		}
	}
}

// withoutHidden gives l without the names that no listing shows.
func (c *Cache) withoutHidden(l *pool.Listing) *pool.Listing {
	hidden := func(e pool.Entry) bool { return c.o.Hide(e.Name) }
	i := slices.IndexFunc(l.Entries, hidden)
	if i < 0 {
		return l
	}
	kept := *l
	kept.Entries = slices.DeleteFunc(slices.Clone(l.Entries), hidden)
	return &kept
}
