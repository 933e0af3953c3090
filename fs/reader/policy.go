package reader

import (
	"context"
	"slices"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// Sizes in bytes that decide between going on, waiting and asking the server again.
const (
	minWindow  = 1 << 20   // first window of a stream
	maxWindow  = 32 << 20  // most that a window grows to
	keepBehind = 512 << 10 // of what was read, kept for READs that arrive late
	maxSkip    = 1 << 20   // read and thrown away rather than asked for anew
	minRange   = 8 << 10   // least that is asked for at a place: the first flight of a new TCP connection brings it
	maxRange   = 1 << 20   // largest; a reader that goes on behind it is sequential
	smallFile  = 256 << 10 // fetched from its begin, wherever the first READ is

	maxSeeks = 3 // streams given up before the handle turns to bounded downloads
)

// comingLocked gives the fetch that is about to deliver pos: it is worth waiting for.
func (r *Reader) comingLocked(pos int64, n int) *fetch {
	for _, f := range r.fetches {
		near := f.ahead || pos <= f.reachLocked(n)
		if f.running && !f.stopping && !f.leaving && (f.begun || !f.background) && f.pos <= pos && pos < f.end && near {
			return f
		}
	}
	return nil
}

// reachLocked is how far ahead of the stream a READ of n bytes may be to wait for it. READs of one sequential reader
// overtake each other, hence the two of its own size.
func (f *fetch) reachLocked(n int) int64 { return max(f.pos, f.demand) + reach(int64(n)) }

func reach(n int64) int64 { return maxSkip + 2*n }

// goesOnLocked tells whether a READ of n bytes at pos follows what was read before, as opposed to a seek.
func (r *Reader) goesOnLocked(pos int64, n int) bool {
	l := r.last
	switch {
	case l == nil:
		return true
	case l.segment:
		return r.at-keepBehind <= pos && pos <= r.at+maxSkip+2*int64(n)
	case l.open:
		return l.cursor-keepBehind <= pos && pos <= l.reachLocked(n)
	}
	return l.end <= pos && pos <= l.end+2*int64(n)
}

// startLocked starts the fetch for a READ that nothing else serves.
func (r *Reader) startLocked(pos int64, n int) *fetch {
	if f := r.mendLocked(pos, n); f != nil {
		return f
	}
	goesOn := r.goesOnLocked(pos, n)
	r.endTrainLocked()
	for _, f := range slices.Clone(r.fetches) {
		// The reader is elsewhere now. What a fetch that is over has ahead of a sequential reader stays.
		if (f.open || f.segment) && (f.running || !goesOn) {
			f.leaveLocked()
		}
	}
	if f := r.startAlongLocked(pos, n); f != nil {
		return f
	}
	through := r.moves.course() == courseThrough
	switch {
	case through:
		r.ranged, r.seeks = false, 0
	case !goesOn && !r.ranged:
		r.window = minWindow
		r.seeks++
		r.ranged, r.rangeLen = r.seeks >= maxSeeks, 0
	case goesOn && r.ranged && r.rangeLen >= maxRange:
		r.ranged, r.seeks = false, 0
	}
	if r.ranged {
		return r.startRangeLocked(pos, n, goesOn)
	}
	start := pos
	if r.size <= smallFile || r.last == nil && pos <= smallFile {
		start = 0 // for READs that come in the wrong order, too
	}
	f := r.newFetchLocked(start, r.size, true)
	// The first READ of a handle says that all of the file will be read when it is for its begin. Anywhere else, and behind each
	// seek, only the next READ can say that the reader goes on: until then the server is asked for all of the rest, so that going
	// on costs nothing, but no more is taken from it than from a bounded download.
	if first := r.last == nil && pos == 0; !first && !through && !r.moves.follows && r.size > smallFile {
		f.held, f.until = true, min(pos+max(int64(n), minRange), r.size)
	}
	r.launchLocked(f)
	return f
}

// goOnLocked lets the stream that is about to serve a READ go on for good: the reader does.
func (r *Reader) goOnLocked(pos int64, n int) {
	for _, f := range r.fetches {
		if f.held && f.start <= pos && pos <= f.reachLocked(n) {
			f.held = false
			f.poke()
		}
	}
}

// startRangeLocked starts a bounded download: no more than the READ and little besides, in a block of which something was
// read before, or is just being read, all of it, and larger each time that the reader goes on behind the one before.
func (r *Reader) startRangeLocked(pos int64, n int, goesOn bool) *fetch {
	start, block := pos/pageSize*pageSize, pos/blocks.ChunkSize
	length := max(minRange, int64(n))
	switch {
	case goesOn:
		start = min(r.last.end, pos) // the part before is there already
		length = min(max(4*r.rangeLen, length), maxRange)
	case r.knownLocked(block):
		start, length = block*blocks.ChunkSize, blocks.ChunkSize
	default:
		length = min(length, (block+1)*blocks.ChunkSize-start) // a chunk holds it
	}
	end := min(max(start+length, pos+int64(n)), r.size)
	r.rangeLen = end - start
	return r.openLocked(start, end, false)
}

// knownLocked tells whether anything of a block was fetched already, or is under way.
func (r *Reader) knownLocked(block int64) bool {
	if r.cfg.Blocks.HasBlock(r.key, block) {
		return true
	}
	return slices.ContainsFunc(r.fetches, func(f *fetch) bool {
		return !f.open && f.running && f.start/blocks.ChunkSize <= block && block*blocks.ChunkSize < f.end
	})
}

// openLocked starts a new fetch.
func (r *Reader) openLocked(start, end int64, open bool) *fetch {
	f := r.newFetchLocked(start, end, open)
	r.launchLocked(f)
	return f
}

func (r *Reader) newFetchLocked(start, end int64, open bool) *fetch {
	f := &fetch{r: r, key: r.key, start: start, end: end, open: open, pos: start, until: start, cursor: start, demand: start,
		running: true, launched: r.cfg.Now(), wake: make(chan struct{}, 1), over: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.holder = r.team.NewHolder(f.relief)
	return f
}

// launchLocked starts the goroutine of a fetch.
func (r *Reader) launchLocked(f *fetch) {
	r.fetches = append(r.fetches, f)
	if !f.ahead {
		r.last = f
	}
	r.armIdleLocked()
	r.wg.Add(1)
	go f.run()
}
