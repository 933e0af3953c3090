package reader

import (
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// A new connection may stand still again and again before it has found its rate: a server that sleeps whenever its send queue is full
// (ProFTPD), a line that loses much. To wait for the rate of one flow, then of three and then of all, takes seconds each time. So where a
// stream stands still at its begin, segments are begun beside it at once, to come up together with it.
const (
	stallTime  = 250 * time.Millisecond
	slowStart  = 2 * stallTime // what a segment takes besides its bytes where connections begin so
	fastBytes  = 512 << 10     // behind so many a flow is up
	worthBytes = 32 << 20      // of a file must be left where the rate is not known
	earlyFlows = 4             // at first
)

// worthLocked says whether what is left of the file is worth a train. rate 0: not known.
func (r *Reader) worthLocked(rate float64) bool {
	left := r.size - r.at
	if rate == 0 {
		return left >= worthBytes
	}
	return float64(left) >= rate*worthTime.Seconds()
}

// fastLocked counts the flows that are up.
func (r *Reader) fastLocked() int {
	n := 0
	for _, f := range r.fetches {
		if f.segment && f.running && !f.leaving && !f.stopping && f.pos-f.start >= fastBytes {
			n++
		}
	}
	return n
}

// baselineLocked takes what the first flows of a train carry, most often the stream alone, while others stand still. Where that is not to be
// had, as the stream is through its part before, or all are up at once and no more may be added, or one flow is through soon, all goes on by
// the stream.
func (r *Reader) baselineLocked(now time.Time) {
	t, stream, fast := r.train, r.streamLocked(), r.fastLocked()
	switch {
	case fast < 2 && (stream == nil || stream.end-stream.pos <= 2*blocks.ChunkSize), fast == t.most:
		r.dissolveLocked(stream)
		return
	case fast == 0 || fast > t.flows/2 && fast < t.flows: // too near to what it is to be compared with
		r.alone = measure{}
		return
	case r.alone.since.IsZero() || fast != t.was:
		t.was, r.alone = fast, measure{since: now, from: r.received}
		return
	}
	rate, enough := r.alone.rate(now, r.received, proofBytes, aloneTime)
	if !enough {
		return
	}
	steady := rate < r.alone.before*grows
	r.alone = measure{since: now, from: r.received, before: rate}
	switch {
	case !r.worthLocked(rate / float64(fast)):
		r.dissolveLocked(stream)
	case steady:
		t.rate, t.raised = rate, now
		t.aloneLocked(rate / float64(fast))
		if fast == t.flows {
			t.growLocked(r, now)
		}
	}
}

// streamLocked gives the stream that the train began with, nil when it is over.
func (r *Reader) streamLocked() *fetch {
	for _, f := range r.fetches {
		if f.open && f.segment && f.running && !f.leaving && !f.stopping {
			return f
		}
	}
	return nil
}

// dissolveLocked ends a train of which nothing is known. The stream goes on; if it is over another one does, behind the segments that are there.
func (r *Reader) dissolveLocked(stream *fetch) {
	if stream == nil {
		r.train.flows, r.train.settled = 1, true
		return
	}
	r.releaseLocked(stream)
	r.endTrainLocked()
}

// renewLocked begins the rest of a segment anew that stood still more often than any before it: it has come into a state that others
// pass by, and would hold up the reader for seconds.
func (r *Reader) renewLocked(f *fetch) {
	t := r.train
	if t.ended < maxFlows || f.open || f.renewed || f.stalls <= t.stalls+3 || f.stopping || f.leaving || f.pos == f.end {
		return
	}
	f.renewed = true
	if len(f.waiters) > 0 {
		f.stopLocked() // the READ begins it
		return
	}
	f.giveWayLocked()
	r.segmentLocked(f.pos, f.end, true).renewed = true
}
