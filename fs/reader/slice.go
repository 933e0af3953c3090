package reader

import (
	"slices"
	"time"
)

// What a stream may still use of its connection when somebody waits for one: until its window is full, but no longer
// than any of these. Giving it up at once would cost everybody a re-open for each READ.
const (
	sliceTime  = time.Second
	sliceBytes = 8 << 20 // while READs wait for them
	sliceAhead = 1 << 20 // ahead of a reader that waits for nothing
	idleAfter  = 5 * time.Second
)

// slice is the fair rest of a connection's use. Guarded by Reader.mu.
type slice struct {
	at      int64 // position at which somebody began to wait
	pressed bool
	expired bool
	stop    func() bool // the timer; nil: none
}

// press is the download's OnPressure.
func (f *fetch) press() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if !f.running || f.slice.pressed {
		return
	}
	if f.segment && f.r.train != nil {
		f.r.yieldLocked(f)
	}
	if f.ahead && f.refs == 0 {
		f.leaveLocked()
	}
	f.slice.pressed, f.slice.at = true, f.pos
	f.slice.stop = f.r.cfg.AfterFunc(sliceTime, func() {
		f.r.mu.Lock()
		defer f.r.mu.Unlock()
		f.slice.expired = true
		f.poke()
	})
	f.poke()
}

// beginSlice starts the account of a new download.
func (f *fetch) beginSlice() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.slice.endLocked()
	f.slice = slice{}
}

// overLocked tells whether the connection is to be given up now.
func (s *slice) overLocked(f *fetch, wanted bool) bool {
	if !s.pressed {
		return false
	}
	return s.expired || f.pos-s.at >= sliceBytes || !wanted && f.pos-f.cursor >= sliceAhead
}

func (s *slice) endLocked() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// idleTimer watches for a handle that nobody reads.
type idleTimer struct {
	stop func() bool // nil: not armed
	seen uint64      // Reader.reads when it was armed
}

func (r *Reader) armIdleLocked() {
	if r.idle.stop == nil && !r.closed {
		r.idle.seen = r.reads
		r.idle.stop = r.cfg.AfterFunc(idleAfter, r.idleTick)
	}
}

// idleTick gives up connections and windows of a handle that was not read since the timer was armed.
func (r *Reader) idleTick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.idle.stop = nil
	busy := r.idle.seen != r.reads
	for _, f := range r.fetches {
		busy = busy || f.refs > 0
	}
	if !busy && len(r.fetches) > 0 {
		r.train, r.ahead = nil, nil
		for _, f := range slices.Clone(r.fetches) {
			f.leaveLocked()
			f.shedLocked()
			f.dropLocked()
		}
	}
	if len(r.fetches) > 0 {
		r.armIdleLocked()
	}
}
