package reader

import (
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// A new connection may stand still again and again before it has found its rate: a server that sleeps whenever its send queue is full
// (ProFTPD), a line that loses much. To wait for the rate of one flow, then of three and then of all, takes seconds each time. So where a
// stream stands still at its begin, segments are begun beside it at once, to come up together with it. What one flow carries is taken before
// they do.
const (
	stallTime  = 250 * time.Millisecond
	slowStart  = 2 * stallTime // what a segment takes besides its bytes where connections begin so
	fastBytes  = 512 << 10     // behind so many a flow is up
	worthBytes = 32 << 20      // of a file must be left where the rate is not known
	earlyFlows = 4             // at first
)

// worthLocked says whether what is left of the file is worth a train. rate 0: not known.
func (r *Reader) worthLocked(f *fetch, rate float64) bool {
	left := r.size - f.pos
	if rate == 0 {
		return left >= worthBytes
	}
	return float64(left) >= rate*worthTime.Seconds()
}

// widenLocked makes segments longer where each costs much. They hold no more than half of their room at a time, so that all is used of the
// memory; where they cost little, room that is not there now and then would cost more.
func (t *train) widenLocked(r *Reader) {
	t.room = min(maxRoom, r.cfg.Blocks.Stats().Limit) * 7 / 4
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

// baselineLocked takes what the stream of a train carries while the others stand still. Where that is not to be had, as the stream is through
// its part before, or another flow is up, or one flow is through soon, all goes on by the stream.
func (r *Reader) baselineLocked(now time.Time) {
	stream := r.streamLocked()
	switch {
	case stream == nil || r.fastLocked() > 1 || stream.end-stream.pos <= 2*blocks.ChunkSize:
		r.dissolveLocked(stream)
		return
	case stream.pos-stream.start < fastBytes:
		return
	case r.alone.since.IsZero():
		r.alone = measure{since: now, from: r.received}
		return
	}
	rate, enough := r.alone.rate(now, r.received, proofBytes, aloneTime)
	if !enough {
		return
	}
	steady := rate < r.alone.before*grows
	r.alone = measure{since: now, from: r.received, before: rate}
	switch {
	case !r.worthLocked(stream, rate):
		r.dissolveLocked(stream)
	case steady:
		r.train.rate, r.train.raised = rate, now
		r.train.aloneLocked(rate)
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
	if t.ended < maxFlows || f.open || f.renewed || f.stalls <= t.stalls+1 || f.stopping || f.leaving || f.pos == f.end {
		return
	}
	f.renewed = true
	if len(f.waiters) > 0 {
		f.stopLocked() // the READ begins it
		return
	}
	f.leaveLocked()
	r.segmentLocked(f.pos, f.end, true).renewed = true
}
