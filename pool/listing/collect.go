package listing

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of a Collector.
const (
	chunkEntries = 1024     // entries gathered in one piece
	maxArena     = 64 << 10 // bytes of names gathered in one piece
	minArena     = 512
	maxReports   = 1000 // lines kept for the log; the rest is counted
)

// A Collector gathers entries, in any order, into a [Listing]. It copies the strings it is given into few large pieces,
// so that the lines they were cut from need not stay in memory, and keeps owners, groups and permissions once.
// The zero value is ready. Not safe for concurrent use.
type Collector struct {
	chunks  [][]Entry
	n       int
	arena   strings.Builder
	used    int // bytes in all arenas so far
	shared  map[string]string
	reports []string
	lost    int // reports that found no room
}

// Add takes an entry. The names "", "." and "..", and those with a slash or a NUL, are no members of a folder: "." and ".."
// are left out, the others reported in Listing.Unparsed.
func (c *Collector) Add(e Entry) {
	switch {
	case e.Name == "." || e.Name == "..":
		return
	case !ValidName(e.Name):
		c.report("name refused: " + quote(e.Name))
		return
	}
	e.Name = c.keep(e.Name)
	e.Target = c.keep(e.Target)
	e.Unique = c.keep(e.Unique)
	e.Owner = c.share(e.Owner)
	e.Group = c.share(e.Group)
	e.Perm = c.share(e.Perm)
	if c.n%chunkEntries == 0 {
		// A small folder does not pay for a whole chunk: the first one grows.
		c.chunks = append(c.chunks, make([]Entry, 0, min(chunkEntries, 16+c.n)))
	}
	last := &c.chunks[len(c.chunks)-1]
	*last = append(*last, e)
	c.n++
}

// AddLine takes what a parser made of line: entries are added, errors reported in Listing.Unparsed, everything else
// dropped. It is meant to be wrapped round a call: c.AddLine(line, ParseFacts) or c.AddLine(line, parser.Parse).
func (c *Collector) AddLine(line string, parse func(string) (Entry, LineKind, error)) {
	e, kind, err := parse(line)
	switch {
	case err != nil:
		c.Unparsed(line)
	case kind == LineEntry:
		c.Add(e)
	}
}

// Unparsed takes a line that no parser understood.
func (c *Collector) Unparsed(line string) { c.report(quote(line)) }

// Len is the number of entries added so far, duplicates included.
func (c *Collector) Len() int { return c.n }

// Listing gives what was collected, sorted by name; of entries with the same name the last one counts. The collector is
// empty again afterwards.
func (c *Collector) Listing() *Listing {
	l := &Listing{Entries: c.sorted(), Unparsed: c.reports}
	if c.lost > 0 {
		l.Unparsed = append(l.Unparsed, fmt.Sprintf("and %d more", c.lost))
	}
	*c = Collector{}
	return l
}

// Build makes a listing of entries in any order.
func Build(entries []Entry) *Listing {
	var c Collector
	for _, e := range entries {
		c.Add(e)
	}
	return c.Listing()
}

// ValidName tells whether a server's name can be one element of a path: not empty, not "." or "..", no slash, no NUL.
func ValidName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

func (c *Collector) at(i uint32) *Entry { return &c.chunks[i/chunkEntries][i%chunkEntries] }

// sorted brings an index into order, not the entries, which are large.
func (c *Collector) sorted() []Entry {
	order := make([]uint32, c.n)
	inOrder := true
	for i := range order {
		order[i] = uint32(i)
		if i > 0 && c.at(uint32(i-1)).Name >= c.at(uint32(i)).Name {
			inOrder = false
		}
	}
	if !inOrder {
		slices.SortFunc(order, func(a, b uint32) int {
			if n := strings.Compare(c.at(a).Name, c.at(b).Name); n != 0 {
				return n
			}
			return int(a) - int(b)
		})
		order = slices.Clip(c.lastOfEach(order))
	}
	entries := make([]Entry, len(order))
	for i, j := range order {
		entries[i] = *c.at(j)
	}
	return entries
}

// lastOfEach keeps the last of a run of equal names.
func (c *Collector) lastOfEach(order []uint32) []uint32 {
	kept := order[:0]
	for i, j := range order {
		if i+1 == len(order) || c.at(order[i+1]).Name != c.at(j).Name {
			kept = append(kept, j)
		}
	}
	return kept
}

// keep copies s into the arena.
func (c *Collector) keep(s string) string {
	if s == "" {
		return ""
	}
	if c.arena.Cap()-c.arena.Len() < len(s) {
		c.arena = strings.Builder{}
		c.arena.Grow(max(len(s), min(maxArena, max(minArena, c.used))))
	}
	from := c.arena.Len()
	c.arena.WriteString(s)
	c.used += len(s)
	return c.arena.String()[from:]
}

// share gives the one copy of a string that many entries have in common.
func (c *Collector) share(s string) string {
	if s == "" {
		return ""
	}
	if have, ok := c.shared[s]; ok {
		return have
	}
	if c.shared == nil {
		c.shared = make(map[string]string)
	}
	s = c.keep(s)
	c.shared[s] = s
	return s
}

func (c *Collector) report(line string) {
	if len(c.reports) >= maxReports {
		c.lost++
		return
	}
	c.reports = append(c.reports, line)
}
