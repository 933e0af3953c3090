package reader

import (
	"errors"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// A single flow may be the limit: a server or a path that caps every connection, a window too small for a long line. It is
// measured, not assumed: while the reader has nothing ahead of it the rate of its stream is taken, then a second flow is
// added. If both together carry clearly more, and again with more of them, the file is read in segments side by side;
// otherwise all goes on by one stream.
const (
	maxFlows   = 6
	proofTime  = 500 * time.Millisecond // shortest time over which a rate is taken
	knownTime  = 150 * time.Millisecond // the same where several flows were proven to help already
	proofBytes = 256 << 10              // and least bytes of each flow
	maxProofs  = 3                      // in a row without success end the trial: a busy machine spoils single ones
	behind     = 512 << 10              // a reader with more ahead of it does not wait for the line
	worthTime  = 2 * time.Second        // what is left of a file must take one flow longer
	leadTime   = 150 * time.Millisecond // before the end of a segment the next one is begun
	minSegment = 1 << 20
	maxSegment = 8 << 20
)

// steps are the numbers of flows that are tried one after the other.
var steps = []int{1, 2, 4, maxFlows}

// train is a file that is read in segments by several flows. It lives in Reader.train and is guarded by Reader.mu.
type train struct {
	flows  int   // at a time
	length int64 // of a segment
	room   int64 // how far ahead of the reader segments may end
	lead   int64 // bytes before its end at which a segment does not count as a flow any more
	next   int64 // where the next segment begins

	was      int     // flows before the present number
	rate     float64 // of those, in bytes a second
	failed   int     // proofs in a row that they carry more than those
	settled  bool    // flows is right
	measured measure
}

// measure is the account of a rate.
type measure struct {
	since  time.Time // zero: not begun
	from   int64     // Reader.received then
	waited int64     // bytes since then that a READ waited for
}

// rate gives the bytes a second since the begin if that took long enough.
func (m *measure) rate(now time.Time, received, least int64, long time.Duration) (float64, bool) {
	took, n := now.Sub(m.since), received-m.from
	if m.since.IsZero() || took < long || n < least {
		return 0, false
	}
	return float64(n) / took.Seconds(), true
}

// paceLocked looks, behind each n bytes that came, whether more flows would help. waited: a READ waited for them.
func (r *Reader) paceLocked(f *fetch, n int, waited bool) {
	switch {
	case r.train != nil && f.segment:
		r.train.paceLocked(r)
		r.fillLocked()
	case r.train == nil && f.open && f == r.last:
		r.considerLocked(f, n, waited)
	}
}

// considerLocked takes the rate of a single stream and begins a train when the reader always waits for it.
func (r *Reader) considerLocked(f *fetch, n int, waited bool) {
	now := r.cfg.Now()
	if f.pos-r.at > behind || f.held || f.slice.pressed || f.leaving || f.discard {
		r.alone = measure{} // the line is faster than the reader, which may stand still, or others need it
		return
	}
	if r.alone.since.IsZero() {
		r.alone = measure{since: now, from: r.received}
		return
	}
	if waited {
		r.alone.waited += int64(n)
	}
	known, ok := r.line.ask(now)
	long := proofTime
	if known > 1 {
		long = knownTime
	}
	rate, enough := r.alone.rate(now, r.received, proofBytes, long)
	if !ok || !enough {
		return
	}
	always := r.alone.waited >= (r.received-r.alone.from)*7/8
	r.alone = measure{since: now, from: r.received}
	if !always {
		return
	}
	if t := r.trainLocked(f, rate, max(known, steps[1])); t != nil {
		r.train = t
		f.segment, f.shortened, f.end = true, true, t.next
		r.fillLocked()
	}
}

// trainLocked plans a train behind the stream f; nil when it is not worth it or there is no memory for it. A file whose
// exact time is not known is not taken apart: its versions could not be told from each other.
func (r *Reader) trainLocked(f *fetch, rate float64, flows int) *train {
	if was := r.expected(); was == nil || !was.Exact || was.Size != r.size {
		return nil
	}
	t := &train{flows: flows, was: 1, rate: rate}
	t.room = min(maxWindow, r.cfg.Blocks.Stats().Limit/2)
	t.length = t.lengthLocked(r, f.pos)
	t.lead = min(int64(rate*leadTime.Seconds()), t.length/4)
	begin := max(f.pos, f.demand) + blocks.ChunkSize - 1
	t.next = begin/blocks.ChunkSize*blocks.ChunkSize + t.length/2
	if t.room < minSegment*int64(flows) || float64(r.size-f.pos) < rate*worthTime.Seconds() || r.size-t.next < minSegment {
		return nil
	}
	return t
}

func (r *Reader) expected() *pool.Entry {
	if r.cfg.Expect == nil {
		return nil
	}
	return r.cfg.Expect()
}

// flowsLocked counts the segments under way; begun: only those that bring bytes.
func (r *Reader) flowsLocked(begun bool) int {
	n := 0
	for _, f := range r.fetches {
		if f.segment && f.running && !f.leaving && !f.stopping && f.end-f.pos > r.train.lead && (!begun || f.pos > f.start) {
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
		end := min(t.next+t.lengthLocked(r, t.next), r.size)
		if r.size-end < minSegment/2 { // not worth a transfer of its own
			end = r.size
		}
		r.segmentLocked(t.next, end, true)
		t.next = end
	}
	if t.flows == 1 && t.next < r.size && r.flowsLocked(false) == 0 {
		r.train = nil
		r.openLocked(t.next, r.size, true)
	}
}

// segmentLocked starts a piece of a train. Those that nobody waits for yet take a connection that can be spared, and give it
// back when somebody wants it.
func (r *Reader) segmentLocked(start, end int64, background bool) *fetch {
	f := r.newFetchLocked(start, end, false)
	f.segment, f.background = true, background
	r.line.segments.Add(1)
	r.launchLocked(f)
	return f
}

// paceLocked takes the rate of all flows and decides whether there should be more or fewer.
func (t *train) paceLocked(r *Reader) {
	now := r.cfg.Now()
	// Flows that stand idle for want of room: the reader is slower than the line, as far as one can see.
	full := t.next < r.size && t.next+t.length-r.at > t.room && r.flowsLocked(false) < t.flows
	switch {
	case t.settled || full:
		t.measured = measure{}
		return
	case t.measured.since.IsZero():
		if r.flowsLocked(true) >= t.flows {
			t.measured = measure{since: now, from: r.received}
		}
		return
	}
	rate, enough := t.measured.rate(now, r.received, proofBytes*int64(t.flows), proofTime)
	if !enough {
		return
	}
	t.measured = measure{}
	// Half of what the added flows would carry if each was as fast as one before is proof; it is far from noise.
	if rate < t.rate*(1+float64(t.flows-t.was)/float64(t.was)/2) {
		if t.failed++; t.failed == maxProofs {
			t.fewerLocked(r, t.was)
		}
		return
	}
	t.failed = 0
	r.line.proven(t.flows)
	t.was, t.rate = t.flows, rate
	i := slices.Index(steps, t.flows)
	if i < 0 || i == len(steps)-1 {
		t.settled = true
		return
	}
	t.flows = steps[i+1]
	t.length = t.lengthLocked(r, t.next)
}

// lengthLocked is how long a segment at pos should be: they share the room, and get shorter towards the end of the file, so that
// all flows come to it at about the same time. One share is left for the segment that follows the oldest, which the reader has
// not left behind yet: without it a flow would stand idle each time.
func (t *train) lengthLocked(r *Reader, pos int64) int64 {
	most := min(maxSegment, min(t.room, r.size-pos)/int64(t.flows+1))
	return max(minSegment, most/blocks.ChunkSize*blocks.ChunkSize)
}

// fewerLocked goes on with that many flows. What is under way is brought to its end.
func (t *train) fewerLocked(r *Reader, flows int) {
	t.flows, t.settled = max(1, flows), true
	if t.flows == 1 {
		r.line.refuse(r.cfg.Now())
	}
}

// yieldLocked gives a flow back because somebody waits for the connection of f: that one, or when a READ waits for it, which
// is a matter of its fair rest, the last that nobody reads from as well.
func (r *Reader) yieldLocked(f *fetch) {
	t := r.train
	t.flows, t.settled = max(1, t.flows-1), true
	for _, g := range slices.Backward(r.fetches) {
		if f.refs > 0 && g.segment && g.running && !g.leaving && g.refs == 0 && g.start > f.start {
			f = g
		}
	}
	if f.refs > 0 {
		return
	}
	if f.end == t.next {
		t.next = f.pos
	}
	f.leaveLocked()
}

// mendLocked serves a READ of a train that no segment is about to serve: one broke, was given up, or still waits for a
// connection. nil: the READ is elsewhere.
func (r *Reader) mendLocked(pos int64, n int) *fetch {
	t := r.train
	if t == nil || pos < r.at-keepBehind || pos > r.at+maxSkip+2*int64(n) {
		return nil
	}
	end := max(t.next, min(pos+t.length, r.size))
	for _, f := range slices.Clone(r.fetches) {
		switch {
		case f.start > pos && f.start < end && !f.leaving:
			end = f.start
		case f.running && f.start <= pos && pos < f.end: // it has not begun, or is on its way out
			end = min(end, f.end)
			f.leaveLocked()
		}
	}
	t.next = max(t.next, end)
	return r.segmentLocked(pos, end, false)
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
		if f.end == t.next {
			t.next = f.pos
		}
		t.fewerLocked(r, r.flowsLocked(false))
		r.fillLocked()
	case err != nil && !errors.Is(err, errStopped): // the READs that need its bytes get to hear of it
		r.train = nil
	default:
		r.fillLocked()
	}
}
