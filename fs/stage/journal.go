package stage

import (
	"os"
	"sync"
)

// Op says what a journal record is about.
type Op string

// The operations.
const (
	OpUpload  Op = "upload"  // Temp is a temporary upload name that will be renamed to Path or removed
	OpReplace Op = "replace" // Path goes to Aside, Temp to Path, then Aside is removed
	OpHide    Op = "hide"    // Temp is the hidden name of an unlinked file that is still open
)

// Record is what a journal entry tells about one operation of several steps. Paths are within the mount.
type Record struct {
	Op    Op
	Path  string
	Temp  string
	Aside string
	Base  Base   // what was at Path before
	New   Base   // what Path is to become, as far as known
	Step  string // last step that was begun, in the words of the caller; "" none
}

// recordLine is a Record on the disk.
type recordLine struct {
	Op    Op     `json:"op"`
	Path  name   `json:"path"`
	Temp  name   `json:"temp"`
	Aside name   `json:"aside"`
	Base  Base   `json:"base"`
	New   Base   `json:"new"`
	Step  string `json:"step"`
}

// Entry is one open journal record. Its methods return when the change is on the local disk, and may be called concurrently.
type Entry struct {
	store *Store

	mu    sync.Mutex // held across local writes
	lines *lineFile  // nil after Done; guarded by mu
	rec   Record     // guarded by mu
}

// Begin writes a record.
func (s *Store) Begin(r Record) (*Entry, error) {
	lines, err := createLines(s.nextName() + ".journal")
	if err != nil {
		return nil, err
	}
	e := &Entry{store: s, lines: lines}
	if err = e.putLocked(r); err == nil {
		err = syncDir(s.run.dir)
	}
	if err != nil {
		_ = lines.remove() // err is what counts
		return nil, err
	}
	s.countEntry(1)
	return e, nil
}

func (s *Store) countEntry(n int) {
	s.mu.Lock()
	s.entries += n
	s.mu.Unlock()
}

// Step notes that a step begins.
func (e *Entry) Step(step string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	r := e.rec
	r.Step = step
	return e.putLocked(r)
}

// Amend replaces the record, for instance after a rename of a folder above.
func (e *Entry) Amend(r Record) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.putLocked(r)
}

// putLocked writes r durably; after an error the record before still counts.
func (e *Entry) putLocked(r Record) error {
	if e.lines == nil {
		return os.ErrClosed
	}
	err := e.lines.put(recordLine{r.Op, name(r.Path), name(r.Temp), name(r.Aside), r.Base, r.New, r.Step}, true)
	if err == nil {
		e.rec = r
	}
	return err
}

// Record gives the record as last written.
func (e *Entry) Record() Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec
}

// Done removes the record: nothing is left to do. Idempotent. A crash right after it may bring the record back, so what
// recovery does with one must be right also when all of it was done before.
func (e *Entry) Done() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lines == nil {
		return nil
	}
	err := e.lines.remove()
	e.lines = nil
	e.store.countEntry(-1)
	return err
}
