package daemon

import (
	"os"
	"sync"
)

// LogFile is a file that does not grow for ever: at its limit it becomes NAME.1 and a new one is begun. It is safe for
// concurrent use.
type LogFile struct {
	name   string
	limit  int64
	opened func(*os.File) error

	mu   sync.Mutex
	f    *os.File // guarded by mu
	size int64    // guarded by mu
}

// OpenLog opens or creates a log of at most limit bytes, and as much again in NAME.1. opened is called with each file that is
// begun, before it is used: RedirectStderr lets a crash leave its trace there.
func OpenLog(name string, limit int64, opened func(*os.File) error) (*LogFile, error) {
	l := &LogFile{name: name, limit: limit, opened: opened}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.openLocked()
}

func (l *LogFile) openLocked() error {
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	if err := l.opened(f); err != nil {
		f.Close()
		return err
	}
	if l.f != nil {
		l.f.Close()
	}
	l.f, l.size = f, st.Size()
	return nil
}

// Write appends one record. When the file cannot be changed for a new one it goes on in the old one.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		if os.Rename(l.name, l.name+".1") == nil {
			_ = l.openLocked()
		}
	}
	n, err := l.f.Write(p)
	l.size += int64(n)
	return n, err
}

// Close closes the file.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}
