package reader

import (
	"slices"
	"time"
)

const (
	maxFlows   = 7                      // one is left of the eight connections of the default
	aloneTime  = 150 * time.Millisecond // shortest time over which the rate of a single stream is taken
	proofTime  = 500 * time.Millisecond // and that of several flows
	proofBytes = 256 << 10              // and least bytes of each flow
	maxProofs  = 3                      // in a row without success end the trial: a busy machine spoils single ones
	grantTime  = 2 * time.Second        // a connection that can be had is there by then
	grows      = 1.25                   // a stream that gets so much faster from one measurement to the next has not found its rate: TCP begins slowly
	helps      = 0.25                   // of what the added flows would carry if each was as fast as one before is proof
)

// steps are the numbers of flows that are tried one after the other.
var steps = []int{1, 3, maxFlows}

// measure is the account of a rate.
type measure struct {
	since  time.Time // zero: not begun
	from   int64     // Reader.received then
	waited int64     // bytes since then that a READ waited for
	before float64   // rate of the measurement before; 0: there was none
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
		r.renewLocked(f)
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
	known, alone, ok := r.line.ask(now)
	if ok && waited && f.stalled && f.pos-f.start < fastBytes {
		r.beginLocked(f, alone, max(known, min(earlyFlows, r.mostFlowsLocked()-1)))
		return
	}
	rate, enough := r.alone.rate(now, r.received, proofBytes, aloneTime)
	if !ok || !enough {
		return
	}
	if r.alone.waited < (r.received-r.alone.from)*7/8 { // the reader does not always wait
		r.alone = measure{since: now, from: r.received}
		return
	}
	steady := known > 1 || rate < r.alone.before*grows
	r.alone = measure{since: now, from: r.received, before: rate}
	if !steady {
		return
	}
	flows := steps[1]
	if r.mostFlowsLocked() == flows+1 {
		flows++ // one alone is not worth a proof of its own
	}
	r.beginLocked(f, rate, max(known, flows))
}

// beginLocked begins a train behind the stream f, if it is worth it.
func (r *Reader) beginLocked(f *fetch, rate float64, flows int) {
	if t := r.trainLocked(f, rate, flows); t != nil {
		r.train, r.alone = t, measure{}
		f.segment, f.shortened, f.end = true, true, t.next
		r.fillLocked()
	}
}

// paceLocked takes the rate of all flows and decides whether there should be more or fewer.
func (t *train) paceLocked(r *Reader) {
	now := r.cfg.Now()
	if t.rate == 0 && !t.settled {
		r.baselineLocked(now)
		return
	}
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
	fast := min(r.fastLocked(), t.flows)
	if rate < t.rate*(1+float64(t.flows-t.was)/float64(t.was)*helps) {
		if fast < t.flows && now.Sub(t.raised) < 2*grantTime || fast <= t.was && now.Sub(t.raised) < 6*grantTime {
			return // some are not up yet, or not again: where each begins slowly that is so most of the time
		}
		if t.failed++; t.failed == maxProofs {
			t.fewerLocked(r, t.proven)
		}
		return
	}
	t.failed = 0
	r.line.proven(t.flows, t.alone)
	t.was, t.proven, t.rate = t.flows, t.flows, rate
	if t.flows == t.most {
		t.settled = true
		return
	}
	t.growLocked(r, now)
}

// growLocked adds flows.
func (t *train) growLocked(r *Reader, now time.Time) {
	i := slices.IndexFunc(steps, func(n int) bool { return n > t.flows })
	t.flows, t.granted, t.raised, t.young = min(steps[i], t.most), t.flows, now, t.flows
	t.planLocked(r)
}

// tookLocked takes the overhead of a segment that came to its end in order.
func (t *train) tookLocked(r *Reader, f *fetch) {
	if f.open || f.pos < f.end || t.alone == 0 {
		return
	}
	t.stalls, t.ended = max(t.stalls, f.stalls), t.ended+1
	over := r.cfg.Now().Sub(f.since) - time.Duration(float64(f.end-f.start)/t.alone*float64(time.Second))
	t.overhead += (max(0, over) - t.overhead) / 4
}

// fewerLocked goes on with that many flows. What is under way is brought to its end, but what has not begun is not begun where one is left.
func (t *train) fewerLocked(r *Reader, flows int) {
	t.flows, t.settled = max(1, flows), true
	t.planLocked(r)
	if t.flows > 1 {
		return
	}
	r.line.refuse(r.cfg.Now())
	for _, f := range slices.Clone(r.fetches) {
		if f.segment && f.running && !f.begun && f.background {
			f.stopLocked()
		}
	}
	t.next = min(t.next, r.soughtLocked())
	r.mergeLocked()
}

// grantLocked lets the train go on with the flows that there are connections for, if these are enough for one. That they carry more than one
// is still to be proven.
func (t *train) grantLocked(r *Reader, flows int) {
	switch {
	case flows < steps[1] && (t.rate == 0 || t.overhead > slowStart): // two that stand still half of the time are no more than one
		t.fewerLocked(r, 1)
	case t.settled || flows <= t.was:
		t.fewerLocked(r, min(flows, t.proven))
	default:
		t.flows, t.measured = flows, measure{}
	}
}

// grantedLocked counts the connections that the train has got.
func (t *train) grantedLocked(r *Reader) {
	n := 0
	for _, f := range r.fetches {
		if f.segment && f.running && f.begun {
			n++
		}
	}
	t.granted = max(t.granted, n)
}

// starvedLocked lets the train go on with the flows that there were connections for, when more are not to be had: segments would only
// get shorter, and each costs a few round trips.
func (t *train) starvedLocked(r *Reader) {
	now := r.cfg.Now()
	starved := slices.ContainsFunc(r.fetches, func(f *fetch) bool {
		return f.segment && f.running && !f.begun && !f.leaving && now.Sub(f.launched) > patience
	})
	if t.settled || !starved || t.granted >= t.flows || now.Sub(t.raised) < grantTime {
		return
	}
	t.grantLocked(r, t.granted)
}
