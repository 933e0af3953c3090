package pool

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestPatienceShrinks(t *testing.T) {
	var s silence
	const full = 30 * time.Second
	now := time.Now()
	if got := s.wait(full, now); got != full {
		t.Errorf("a server that answers is given %v", got)
	}
	total := time.Duration(0)
	for range 10 { // one after the other, as the calls in one folder
		s.begin(now)
		w := s.wait(full, now)
		total += w
		now = now.Add(w)
	}
	if total < firstPatience || total > 2*firstPatience+10*leastPatience {
		t.Errorf("ten operations behind the first wait for %v in all", total)
	}
	if w := s.wait(full, now.Add(time.Minute)); w != firstPatience {
		t.Errorf("after a minute %v, want %v", w, firstPatience)
	}
	s.end()
	if got := s.wait(full, now); got != full || s.now() {
		t.Errorf("after an answer %v", got)
	}
}

func TestPatienceIsNeverMoreThanTheTimeout(t *testing.T) {
	var s silence
	s.begin(time.Now())
	if w := s.wait(time.Second, time.Now().Add(time.Hour)); w != time.Second {
		t.Errorf("%v, want the whole of a short timeout", w)
	}
}

// TestConnectFailuresAreToldSeldom: a minute of failing to connect is one line a kind, and its end another.
func TestConnectFailuresAreToldSeldom(t *testing.T) {
	var log strings.Builder
	p := &Pool{log: slog.New(slog.NewTextHandler(&log, nil))}
	now := time.Now()
	for i := range 120 {
		p.warnLocked(&Error{Kind: KindNetwork}, 0, now.Add(time.Duration(i)*time.Second))
	}
	p.warnLocked(&Error{Kind: KindAuth}, 0, now)
	p.connectedLocked()
	p.connectedLocked()
	if n := strings.Count(log.String(), "no connection"); n != 3 {
		t.Errorf("%d warnings, want 2 for two minutes and 1 of another kind: %s", n, log.String())
	}
	if n := strings.Count(log.String(), "connected again"); n != 1 {
		t.Errorf("its end is told %d times", n)
	}
}
