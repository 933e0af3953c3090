package reader

import (
	"sync"
	"sync/atomic"
	"time"
)

// Line is what the readers of one mount have found out about the way to the server, and what they did. It may be shared and
// used concurrently.
type Line struct {
	segments, parallel, useless, ahead atomic.Int64

	mu      sync.Mutex
	flows   int       // at a time, that were proven to carry more than fewer; 0: never proven. guarded by mu
	alone   float64   // bytes a second of one, when that was proven; guarded by mu
	refused int       // proofs that failed in a row; guarded by mu
	askAt   time.Time // no proof is tried before; guarded by mu
}

// NewLine gives a line of which nothing is known.
func NewLine() *Line { return &Line{} }

// LineStats are counters.
type LineStats struct {
	Segments int64 `json:"segments"` // pieces of large files that were downloaded beside each other
	Parallel int64 `json:"parallel"` // times that several flows were proven to carry more than one
	Useless  int64 `json:"useless"`  // times that they were tried and did not
	Ahead    int64 `json:"ahead"`    // ranges that were fetched before they were asked for, because the reader showed a pattern
}

// Stats gives the counters.
func (l *Line) Stats() LineStats {
	return LineStats{Segments: l.segments.Load(), Parallel: l.parallel.Load(), Useless: l.useless.Load(), Ahead: l.ahead.Load()}
}

// After a proof that failed the next one waits, longer each time.
const (
	firstDoubt = 15 * time.Second
	lastDoubt  = 10 * time.Minute
)

// ask tells whether several flows may be tried now, and how many are known to help, 0 when that is open. alone is what one of them carried, in
// bytes a second.
func (l *Line) ask(now time.Time) (flows int, alone float64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flows, l.alone, !now.Before(l.askAt)
}

// proven notes that so many flows carry more than fewer, and what one carries.
func (l *Line) proven(flows int, alone float64) {
	l.parallel.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flows, l.alone, l.refused = flows, alone, 0
}

// refuse notes that more flows than one do not help, or are not to be had.
func (l *Line) refuse(now time.Time) {
	l.useless.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flows, l.alone = 0, 0
	l.askAt = now.Add(min(firstDoubt<<min(l.refused, 10), lastDoubt))
	l.refused++
}
