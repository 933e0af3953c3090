package stage

import (
	"slices"
	"sort"
)

// Range is a piece of a file, Off to Off+Len.
type Range struct {
	Off, Len int64
}

// End is the offset behind the last byte.
func (r Range) End() int64 { return r.Off + r.Len }

// span is a half-open interval with the generation in which it was added.
type span struct {
	off, end int64
	gen      uint64
}

// spans is a set of bytes: sorted, disjoint, none empty, neighbours of one generation merged. Not safe for concurrent use.
type spans struct {
	list  []span
	bytes int64 // total length
}

// find gives the index of the first span that ends after off.
func (s *spans) find(off int64) int {
	return sort.Search(len(s.list), func(i int) bool { return s.list[i].end > off })
}

func (s *spans) clone() spans { return spans{slices.Clone(s.list), s.bytes} }

// add puts off..end into the set under generation gen, whatever generation it had.
func (s *spans) add(off, end int64, gen uint64) {
	if off >= end {
		return
	}
	s.remove(off, end)
	i := s.find(off)
	n := span{off, end, gen}
	from, to := i, i
	if i > 0 && s.list[i-1].end == off && s.list[i-1].gen == gen {
		from, n.off = i-1, s.list[i-1].off
	}
	if i < len(s.list) && s.list[i].off == end && s.list[i].gen == gen {
		to, n.end = i+1, s.list[i].end
	}
	s.list = slices.Replace(s.list, from, to, n)
	s.bytes += end - off
}

// remove takes off..end out of the set.
func (s *spans) remove(off, end int64) {
	if off >= end {
		return
	}
	from := s.find(off)
	to := from
	var rest [2]span
	n := 0
	for ; to < len(s.list) && s.list[to].off < end; to++ {
		sp := s.list[to]
		s.bytes -= min(sp.end, end) - max(sp.off, off)
		if sp.off < off {
			rest[n], n = span{sp.off, off, sp.gen}, n+1
		}
		if sp.end > end {
			rest[n], n = span{end, sp.end, sp.gen}, n+1
		}
	}
	if from < to {
		s.list = slices.Replace(s.list, from, to, rest[:n]...)
	}
}

// clean takes out everything of generation gen and older.
func (s *spans) clean(gen uint64) {
	s.list = slices.DeleteFunc(s.list, func(sp span) bool {
		if sp.gen > gen {
			return false
		}
		s.bytes -= sp.end - sp.off
		return true
	})
}

// gaps lists what of off..end is not in the set.
func (s *spans) gaps(off, end int64) []Range {
	var out []Range
	for i := s.find(off); off < end; i++ {
		next := end
		if i < len(s.list) {
			next = min(end, s.list[i].off)
		}
		if off < next {
			out = append(out, Range{off, next - off})
		}
		if i >= len(s.list) {
			break
		}
		off = s.list[i].end
	}
	return out
}

// ranges lists the set, neighbours of different generations joined.
func (s *spans) ranges() []Range {
	var out []Range
	for _, sp := range s.list {
		if n := len(out); n > 0 && out[n-1].End() == sp.off {
			out[n-1].Len += sp.end - sp.off
			continue
		}
		out = append(out, Range{sp.off, sp.end - sp.off})
	}
	return out
}
