package fs

import (
	"sync"
	"syscall"
	"time"
)

// logLimit lets one message per errno and second through: a server that is gone makes every call fail.
type logLimit struct {
	mu   sync.Mutex
	seen map[syscall.Errno]*logCount // guarded by mu
}

type logCount struct {
	last       time.Time
	suppressed int
}

// allow says whether a message may be written now and how many of its kind were not since the last one.
func (l *logLimit) allow(errno syscall.Errno, now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = make(map[syscall.Errno]*logCount)
	}
	c := l.seen[errno]
	if c == nil {
		c = &logCount{}
		l.seen[errno] = c
	}
	if !c.last.IsZero() && now.Sub(c.last) < time.Second {
		c.suppressed++
		return 0, false
	}
	suppressed, c.suppressed, c.last = c.suppressed, 0, now
	return suppressed, true
}
