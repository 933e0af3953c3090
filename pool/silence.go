package pool

import (
	"sync"
	"time"
)

// A call of a program may take several operations, and the kernel lets only one call at a time change or look up names in a
// folder. So only the first operation that meets a server which does not answer waits for Config.Timeout. Until something
// is heard again those behind it wait shorter and shorter, together about twice firstPatience; what nobody asks gathers
// patience again. Connecting goes on beside them and takes the time that it needs.
const (
	firstPatience = time.Second
	leastPatience = 20 * time.Millisecond
)

// silence is a server that does not answer, and how long it is waited for. The zero value: it does.
type silence struct {
	mu       sync.Mutex
	on       bool          // an operation had to end without a word, and nothing was heard since; guarded by mu
	patience time.Duration // of the next operation; guarded by mu
	granted  time.Duration // to the latest one; guarded by mu
	last     time.Time     // when an operation ended so; guarded by mu
	heard    int64         // how often something was heard; guarded by mu
}

// wait gives the time of an operation that begins now: full, or what is left for a server that is silent.
func (s *silence) wait(full time.Duration, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return full
	}
	s.granted = min(full, firstPatience, s.patience+max(0, now.Sub(s.last)))
	return s.granted
}

// begin notes an operation that ended without a word.
func (s *silence) begin(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		s.on, s.granted = true, 2*firstPatience
	}
	s.patience, s.last = max(s.granted/2, leastPatience), now
}

// end notes that something was heard.
func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
	s.heard++
}

// words gives how often something was heard so far.
func (s *silence) words() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// now says whether the server is silent.
func (s *silence) now() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on
}
