package reader

import (
	"slices"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// slot is a chunk of a fetch: the bytes from..to of block index.
type slot struct {
	c        *blocks.Chunk
	index    int64
	from, to int  // to grows while the fetch fills it; guarded by Reader.mu
	read     int  // bytes that READs took, those taken twice counted twice; guarded by Reader.mu
	pins     int  // READs that copy from it now; guarded by Reader.mu
	retired  bool // given up; guarded by Reader.mu
}

func (s *slot) start() int64 { return s.index*blocks.ChunkSize + int64(s.from) }
func (s *slot) end() int64   { return s.index*blocks.ChunkSize + int64(s.to) }

// at gives the bytes from pos on.
func (s *slot) at(pos int64) []byte { return s.c.Buf[pos-s.index*blocks.ChunkSize : s.to] }

// findLocked looks for the slot that has the byte at pos.
func (r *Reader) findLocked(pos int64) (*fetch, *slot) {
	for _, f := range r.fetches {
		if s := f.slotAtLocked(pos); s != nil && !f.discard {
			return f, s
		}
	}
	return nil, nil
}

func (f *fetch) slotAtLocked(pos int64) *slot {
	for _, s := range f.slots {
		if s.start() <= pos && pos < s.end() {
			return s
		}
	}
	return nil
}

// advanceLocked notes that the reader got everything up to pos: windows move on.
func (r *Reader) advanceLocked(pos int64) {
	if pos > r.at || r.at-pos > maxSkip { // READs of one sequential reader overtake each other
		r.at = pos
	}
	for _, f := range slices.Clone(r.fetches) {
		if pos > f.cursor && (pos <= f.pos || !f.running) {
			f.cursor = pos
			f.pruneLocked(keepBehind)
			f.poke()
		}
	}
	r.resumeLocked()
	r.fillLocked()
	r.aheadLocked()
}

// resumeLocked lets the first segment go on that stopped because there was no memory: the reader has just made room.
func (r *Reader) resumeLocked() {
	var first *fetch
	for _, f := range r.fetches {
		if f.segment && f.running && f.paused && (first == nil || f.start < first.start) {
			first = f
		}
	}
	if first != nil {
		first.poke()
	}
}

// pruneLocked retires the slots that end more than keep bytes behind the cursor.
func (f *fetch) pruneLocked(keep int64) {
	behind := f.cursor - keep
	// A fetch that is over and has all its bytes behind the reader is kept for nobody.
	if !f.running && f.cursor >= f.pos && f.refs == 0 {
		behind = f.pos
	}
	f.retireLocked(func(s *slot) bool { return s.end() <= behind })
	f.dropLocked()
}

// shedLocked retires every slot that can be spared. READs that wait do so for bytes that are not there yet, so none of
// them loses anything.
func (f *fetch) shedLocked() { f.retireLocked(func(*slot) bool { return true }) }

// retireLocked gives slots to the cache (or, when the content is not wanted any more, frees them), but not those that
// are being filled or copied from. What lies furthest ahead goes first, so that it is also evicted first.
func (f *fetch) retireLocked(which func(*slot) bool) {
	for _, s := range slices.Backward(f.slots) {
		if s.pins > 0 || f.fillingLocked(s) || !which(s) {
			continue
		}
		s.retired = true
		unread := max(0, s.to-s.from-s.read)
		if f.discard {
			s.c.Free()
			f.r.cfg.Blocks.Waste(unread)
		} else {
			f.r.cfg.Blocks.PutUnread(f.key, s.index, s.c, s.from, s.to, unread)
		}
	}
	f.slots = slices.DeleteFunc(f.slots, func(s *slot) bool { return s.retired })
}

// unpinLocked ends a copy, and makes up for what could not be retired during it.
func (f *fetch) unpinLocked(s *slot) {
	s.pins--
	if f.discard || f.r.closed || f.starving {
		f.shedLocked()
	}
	f.pruneLocked(keepBehind)
}

// dropLocked forgets a fetch that is over, has no slots and no READ.
func (f *fetch) dropLocked() {
	if f.running || len(f.slots) > 0 || f.refs > 0 || f.dropped {
		return
	}
	f.dropped = true
	f.holder.Close()
	f.r.fetches = slices.DeleteFunc(f.r.fetches, func(g *fetch) bool { return g == f })
}

// relief is called by the block store when others need room.
func (f *fetch) relief(p blocks.Pressure) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	inUse := f.refs > 0 || f.reliefReads != f.r.reads
	f.reliefReads = f.r.reads
	switch {
	case p == blocks.PressureStarving && f.refs == 0, !inUse:
		f.shedLocked()
	default:
		f.pruneLocked(0)
	}
	f.dropLocked()
}
