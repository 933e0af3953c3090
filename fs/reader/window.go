package reader

import (
	"slices"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// slot is a chunk of a fetch: the bytes from..to of block index.
type slot struct {
	c        *blocks.Chunk
	index    int64
	from, to int // to grows while the fetch fills it; guarded by Reader.mu
	pins     int // READs that copy from it now; guarded by Reader.mu
	retired  bool
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
	for _, f := range slices.Clone(r.fetches) {
		if pos > f.cursor && (pos <= f.pos || !f.running) {
			f.cursor = pos
			f.pruneLocked(keepBehind)
			f.poke()
		}
	}
}

// pruneLocked retires the slots that end more than keep bytes behind the cursor.
func (f *fetch) pruneLocked(keep int64) {
	n := 0
	for n < len(f.slots) && f.slots[n].end() <= f.cursor-keep && !f.fillingLocked(f.slots[n]) {
		n++
	}
	f.retireLocked(0, n)
	// A fetch that is over and has all its bytes behind the reader is kept for nobody.
	if !f.running && f.cursor >= f.pos && f.refs == 0 {
		f.retireLocked(0, len(f.slots))
	}
	f.dropLocked()
}

// shedLocked retires every slot that is not being filled. READs that wait do so for bytes that are not there yet, so
// none of them loses anything.
func (f *fetch) shedLocked() {
	n := len(f.slots)
	if n > 0 && f.fillingLocked(f.slots[n-1]) {
		n--
	}
	f.retireLocked(0, n)
}

// retireLocked gives slots[i:j] to the cache (or, when the content is not wanted any more, frees them). What lies
// furthest ahead goes first, so that it is also evicted first.
func (f *fetch) retireLocked(i, j int) {
	for k := j - 1; k >= i; k-- {
		s := f.slots[k]
		s.retired = true
		if s.pins == 0 {
			f.releaseLocked(s)
		}
	}
	f.slots = slices.Delete(f.slots, i, j)
}

func (f *fetch) unpinLocked(s *slot) {
	s.pins--
	if s.retired && s.pins == 0 {
		f.releaseLocked(s)
	}
}

func (f *fetch) releaseLocked(s *slot) {
	if f.discard {
		s.c.Free()
		return
	}
	f.r.cfg.Blocks.PutRange(f.key, s.index, s.c, s.from, s.to)
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
