package cache

import (
	"slices"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Estimated sizes in memory.
const (
	entryCost = 160 // pool.Entry in a slice
	recCost   = 320 // rec, its place in a map and its key
	nodeCost  = 320
	caseCost  = 48 // a name in node.cases; the name itself is shared
)

// state is what is known of a name.
type state uint8

const (
	unknown state = iota
	present
	absent
)

// rec is what is known of one name apart from the listing of its folder: from an answer about this name alone, or from a
// change of our own.
type rec struct {
	e    pool.Entry // if present
	at   moment     // how old the attributes are
	seq  uint64     // place in the order of knowledge
	own  uint64     // the last change of our own, 0: none
	deep uint64     // the last one that concerned everything below, too
	state
	tried bool // no exact time is to be had
	loose bool // not part of the listing yet
}

// node is a folder. Nodes form the tree that the paths form, so that a rename moves all that is known below with it. A node
// without knowledge exists only while one below it has some.
type node struct {
	parent *node
	name   string
	kids   map[string]*node

	base      *pool.Listing   // the last listing, nil: none; without hidden names; never modified, as callers share it
	baseAt    moment          // when it was asked for
	baseSeq   uint64          //
	baseBytes int64           //
	recs      map[string]*rec // newer than base, or of names that base does not tell
	loose     int             // records that are not part of base yet
	swept     int             // len(recs) after the last sweep
	floor     uint64          // the listing does not count for List if older: something unknown happened in the folder
	bytes     int64           // all of it

	count    int    // entries of the last listing, remembered when it is gone
	misses   int    // names asked for since the last listing, one after the other
	missName string // the last of them
	missAt   moment
	served   int    // answers given from the listing
	refused  moment // when it could not be listed
	unlisted bool   // refused is set
	cut      bool   // the last listing was truncated
	ahead    bool   // listed ahead of a walk and not used yet
	cost     int64  // bytes that the last listing took on the line
	renewal  renewal
	// cases finds names that differ in case alone, by foldHash; it may have names that went. nil: nobody asked yet.
	cases map[uint64]string
	dirs  []int32 // positions of folders in base, for walks; nil: not looked up
}

// find gives the node of the folder at path, nil if there is none.
func (c *Cache) findLocked(path string) *node {
	n := c.top
	if path == "" {
		return n
	}
	n = n.kids[""]
	for rest := strings.TrimPrefix(path, "/"); rest != "" && n != nil; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		n = n.kids[name]
	}
	return n
}

// make gives the node of the folder at path, a new one if need be.
func (c *Cache) makeLocked(path string) *node {
	if path == "" {
		return c.top
	}
	n := c.top.kid("")
	for rest := strings.TrimPrefix(path, "/"); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		n = n.kid(name)
	}
	return n
}

func (n *node) kid(name string) *node {
	if k := n.kids[name]; k != nil {
		return k
	}
	k := &node{parent: n, name: strings.Clone(name)}
	if n.kids == nil {
		n.kids = make(map[string]*node)
	}
	n.kids[k.name] = k
	return k
}

// path of the folder.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	return join(n.parent.path(), n.name)
}

// put replaces what is known of name apart from the listing. The numbers of our own changes are never taken back.
func (n *node) put(name string, r rec) {
	old := n.recs[name]
	if old == nil {
		if n.recs == nil {
			n.recs = make(map[string]*rec)
		}
		old = &rec{}
		name = strings.Clone(name)
		n.recs[name] = old
	}
	r.own, r.deep = max(r.own, old.own), max(r.deep, old.deep)
	if !old.loose {
		n.loose++
	}
	r.loose = true
	*old = r
	if n.cases != nil && r.state == present {
		n.cases[foldHash(name)] = r.e.Name
	}
}

// drop forgets what is known of name apart from the listing.
func (n *node) drop(name string, r *rec) {
	if r.loose {
		n.loose--
	}
	delete(n.recs, name)
}

// entry looks name up in the listing.
func (n *node) entry(name string) *pool.Entry {
	i, ok := searchName(n.base.Entries, name)
	if !ok {
		return nil
	}
	return &n.base.Entries[i]
}

func searchName(entries []pool.Entry, name string) (int, bool) {
	return slices.BinarySearchFunc(entries, name, func(e pool.Entry, name string) int { return strings.Compare(e.Name, name) })
}

// touch notes that n was used, and with weigh that it changed.
func (c *Cache) touchLocked(n *node) { c.lru.Get(n) }

