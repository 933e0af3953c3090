package cache

import (
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// info is what is known of one path.
type info struct {
	state
	e      pool.Entry
	at     moment
	seq    uint64
	tried  bool // no exact time is to be had
	listed bool // concluded from the listing
}

// know gives the newest that is known of a name in a folder, however old. n may be nil.
func (c *Cache) knowLocked(n *node, name string) info {
	if n == nil {
		return info{}
	}
	r := n.recs[name]
	if r != nil && (n.base == nil || r.seq > n.baseSeq) {
		return info{state: r.state, e: r.e, at: r.at, seq: r.seq, tried: r.tried}
	}
	if n.base != nil && n != c.top {
		if e := n.entry(name); e != nil {
			return info{state: present, e: *e, at: n.baseAt, seq: n.baseSeq, listed: true}
		}
		if !n.base.Truncated && !c.o.Hide(name) {
			return info{state: absent, at: n.baseAt, seq: n.baseSeq, listed: true}
		}
	}
	if r != nil { // a name that the listing does not tell
		return info{state: r.state, e: r.e, at: r.at, seq: r.seq, tried: r.tried}
	}
	return info{}
}

// believed is how long k may be believed by somebody who wants nothing older than limit.
func (c *Cache) believed(k info, limit time.Duration) time.Duration {
	switch {
	case k.state == present:
		return min(limit, c.o.AttrTTL)
	case k.state == absent && k.listed:
		return min(limit, c.o.NegTTL, c.o.DirTTL)
	case k.state == absent:
		return min(limit, c.o.NegTTL)
	}
	return 0
}

// fresh tells whether k answers somebody who wants nothing older than limit.
func (c *Cache) fresh(k info, limit time.Duration, now moment) bool {
	return k.state != unknown && k.at.age(now) < c.believed(k, limit)
}

// noWay tells that nothing can be at path because a folder above it is absent or no folder, as far as that is known and
// fresh: KindNotFound or KindNotDir.
func (c *Cache) noWayLocked(path string, limit time.Duration, now moment) (pool.Kind, bool) {
	for dir, _ := split(path); dir != ""; {
		var name string
		dir, name = split(dir)
		k := c.knowLocked(c.findLocked(dir), name)
		if !c.fresh(k, limit, now) {
			continue
		}
		switch {
		case k.state == absent:
			return pool.KindNotFound, true
		case k.e.Type == pool.TypeFile || k.e.Type == pool.TypeOther:
			return pool.KindNotDir, true
		case k.e.Type == pool.TypeDir:
			return 0, false // then those above are folders, too
		}
	}
	return 0, false
}

// outdated tells whether an answer about path, to a question of number asked, is older than a change of our own to a
// folder above it: then it speaks of another object.
func (c *Cache) outdatedLocked(path string, asked uint64) bool {
	if asked < c.floor {
		return true
	}
	for dir, name := split(path); dir != "" || name != ""; {
		dir, name = split(dir)
		if n := c.findLocked(dir); n != nil {
			if r := n.recs[name]; r != nil && r.deep > asked {
				return true
			}
		}
		if dir == "" {
			break
		}
	}
	return false
}

// needsTime tells whether k is a file of which the time is known only roughly. Folders and links are left at that: where
// listings are rough no command tells their times.
func needsTime(k info) bool {
	return k.state == present && !k.e.Exact && !k.tried && (k.e.Type == pool.TypeFile || k.e.Type == pool.TypeUnknown)
}
