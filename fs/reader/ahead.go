package reader

import (
	"errors"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// A reader that goes backwards gets larger and larger pieces, each one download that is read forwards; one that goes in equal
// steps gets the next ranges side by side. Both take only connections that can be spared, and memory that nobody needs; what
// they bring goes to the block cache, and counts as fetched in vain until it is read.
const (
	pageSize    = 4 << 10
	maxPiece    = 4 << 20                // of a reader that goes backwards
	slowPiece   = 500 * time.Millisecond // a READ may have to wait for all of a piece: one that took longer is too large
	pieceFlows  = 2                      // pieces under way
	strideFlows = 6                      // ranges under way, and ahead of the reader
	aheadShare  = 8                      // a piece, or all ranges together, take at most this part of the budget
)

// ahead is what is fetched before it is asked for, along the course of the reader. It lives in Reader.ahead and is guarded by
// Reader.mu.
type ahead struct {
	course  course
	next    int64 // backwards: where the next piece ends; in steps: where the next range begins
	length  int64 // of the next piece
	ranges  int   // how many may be ahead of a reader that goes in steps: more with each step that was right
	slow    bool  // a piece took too long
	refused bool  // nothing can be spared for this reader, or a download failed
}

// followLocked takes a READ, gives up what was fetched ahead when it shows that the reader has turned, and lets a stream go on when
// it shows that the reader does.
func (r *Reader) followLocked(pos int64, n int) {
	was := r.moves.course()
	jumped := r.moves.note(pos, n, r.pending > 0)
	now := r.moves.course()
	if now != was {
		r.endAheadLocked()
	}
	if r.moves.follows || now == courseThrough {
		r.goOnLocked(pos, n)
	}
	switch {
	case now != courseBack && now != courseStride:
	case r.ahead == nil:
		r.ahead = &ahead{course: now, length: blocks.ChunkSize, next: pos / pageSize * pageSize, ranges: 2}
		if now == courseStride {
			r.ahead.next = pos + r.moves.step
		}
	case jumped:
		r.ahead.ranges = min(2*r.ahead.ranges, strideFlows)
	}
}

// endAheadLocked lets go of what is fetched ahead.
func (r *Reader) endAheadLocked() {
	if r.ahead == nil {
		return
	}
	r.ahead = nil
	for _, f := range slices.Clone(r.fetches) {
		if f.ahead {
			f.leaveLocked()
		}
	}
}

// startAlongLocked starts the fetch for a READ that nothing serves although the course of the reader is known: the first of
// its kind, or no connection was spared for it in time. nil: there is no such course.
func (r *Reader) startAlongLocked(pos int64, n int) *fetch {
	a := r.ahead
	if a == nil {
		return nil
	}
	for _, f := range slices.Clone(r.fetches) {
		if f.ahead && f.running && !f.begun && !f.leaving && (a.course == courseBack || f.start <= pos && pos < f.end) {
			f.leaveLocked()
			if a.course == courseBack {
				a.next = max(a.next, f.end)
			}
		}
	}
	start, end := pos/pageSize*pageSize, pos+int64(n)
	switch {
	case a.course == courseStride:
		end = max(end, pos+min(r.moves.span(), maxRange))
	case a.next >= start:
		start = r.startPieceLocked(start, end)
	}
	f := r.openLocked(start, min(end, r.size), false)
	f.piece = a.course == courseBack
	return f
}

// startPieceLocked gives the begin of a piece that a READ waits for, which goes from there to its end: not below what is
// under way.
func (r *Reader) startPieceLocked(start, end int64) int64 {
	a := r.ahead
	from := max(0, min(start, end-min(a.length, r.pieceLocked())))
	a.next = from
	for _, f := range r.fetches {
		if f.ahead && f.running && !f.leaving && f.end <= start {
			from = max(from, f.end)
			a.next = min(a.next, f.start)
		}
	}
	a.growLocked(r)
	return from
}

// pieceLocked is the most that a piece may have, a multiple of chunks; 0: there is no memory for any.
func (r *Reader) pieceLocked() int64 {
	return min(maxPiece, r.cfg.Blocks.Stats().Limit/aheadShare) / blocks.ChunkSize * blocks.ChunkSize
}

// growLocked makes the next piece larger, but not behind one that was slow.
func (a *ahead) growLocked(r *Reader) {
	if !a.slow {
		a.length = min(2*a.length, max(r.pieceLocked(), blocks.ChunkSize))
	}
}

// aheadLocked starts what may be fetched ahead now. It is called behind the READs: those have their connection first.
func (r *Reader) aheadLocked() {
	a := r.ahead
	if a == nil || a.refused || r.closed {
		return
	}
	under := 0
	for _, f := range r.fetches {
		if f.ahead && f.running && !f.leaving {
			under++
		}
	}
	next := a.rangeLocked
	most := strideFlows
	if a.course == courseBack {
		next, most = a.pieceLocked, pieceFlows
	}
	for ; under < most; under++ {
		start, end := next(r)
		if start >= end {
			return
		}
		f := r.newFetchLocked(start, end, false)
		f.ahead, f.background = true, true
		r.line.ahead.Add(1)
		r.launchLocked(f)
	}
}

// pieceLocked gives the next piece of a reader that goes backwards, without what is there or coming.
func (a *ahead) pieceLocked(r *Reader) (start, end int64) {
	for begin := int64(0); a.next > 0; a.next = begin {
		if begin = r.hasUpToLocked(a.next); begin == a.next {
			break
		}
	}
	end = a.next
	length := min(a.length, r.pieceLocked())
	if length == 0 || end == 0 || r.moves.start-end > 2*length {
		return 0, 0
	}
	start = max(0, (end-length)/blocks.ChunkSize*blocks.ChunkSize)
	a.next = start
	a.growLocked(r)
	return start, end
}

// hasUpToLocked gives where a stretch begins that is there, or coming, up to end; end: not even the byte before it.
func (r *Reader) hasUpToLocked(end int64) int64 {
	if _, s := r.findLocked(end - 1); s != nil {
		return s.start()
	}
	if f := r.comingLocked(end-1, 1); f != nil {
		return max(f.start, f.pos)
	}
	begin := (end - 1) / blocks.ChunkSize * blocks.ChunkSize
	if r.cachedAtLocked(begin) && r.cachedAtLocked(end-1) {
		return begin
	}
	return end
}

// rangeLocked gives the next range of a reader that goes in steps.
func (a *ahead) rangeLocked(r *Reader) (start, end int64) {
	step, span := r.moves.step, min(r.moves.span(), maxRange)
	if f := r.comingLocked(r.moves.start+step, 1); f != nil && f.open {
		return 0, 0 // the stream goes through sooner
	}
	// A range lies in a chunk of its own, or in several.
	room := r.cfg.Blocks.Stats().Limit / aheadShare / (span + blocks.ChunkSize)
	for most := min(int64(a.ranges), room); (a.next-r.moves.start)/step <= most; a.next += step {
		if a.next < 0 || a.next >= r.size {
			return 0, 0
		}
		if r.cachedAtLocked(a.next) || r.comingLocked(a.next, int(span)) != nil {
			continue
		}
		start, end = a.next/pageSize*pageSize, min(a.next+span, r.size)
		a.next += step
		return start, end
	}
	return 0, 0
}

func (r *Reader) cachedAtLocked(pos int64) bool {
	return r.cfg.Blocks.Has(r.key, pos/blocks.ChunkSize, int(pos%blocks.ChunkSize))
}

// allThereLocked is told when the last byte of a fetch came, before the READs that wait for it: pieces have the length that the
// line carries in a moment.
func (r *Reader) allThereLocked(f *fetch) {
	a := r.ahead
	if a == nil || a.course != courseBack || f.leaving || !f.ahead && !f.piece {
		return
	}
	if took := r.cfg.Now().Sub(f.since); took > slowPiece {
		a.slow, a.length = true, max(blocks.ChunkSize, a.length/2)
	} else if a.slow && f.end-f.start >= a.length { // that was a moment, or it fits now
		a.length = min(2*a.length, max(blocks.ChunkSize, r.pieceLocked()))
	}
}

// aheadOverLocked is told of the end of a fetch ahead.
func (r *Reader) aheadOverLocked(f *fetch, err error) {
	a := r.ahead
	switch {
	case a == nil || f.leaving || errors.Is(err, errStopped):
	case err != nil:
		a.refused = true
		if a.course == courseBack {
			a.next = max(a.next, f.end)
		}
	default:
		r.aheadLocked()
	}
}
