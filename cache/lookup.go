package cache

import (
	"context"
	"math"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Policy of questions about single names.
const (
	maxTries   = 4                // questions for one call, should our own changes outdate the answers again and again
	maxBatch   = 1000             // files whose exact times are asked for in one flight
	missWindow = 30 * time.Second // misses farther apart than this have nothing to do with each other
	refusal    = 30 * time.Second // how long a folder that could not be listed is not listed for a lookup
	bigFolder  = 5000             // names from which on a listing is not waited for where a single question will do
)

const anyAge = time.Duration(math.MaxInt64)

// Lookup gives what is at path: from a fresh listing of its folder, a fresh answer or a fresh absence, else from the
// source. The first name asked for in a folder costs a question about that name, the next one the listing of the folder.
// It fails with KindNotFound when nothing is there, with KindNotDir below a file.
func (c *Cache) Lookup(ctx context.Context, path string) (pool.Entry, error) {
	return c.lookup(ctx, path, anyAge, false)
}

// LookupFresh is Lookup believing nothing that is as old as maxAge or older.
func (c *Cache) LookupFresh(ctx context.Context, path string, maxAge time.Duration) (pool.Entry, error) {
	return c.lookup(ctx, path, maxAge, false)
}

// Exact is Lookup with an exact time, if the source can tell one of a file. Where the folder's listing gave rough ones,
// the files that come after this one in it are asked for in the same flight.
func (c *Cache) Exact(ctx context.Context, path string) (pool.Entry, error) {
	return c.lookup(ctx, path, anyAge, true)
}

// Peek gives what is known of path without asking anybody. fresh is false when that is nothing, an absence, or too old.
func (c *Cache) Peek(path string) (e pool.Entry, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, name := split(path)
	k := c.knowLocked(c.findLocked(dir), name)
	return k.e, k.state == present && c.fresh(k, anyAge, c.now())
}

// Known is Peek for somebody who wants to know: it counts as an answer, of a listing made ahead, too, and as a step of a walk.
func (c *Cache) Known(ctx context.Context, path string) (e pool.Entry, fresh bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, name := split(path)
	n := c.findLocked(dir)
	k := c.knowLocked(n, name)
	if k.state != present || !c.fresh(k, anyAge, c.now()) {
		return e, false
	}
	stepped := c.lookedLocked(ctx, dir)
	c.foundLocked(ctx, dir, name)
	c.countLocked(true, false)
	c.touchLocked(n)
	if k.listed {
		c.usedLocked(n)
	}
	if stepped {
		c.runAheadLocked()
	}
	return k.e, true
}

// want is what a caller of lookup is content with.
type want struct {
	path, dir, name string
	limit           time.Duration // age that is too old
	exact           bool
}

func (c *Cache) lookup(ctx context.Context, path string, limit time.Duration, exact bool) (pool.Entry, error) {
	w := want{path: path, limit: limit, exact: exact}
	w.dir, w.name = split(path)
	var f *flight // the last one that this call waited for
	for try := 0; ; try++ {
		c.mu.Lock()
		stepped := try == 0 && c.lookedLocked(ctx, w.dir)
		e, err, ok := c.answerLocked(w, f, try >= maxTries)
		if ok {
			c.countLocked(f == nil, err != nil)
			if f == nil {
				c.renewLocked(w)
			}
			if err == nil {
				c.foundLocked(ctx, w.dir, w.name)
			}
		} else {
			f = c.questionLocked(ctx, w, f)
			f.awaitLocked()
		}
		if stepped { // behind the caller's own question
			c.runAheadLocked()
		}
		c.mu.Unlock()
		if ok {
			return e, err
		}
		if err := c.wait(ctx, f); err != nil {
			return pool.Entry{}, err
		}
	}
}

// answer gives the answer to w if there is one: out of what is known and fresh, or as fresh as f's question, or what f
// brought. With last, what f brought has to do.
func (c *Cache) answerLocked(w want, f *flight, last bool) (e pool.Entry, err error, ok bool) {
	n, now := c.findLocked(w.dir), c.now()
	k := c.knowLocked(n, w.name)
	asked := f != nil && k.state != unknown && k.seq >= f.asked
	if asked || c.fresh(k, w.limit, now) {
		if k.state == absent || !w.exact || !needsTime(k) || last {
			c.servedLocked(n, k)
			if k.state == absent {
				return e, failure("stat", w.path, pool.KindNotFound), true
			}
			return k.e, nil, true
		}
		if f != nil && f.asking == askTimes && f.err != nil && !f.background {
			return e, f.err, true
		}
		return e, nil, false
	}
	if f != nil && (!f.void || last) {
		if e, err, ok = f.tell(w); ok {
			return e, err, true
		}
	}
	if kind, no := c.noWayLocked(w.path, w.limit, now); no {
		return e, failure("stat", w.path, kind), true
	}
	if f != nil && last {
		return e, failure("stat", w.path, pool.KindOther), true
	}
	return e, nil, false
}

// served notes that n was of use.
func (c *Cache) servedLocked(n *node, k info) {
	c.touchLocked(n)
	if k.listed {
		n.served++
		c.usedLocked(n)
	}
}

// tell gives what a finished flight says of w, which need not have been remembered.
func (f *flight) tell(w want) (e pool.Entry, err error, ok bool) {
	if f.background && f.err != nil {
		return e, nil, false // nobody minded; the caller does
	}
	if f.asking != askList {
		if f.err != nil {
			return e, f.err, true
		}
		r, ok := f.results[w.path]
		if ok && r.Err == nil {
			r.Entry.Name = w.name
		}
		return r.Entry, r.Err, ok
	}
	if f.err != nil {
		return e, f.err, !lookupFallsBack(pool.KindOf(f.err))
	}
	i, found := searchName(f.listing.Entries, w.name)
	switch {
	case found && !(w.exact && needsTime(info{state: present, e: f.listing.Entries[i]})):
		return f.listing.Entries[i], nil, true
	case !found && !f.listing.Truncated && !f.void:
		return e, failure("stat", w.path, pool.KindNotFound), true
	}
	return e, nil, false
}

// question starts or joins the flight that will answer w. before is the one that did not.
func (c *Cache) questionLocked(ctx context.Context, w want, before *flight) *flight {
	now := c.now()
	n := c.findLocked(w.dir)
	k := c.knowLocked(n, w.name)
	if w.exact && needsTime(k) && (before != nil && k.seq >= before.asked || c.fresh(k, w.limit, now)) {
		return c.timesLocked(ctx, w, n, now)
	}
	if before == nil || before.asking != askList {
		if f := c.listForLocked(ctx, w, before, now); f != nil {
			return f
		}
	}
	ask := askStat
	if w.exact {
		ask = askTimes
	}
	for _, q := range []question{{askTimes, w.path}, {ask, w.path}} {
		if f := c.joinLocked(q, w.limit, now); f != nil {
			return f
		}
	}
	paths := []string{w.path}
	if ask == askStat && c.folderTooLocked(w.dir, now) {
		paths = append(paths, w.dir)
	}
	return c.launchLocked(ctx, question{ask, w.path}, paths, false)
}

// folderToo tells whether the attributes of a folder, which the kernel looks at with every change in it, are asked for together with
// a name in it: when they have lived half of their time and the answer does not come later for it.
func (c *Cache) folderTooLocked(dir string, now moment) bool {
	if dir == "" || dir == "/" || !c.o.Together() {
		return false
	}
	up, name := split(dir)
	k := c.knowLocked(c.findLocked(up), name)
	return k.state == present && k.e.Type == pool.TypeDir && k.at.age(now) >= c.o.AttrTTL/2
}

// join gives the flight of q that is under way, if its answer will be as fresh as it has to be.
func (c *Cache) joinLocked(q question, limit time.Duration, now moment) *flight {
	f := c.flights[q]
	if f == nil || f.renews && !f.atHand { // which may have to wait for a connection
		return nil
	}
	if age := f.started.age(now); age > 0 && age >= min(limit, max(c.o.AttrTTL, c.o.DirTTL)) || f.asked < c.floor {
		return nil
	}
	return f
}

// listFor starts or joins the listing of w's folder, if that is better than a question about w alone; nil if not.
func (c *Cache) listForLocked(ctx context.Context, w want, before *flight, now moment) *flight {
	if w.dir == "" || c.o.Hide(w.name) {
		return nil
	}
	n := c.makeLocked(w.dir)
	defer c.accountLocked(n)
	if n.cut || n.unlisted && n.refused.age(now) < refusal {
		return nil
	}
	q := question{askList, w.dir}
	if n.count <= bigFolder {
		if f := c.joinLocked(q, w.limit, now); f != nil {
			return f
		}
	}
	if before == nil && c.besideLocked(w, n, now) {
		return nil
	}
	if !n.missed(w.name, now) && !c.walksInLocked(w, n, now) || before != nil {
		return nil
	}
	c.lateLocked(n, w, now)
	return c.launchLocked(ctx, q, nil, false)
}

// missed notes that name had to be asked for and tells whether a listing will pay for itself: when it is the second name
// in a row, or when the last listing had answered many. In a large folder it takes more.
func (n *node) missed(name string, now moment) bool {
	if n.missAt.age(now) > missWindow {
		n.misses = 0
	}
	if n.misses == 0 || n.missName != name {
		n.misses++
	}
	n.missName, n.missAt = name, now
	return n.misses > 1+n.count/500 || n.served >= listingPays(n.count)
}

// listingPays is how many answers from a listing of count names make it likely that the next one pays for itself.
func listingPays(count int) int { return 4 + count/250 }

// times starts or joins a flight for the exact time of w and those of the files after it.
func (c *Cache) timesLocked(ctx context.Context, w want, n *node, now moment) *flight {
	under := c.batches[w.dir]
	for _, f := range under {
		if f.covers(w.path) && f.started.age(now) < min(w.limit, c.o.AttrTTL) {
			return f
		}
	}
	paths := []string{w.path}
	if n.base != nil && c.fresh(info{state: present, at: n.baseAt}, w.limit, now) {
		paths = c.roughLocked(w, n, under)
	}
	f := c.askTimesLocked(ctx, w, paths, false)
	if w.dir == c.walk.at && !c.walk.times {
		c.walk.times = true
		for n := range c.walk.ahead {
			c.timesAheadLocked(n, n.path())
		}
	}
	return f
}

func (c *Cache) askTimesLocked(ctx context.Context, w want, paths []string, background bool) *flight {
	f := c.launchLocked(ctx, question{askTimes, w.path}, paths, background)
	c.batches[w.dir] = append(c.batches[w.dir], f)
	return f
}

// rough gives the paths of the files of which the exact time is unknown and not asked for: w's and those that follow it,
// the first ones following the last.
func (c *Cache) roughLocked(w want, n *node, under []*flight) []string {
	paths := []string{w.path}
	entries := n.base.Entries
	from, _ := searchName(entries, w.name)
	for i := range entries {
		e := &entries[(from+i)%len(entries)]
		if len(paths) == maxBatch {
			break
		}
		if e.Exact || e.Name == w.name || !needsTime(c.knowLocked(n, e.Name)) {
			continue
		}
		path := join(w.dir, e.Name)
		if !anyCovers(under, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

func (f *flight) covers(path string) bool {
	_, ok := f.names[path]
	return ok && !f.left
}

func anyCovers(flights []*flight, path string) bool {
	for _, f := range flights {
		if f.covers(path) {
			return true
		}
	}
	return false
}

func (c *Cache) countLocked(hit, failed bool) {
	switch {
	case !hit:
		c.stats.Misses++
	case failed:
		c.stats.Hits++
		c.stats.NegativeHits++
	default:
		c.stats.Hits++
	}
}
