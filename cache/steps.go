package cache

import (
	"context"
	"slices"
	"strings"
	"time"
)

// How a walk is recognised.
const (
	walkSteps = 2                      // folders listed below one listed before, in a row, that make a walk
	walkPause = 30 * time.Second       // a longer one ends it
	atOnce    = 300 * time.Millisecond // between two questions of a program, and not of somebody who types them
	fewNames  = 3                      // asked for in a folder, from which on it may have been gone through
	manyNames = 500                    // of a folder that is not listed for the first name asked for in it, walk or not
)

type byKey struct{}

// By marks the context of a question with its caller, a number other than 0. Where the caller is known a walk is recognised
// sooner, and one who asks for name after name instead of listing is taken for a walker, too.
func By(ctx context.Context, caller uint32) context.Context {
	return context.WithValue(ctx, byKey{}, caller)
}

func callerOf(ctx context.Context) uint32 {
	by, _ := ctx.Value(byKey{}).(uint32)
	return by
}

// looker goes through a folder by asking for its names, one after the other, as rsync does. There is one, as there is one
// walker.
type looker struct {
	by    uint32
	dir   string
	name  string // found last
	names int    // found in a row, the same one again not counted
	since moment // when he came
	last  moment // when he last asked or was told
}

// walked notes that a caller wants the listing of dir, and once more that he got it. It is a step of a walk if the folder above
// was listed before. Two make a walk, and one if the same caller goes at once to where a walk goes next.
func (c *Cache) walkedLocked(ctx context.Context, dir string) {
	w, by, now := &c.walk, callerOf(ctx), c.now()
	if c.o.Walk.Parallel <= 0 {
		return
	}
	if dir == w.at {
		w.by, w.when = by, now
		c.runAheadLocked()
		return
	}
	parent := c.findLocked(parentDir(dir))
	sure := by != 0 && by == w.by && w.when.age(now) <= atOnce && c.comesNextLocked(w.at, dir)
	if !sure && (parent == nil || parent.base == nil || parent.ahead) {
		w.steps = notBegun
	}
	c.stepLocked(w.at, dir, by, sure, now)
	c.runAheadLocked()
}

func parentDir(path string) string { dir, _ := split(path); return dir }

// notBegun is what walker.steps is ahead of the first folder.
const notBegun = -1

// step notes that the walker has come to dir. sure: two steps are not needed to tell that he walks, and he began at the folder
// from.
func (c *Cache) stepLocked(from, dir string, by uint32, sure bool, now moment) {
	w := &c.walk
	if sure && !w.walking(now) {
		w.top = from
	}
	if w.when.age(now) > walkPause || sure && w.steps < walkSteps {
		w.steps = notBegun
	}
	if w.steps++; w.steps == 0 {
		w.window, w.times = firstAhead, false
		if !sure {
			w.top = dir
		}
	}
	if sure {
		w.steps = max(w.steps, walkSteps)
	}
	for w.top != dir && !isBelow(dir, w.top) { // he walks through more than was seen so far
		w.top = parentDir(w.top)
	}
	w.at, w.by, w.when, w.left = dir, by, now, w.window
}

// walking says whether a walk goes on.
func (w *walker) walking(now moment) bool {
	return w.steps >= walkSteps && w.when.age(now) <= walkPause
}

// looked notes that a caller asks for a name in dir, and reports whether that is a step of a walk: he found the names of one
// folder and goes at once to the folder that comes next. Looking up a path leads through folders, too, but asks for one
// name in each; and who finds nothing is about to make it, and knows what he makes.
//
// What a listing tells of a name is believed for AttrTTL only: nothing is listed ahead of somebody who stays in a folder for a good
// part of that.
func (c *Cache) lookedLocked(ctx context.Context, dir string) bool {
	l, by, now := &c.look, callerOf(ctx), c.now()
	if by == 0 || dir == "" || c.o.Walk.Parallel <= 0 {
		return false
	}
	follows := by == l.by && l.last.age(now) <= atOnce
	if follows && (dir == l.dir || isBelow(l.dir, dir)) { // or the way to where he is, or to the next folder
		l.last = now
		return false
	}
	step := follows && l.since.age(now) < c.o.AttrTTL/3 && dir != c.walk.at && c.goesOnLocked(dir, now)
	from := l.dir
	*l = looker{by: by, dir: dir, since: now, last: now}
	if step {
		c.stepLocked(from, dir, by, true, now)
	}
	return step
}

// found notes that a caller was told what is at name in dir.
func (c *Cache) foundLocked(ctx context.Context, dir, name string) {
	l := &c.look
	if l.by == 0 || l.by != callerOf(ctx) || l.dir != dir {
		return
	}
	if name != l.name {
		l.names++
	}
	l.name, l.last = name, c.now()
}

// goesOn tells whether somebody who asked for names in one folder until now, and for one in dir now, walks.
func (c *Cache) goesOnLocked(dir string, now moment) bool {
	l, w := &c.look, &c.walk
	if w.by == l.by && w.walking(now) {
		if n := c.findLocked(dir); n != nil && n.ahead || c.comesNextLocked(w.at, dir) {
			return true
		}
	}
	n := c.findLocked(l.dir)
	return n != nil && n.base != nil && l.names >= fewNames && 2*l.names >= len(n.base.Entries) && c.comesNextLocked(l.dir, dir)
}

// isBelow tells whether path is below dir.
func isBelow(path, dir string) bool {
	return dir == "/" && path != "/" || len(path) > len(dir) && path[len(dir)] == '/' && strings.HasPrefix(path, dir)
}

// walksIn tells whether w is asked for by somebody who walks through its folder, which is better listed at once.
func (c *Cache) walksInLocked(w want, n *node, now moment) bool {
	return w.limit == anyAge && w.dir == c.walk.at && n.count < manyNames && c.walk.walking(now)
}

// comesNext tells whether dir is where a walk goes from the folder at: the first folder in it, else the one behind it, or behind
// the one above if there is none, and so on. Who does not go down goes on to the one behind.
func (c *Cache) comesNextLocked(at, dir string) bool {
	if c.firstBehindLocked(at, "") == dir {
		return true
	}
	for up, name := split(at); up != ""; up, name = split(up) {
		if next := c.firstBehindLocked(up, name); next != "" {
			return next == dir
		}
	}
	return false
}

// firstBehind gives the path of the first folder in dir behind name, "" if none is known.
func (c *Cache) firstBehindLocked(dir, name string) string {
	n := c.findLocked(dir)
	if n == nil || n.base == nil {
		return ""
	}
	dirs, entries := n.folders(), n.base.Entries
	i, _ := slices.BinarySearchFunc(dirs, name, func(at int32, name string) int { return strings.Compare(entries[at].Name, name) })
	for _, at := range dirs[i:] {
		if next := entries[at].Name; next != name && c.knowLocked(n, next).state == present {
			return join(dir, next)
		}
	}
	return ""
}
