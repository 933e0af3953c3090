package reader

import (
	"errors"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// A single flow may be the limit: a server or a path that caps every connection, a window too small for a long line. It is
// measured, not assumed: while the reader has nothing ahead of it the rate of its stream is taken, as soon as that does not grow any
// more, then two flows are added. If all together carry clearly more, and again with more of them, the file is read in segments side by
// side; otherwise all goes on by one stream.
const (
	behind     = 512 << 10              // a reader with more ahead of it does not wait for the line
	worthTime  = 2 * time.Second        // what is left of a file must take one flow longer
	leastTime  = 300 * time.Millisecond // and a segment one flow that
	leadTime   = 150 * time.Millisecond // before the end of a segment the next one is begun
	patience   = 2 * leadTime           // of a READ with a segment that has no connection yet
	minSegment = 1 << 20
	maxSegment = 64 << 20
	maxMemory  = 128 << 20 // that a train takes at most
	spare      = 4         // chunks that segments leave free for the one that the reader is at
)

// train is a file that is read in segments by several flows. It lives in Reader.train and is guarded by Reader.mu.
type train struct {
	most   int   // flows that there may ever be
	flows  int   // at a time
	length int64 // of a segment, but towards the end of the file
	least  int64 // of a segment: what one flow carries while the next one begins is little beside it
	room   int64 // how far ahead of the reader segments may end
	lead   int64 // bytes before its end at which a segment does not count as a flow any more
	next   int64 // where the next segment begins

	was      int       // flows that rate is of
	proven   int       // flows that are known to carry more than fewer
	rate     float64   // of fewer flows than now, in bytes a second; 0: to be taken yet, as the stream stood still
	failed   int       // proofs in a row that all carry more than those
	settled  bool      // flows is right
	raised   time.Time // when it grew
	granted  int       // most that had connections since then
	young    int       // flows that were there then, and segments begun since
	ended    int       // segments that came to their ends
	stalls   int       // most of one of those
	measured measure

	alone    float64       // bytes a second of a flow that is under way; 0: not known
	overhead time.Duration // what a segment took besides its bytes at that rate, averaged
}

// trainLocked plans a train behind the stream f; nil when it is not worth it or there is no memory for it. A file whose
// exact time is not known is not taken apart: its versions could not be told from each other. rate 0: not known yet.
func (r *Reader) trainLocked(f *fetch, rate float64, flows int) *train {
	if was := r.expected(); was == nil || !was.Exact || was.Size != r.size {
		return nil
	}
	most := r.mostFlowsLocked()
	t := &train{most: most, flows: min(flows, most), was: 1, proven: 1, rate: rate, raised: r.cfg.Now()}
	t.planLocked(r)
	t.aloneLocked(rate)
	begin := max(f.pos, f.demand) + blocks.ChunkSize - 1
	t.next = begin/blocks.ChunkSize*blocks.ChunkSize + t.nextLocked(r)
	if t.flows == 1 || t.length < minSegment || !r.worthLocked(rate) || r.size-t.next < minSegment {
		return nil
	}
	return t
}

// aloneLocked takes account of what one flow carries, in bytes a second.
func (t *train) aloneLocked(rate float64) {
	t.alone = rate
	t.least = max(minSegment, min(int64(rate*leastTime.Seconds()), t.length/2))
	t.lead = min(int64(rate*leadTime.Seconds()), t.least/4)
}

// mostFlowsLocked is how many downloads of a file there may be at a time.
func (r *Reader) mostFlowsLocked() int {
	if r.cfg.MaxFlows == nil {
		return maxFlows
	}
	return min(maxFlows, r.cfg.MaxFlows())
}

func (r *Reader) expected() *pool.Entry {
	if r.cfg.Expect == nil {
		return nil
	}
	return r.cfg.Expect()
}

// carriesLocked tells whether f is a segment under way that is not about to end.
func (t *train) carriesLocked(f *fetch) bool {
	return f.segment && f.running && !f.leaving && !f.stopping && f.end-f.pos > t.lead
}

// flowsLocked counts the segments under way; begun: only those that bring bytes.
func (r *Reader) flowsLocked(begun bool) int {
	n := 0
	for _, f := range r.fetches {
		if r.train.carriesLocked(f) && (!begun || f.pos > f.start) {
			n++
		}
	}
	return n
}

// fillLocked starts the segments that the train may have. It is called when one came to its end or the reader moved on.
func (r *Reader) fillLocked() {
	t := r.train
	if t == nil || r.closed {
		return
	}
	for t.flows > 1 && t.next < r.size && t.next+t.length-r.at <= t.room && r.flowsLocked(false) < t.flows {
		end := min(t.next+t.nextLocked(r), r.size)
		if r.size-end < t.leastNow()/2 { // not worth a transfer of its own
			end = r.size
		}
		r.segmentLocked(t.next, end, true)
		t.next = end
	}
	if t.flows == 1 && t.next < r.size && r.lastSegmentLocked() == nil {
		r.train = nil
		r.openLocked(t.next, r.size, true)
	}
}

// lastSegmentLocked gives the segment under way at which the train ends, nil when there is none.
func (r *Reader) lastSegmentLocked() *fetch {
	for _, f := range r.fetches {
		if f.segment && f.running && !f.leaving && !f.stopping && f.end == r.train.next {
			return f
		}
	}
	return nil
}

// segmentLocked starts a piece of a train. Those that nobody waits for yet take a connection that can be spared, and give it
// back when somebody wants it.
func (r *Reader) segmentLocked(start, end int64, background bool) *fetch {
	f := r.newFetchLocked(start, end, false)
	f.segment, f.background = true, background
	f.far = start - r.at
	for _, g := range r.fetches {
		if g.segment && g.running && !g.begun && g.start < start {
			f.far = max(f.far, g.far+1)
		}
	}
	r.line.segments.Add(1)
	r.launchLocked(f)
	return f
}

// planLocked makes segments as long as the memory allows with as many flows as there may be. They come to their ends one by one: when one is given to
// the reader and the next one begins, those between have brought from next to nothing to next to all of theirs, half of it on average. A
// quarter of the memory is for those that are not as regular. One more may end ahead of the reader than there are flows, as the reader
// has not left the oldest behind when the next one begins: without that a flow would stand idle each time.
func (t *train) planLocked(r *Reader) {
	flows := t.plannedLocked()
	memory := min(maxMemory, r.cfg.Blocks.Stats().Limit)
	t.length = min(maxSegment, memory*3/4*2/int64(max(1, flows-1))) / blocks.ChunkSize * blocks.ChunkSize
	t.room = t.length * int64(flows+1)
}

// plannedLocked is how many flows there may be in the end.
func (t *train) plannedLocked() int {
	if t.settled {
		return t.flows
	}
	return t.most
}

// lengthLocked is how long a segment at pos should be. They get shorter towards the end of the file, so that all flows come to it at about the
// same time.
func (t *train) lengthLocked(r *Reader, pos int64) int64 {
	length := t.length
	if left := r.size - pos; left < t.room/2 {
		length = min(length, t.evenLocked(r, left))
	}
	return max(t.leastNow(), length) / blocks.ChunkSize * blocks.ChunkSize
}

// evenLocked is the length with which a flow that is free now comes to its end when all others do, each with one more segment, if left
// bytes are shared by them.
func (t *train) evenLocked(r *Reader, left int64) int64 {
	var busy []float64 // what each has to carry before that
	for _, f := range r.fetches {
		if t.carriesLocked(f) {
			busy = append(busy, float64(f.end-f.pos))
		}
	}
	slices.Sort(busy)
	over := t.overhead.Seconds() * t.alone // what a flow would carry while it begins
	free := max(1, t.plannedLocked()-len(busy))
	sum := float64(left) + over*float64(free)
	for _, b := range busy {
		if free == t.plannedLocked() || b+over >= sum/float64(free) {
			break
		}
		sum, free = sum+b+over, free+1
	}
	return int64(sum/float64(free) - over)
}

// nextLocked is the length of the segment that is begun now. The first ones beside each other, the rest of the stream among them, get longer one
// by one, so that from then on their ends, where a flow stands still for some round trips and its memory is given to the reader, do not come
// all at once.
func (t *train) nextLocked(r *Reader) int64 {
	n := t.lengthLocked(r, t.next)
	if t.young++; t.young < t.flows {
		n = max(t.leastNow(), n*int64(t.young)/int64(t.flows)) / blocks.ChunkSize * blocks.ChunkSize
	}
	return n
}

// leastNow is the shortest segment that is worth its overhead. There are servers that stand still again and again until a new
// connection has found its rate.
func (t *train) leastNow() int64 {
	return max(t.least, min(int64(t.alone*t.overhead.Seconds()), t.length))
}

// yieldLocked gives a connection back because somebody waits for that of f: of the segments that bring bytes and that no READ waits for, the
// one furthest ahead, from f on. What it has not brought yet is asked for again at once, and comes before what lies further ahead when a
// connection can be spared: the train has no gap, which a READ could only close by asking somebody else to make room. A READ that waits for
// f has its fair rest.
func (r *Reader) yieldLocked(f *fetch) {
	r.train.measured = measure{}
	last := f
	for _, g := range r.fetches {
		if g.segment && g.running && g.begun && !g.leaving && g.refs == 0 && g.start > last.start {
			last = g
		}
	}
	if last.refs > 0 || last.leaving {
		return
	}
	last.giveWayLocked()
	if last.pos < last.end {
		r.segmentLocked(last.pos, last.end, true)
	}
}

// mendLocked serves a READ of a train that no segment is about to serve: one broke, was given up, or still waits for a
// connection. nil: the READ is elsewhere.
func (r *Reader) mendLocked(pos int64, n int) *fetch {
	t := r.train
	if t == nil || pos < r.at-keepBehind || pos > r.at+maxSkip+2*int64(n) {
		return nil
	}
	if t.flows == 1 && pos >= t.next {
		if f := r.lastSegmentLocked(); f != nil && f.begun {
			return f // the stream behind it is begun when that is over: one flow is all there is
		}
	}
	end := max(t.next, min(pos+t.length, r.size))
	for _, f := range slices.Clone(r.fetches) {
		switch {
		case f.start > pos && f.start < end && !f.leaving:
			end = f.start
		case f.running && f.start <= pos && pos < f.end: // it has not begun, or is on its way out
			if f.patientLocked() {
				return f
			}
			end = min(end, f.end)
			f.leaveLocked()
		}
	}
	t.next = max(t.next, end)
	return r.segmentLocked(pos, end, false)
}

// patientLocked says whether a READ may wait for a segment that stands in the queue for a connection: not for long, and then in earnest.
// Most often the connection of the segment that the reader has just come to the end of is on its way to it.
func (f *fetch) patientLocked() bool {
	if !f.background || f.begun || f.leaving || f.stopping {
		return false
	}
	if f.patience == nil {
		f.patience = f.r.cfg.AfterFunc(patience, func() {
			f.r.mu.Lock()
			defer f.r.mu.Unlock()
			if f.running && !f.begun {
				f.stopLocked()
			}
		})
	}
	return true
}

// endTrainLocked lets go of what is ahead: the reader is elsewhere, or the content is.
func (r *Reader) endTrainLocked() {
	if r.train == nil {
		return
	}
	r.train, r.alone = nil, measure{}
	for _, f := range slices.Clone(r.fetches) {
		if f.segment {
			f.leaveLocked()
		}
	}
}

// segmentOverLocked is told of the end of a segment, whatever it was.
func (r *Reader) segmentOverLocked(f *fetch, err error) {
	switch t := r.train; {
	case t == nil || r.closed:
	case f.spurnedLocked(err):
		t.next = min(t.next, r.soughtLocked())
		t.grantLocked(r, r.flowsLocked(false))
		r.fillLocked()
	case err != nil && !errors.Is(err, errStopped): // the READs that need its bytes get to hear of it
		r.train = nil
	default:
		t.tookLocked(r, f)
		t.starvedLocked(r)
		r.fillLocked()
	}
}

// soughtLocked is where the last segment ends that is there or under way. Several that are refused at once come to their ends in any order:
// what is behind the last that is left has to be sought again, and is not only what the one refused just now would have brought.
func (r *Reader) soughtLocked() int64 {
	end := r.at / blocks.ChunkSize * blocks.ChunkSize
	for _, f := range r.fetches {
		switch {
		case !f.segment || f.leaving || f.stopping:
		case f.running:
			end = max(end, f.end)
		case len(f.slots) > 0:
			end = max(end, f.pos)
		}
	}
	return end
}

// mergeLocked lets the stream that the train began with go on to the end of the file when it is the only flow and nothing was brought behind
// it: with a single connection no piece is cut out of it.
func (r *Reader) mergeLocked() {
	stream := r.streamLocked()
	if stream == nil || stream.pos == stream.end || stream.end != r.train.next {
		return
	}
	for _, f := range r.fetches {
		if f.segment && !f.leaving && !f.stopping && (f.running || len(f.slots) > 0) && f.end > r.train.next {
			return
		}
	}
	r.releaseLocked(stream)
	r.train = nil
}

// releaseLocked lets the stream that a train began with go on to the end of the file.
func (r *Reader) releaseLocked(stream *fetch) {
	stream.segment, stream.shortened, stream.end = false, false, r.size
	r.last = stream
}