// weigh brings the account of n up to date and makes room. Every change of n ends with it.
func (c *Cache) weighLocked(n *node) {
	c.sweepLocked(n, c.now())
	c.accountLocked(n)
	for c.bytes > c.o.MaxBytes && c.lru.Len() > 1 {
		old, _, _ := c.lru.RemoveOldest()
		c.emptyLocked(old)
		c.stats.Evictions++
	}
	// One folder may be larger than the budget while it is the one in use, but not for answers nobody repeats.
	if c.bytes > c.o.MaxBytes && n.bytes-n.baseBytes > c.o.MaxBytes {
		c.emptyLocked(n)
		c.stats.Evictions++
	}
}

func (c *Cache) accountLocked(n *node) {
	bytes := n.baseBytes + int64(len(n.recs))*recCost + int64(len(n.cases))*caseCost
	if bytes > 0 || n.base != nil || n.floor > 0 || n.count > 0 || n.misses > 0 || n.unlisted {
		bytes += nodeCost
	}
	if n.base == nil {
		c.vainLocked(n)
	}
	if n.ahead {
		c.walk.bytes += bytes - n.bytes
	}
	c.bytes += bytes - n.bytes
	n.bytes = bytes
	if bytes > 0 {
		c.lru.Add(n, struct{}{})
		return
	}
	c.lru.Remove(n)
	n.prune()
}

// prune takes nodes out of the tree that stand for nothing any more.
func (n *node) prune() {
	for n.parent != nil && n.bytes == 0 && len(n.kids) == 0 && n.parent.kids[n.name] == n {
		delete(n.parent.kids, n.name)
		n = n.parent
	}
}

// empty forgets all that n itself knows. What protected our own changes from answers on their way is replaced by refusing
// those answers.
func (c *Cache) emptyLocked(n *node) {
	c.raiseFloorLocked(n.floor)
	for _, r := range n.recs {
		c.raiseFloorLocked(r.own)
	}
	c.vainLocked(n)
	c.bytes -= n.bytes
	*n = node{parent: n.parent, name: n.name, kids: n.kids}
	c.lru.Remove(n)
	n.prune()
}

// emptyBelow forgets what n and all below it know.
func (c *Cache) emptyBelowLocked(n *node) {
	for _, kid := range n.kids {
		c.emptyBelowLocked(kid)
	}
	c.emptyLocked(n)
}

// sweep drops what is too old to answer anything, each time the number of records has doubled.
func (c *Cache) sweepLocked(n *node, now moment) {
	if len(n.recs) < 2*n.swept+64 {
		return
	}
	if n.base != nil && n.baseAt.age(now) >= max(c.o.DirTTL, c.o.AttrTTL) {
		n.dropBase()
	}
	for name, r := range n.recs {
		if c.uselessLocked(n, r, now) {
			c.raiseFloorLocked(r.own)
			n.drop(name, r)
		}
	}
	n.swept = len(n.recs)
}

// useless tells whether nothing changes when r is dropped, but for answers on their way.
func (c *Cache) uselessLocked(n *node, r *rec, now moment) bool {
	if n.base != nil && (r.loose || r.state == unknown || r.at.mono < n.baseAt.mono || r.at.wall < n.baseAt.wall) {
		return false // it corrects the listing
	}
	switch r.state {
	case present:
		return r.at.age(now) >= c.o.AttrTTL
	case absent:
		return r.at.age(now) >= c.o.NegTTL
	}
	return true
}

func (n *node) dropBase() {
	n.base, n.baseBytes, n.baseSeq, n.dirs = nil, 0, 0, nil
}

// raiseFloor makes answers to questions older than seq, of which some may be on their way, count for nothing.
func (c *Cache) raiseFloorLocked(seq uint64) {
	if seq <= c.floor {
		return
	}
	for f := range c.running {
		if f.asked < seq {
			c.floor = seq
			return
		}
	}
}

// listingBytes estimates the memory of a listing. Owners, groups and permissions are shared by many entries.
func listingBytes(l *pool.Listing) int64 {
	bytes := int64(cap(l.Entries)) * entryCost
	for i := range l.Entries {
		e := &l.Entries[i]
		bytes += int64(len(e.Name) + len(e.Target) + len(e.Unique))
	}
	for _, s := range l.Unparsed {
		bytes += int64(len(s)) + 16
	}
	return bytes
}
