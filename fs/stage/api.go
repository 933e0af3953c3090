package stage

import (
	"log/slog"
	"time"
)

// Config is what a Store needs.
type Config struct {
	Dir    string           // state_dir; made 0700 when missing, shared safely by several mounts of one user
	Server string           // identity of server, user and root; leftovers are looked for under the same identity
	Mount  string           // id of this mount as it appears in temporary names
	Limit  int64            // stage_size: most allocated bytes of all staging files together; 0: no limit
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: silent
}

// Store makes staging files and journal entries for one mount. All methods may be called concurrently.
type Store struct{}

// Base is the server's copy that staged content starts from.
type Base struct {
	Exists  bool      // false: there was no file; the other fields are zero
	Size    int64     // bytes
	ModTime time.Time // as the server told it
	Unique  string    // MLSD's unique fact (RFC 3659 section 7.5.2), "" unknown
}

// Range is a piece of a file, Off to Off+Len.
type Range struct {
	Off, Len int64
}

// End is the offset behind the last byte.
func (r Range) End() int64 { return r.Off + r.Len }

// Snapshot is the state of a staging file at one moment.
type Snapshot struct {
	Gen   uint64  // for Clean or Settle when all of Dirty is on the server
	Size  int64   // size of the content
	Dirty []Range // what the server does not have, in order
}

// Stats are the gauges of a Store.
type Stats struct {
	Files     int   `json:"files"`     // open staging files
	Allocated int64 `json:"allocated"` // bytes that count against Limit
	Limit     int64 `json:"limit"`
	Journal   int   `json:"journal"`  // journal entries not done
	Recovery  int   `json:"recovery"` // files moved to the recovery folder by this run
}

// Open makes the folders, takes the lock of this run and gives the store.
func Open(cfg Config) (*Store, error) { return &Store{}, nil }

// Close removes the run's folder if nothing is left in it and gives the lock up; what is left is a Leftover for the next run.
func (s *Store) Close() error { return nil }

// Stats gives the gauges of this moment.
func (s *Store) Stats() Stats { return Stats{} }

// RecoveryDir is the folder that content goes to which nobody could upload.
func (s *Store) RecoveryDir() string { return "" }

// Create makes a staging file for target. Its size is base.Size, and nothing of it is present yet.
func (s *Store) Create(target string, base Base) (*File, error) { return &File{}, nil }

// File is one sparse staging file. All methods may be called concurrently.
type File struct{}

// ErrMissing is what ReadAt gives when the bytes asked for were not fetched yet.
var ErrMissing error

// ReadAt reads present bytes; at the end of the content it gives io.EOF. When something in the range is not present it
// gives the present bytes before it and ErrMissing.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return 0, nil }

// WriteAt writes and marks the range present and dirty. A gap between the old end and off becomes zeros, present and
// dirty. A full disk and a used up limit both give syscall.ENOSPC (in a chain), with what was written before counted.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return 0, nil }

// Fill stores bytes fetched from the server: present, not dirty. Bytes that are present already, or beyond the size, are
// left as they are, so a fetch that was overtaken by a write or a truncate does no harm.
func (f *File) Fill(p []byte, off int64) error { return nil }

// Truncate sets the size. Bytes beyond are forgotten; when it grows the new bytes are zeros, present and dirty.
func (f *File) Truncate(size int64) error { return nil }

// Size is the size of the content.
func (f *File) Size() int64 { return 0 }

// Missing lists what of off to off+n (cut at the size) must be fetched before it can be read.
func (f *File) Missing(off, n int64) []Range { return nil }

// Dirty lists what the server does not have. A change of size alone is not in it: compare Size with Base.
func (f *File) Dirty() []Range { return nil }

// Snapshot gives size and dirty ranges and starts a new generation: what is written from now on survives Clean(Gen).
func (f *File) Snapshot() Snapshot { return Snapshot{} }

// Commit is Snapshot at the begin of a close or fsync: content and maps are on the local disk when it returns, and the
// next run finishes the upload if this one dies.
func (f *File) Commit() (Snapshot, error) { return Snapshot{}, nil }

// Clean forgets the dirty marks of all writes up to generation gen: they are on the server.
func (f *File) Clean(gen uint64) {}

// Settle ends what Commit began: Clean, and base is now what the server has. The next run does not upload it again.
func (f *File) Settle(gen uint64, base Base) error { return nil }

// Base is the server's copy as last told.
func (f *File) Base() Base { return Base{} }

// Target is the path within the mount that the content belongs to.
func (f *File) Target() string { return "" }

// Retarget says that the file was renamed.
func (f *File) Retarget(path string) error { return nil }

// Punch releases the local bytes of a range that are not dirty; they are missing afterwards.
func (f *File) Punch(off, n int64) error { return nil }

// Close removes the staging file, or moves it to the recovery folder (keep) and tells its place there.
func (f *File) Close(keep bool) (place string, err error) { return "", nil }

// Keep is Close(true) with a reason, in words, for the text beside the kept file.
func (f *File) Keep(reason string) (place string, err error) { return "", nil }

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

// Entry is one open journal record. Its methods return when the change is on the local disk.
type Entry struct{}

// Begin writes a record.
func (s *Store) Begin(r Record) (*Entry, error) { return &Entry{}, nil }

// Step notes that a step begins.
func (e *Entry) Step(step string) error { return nil }

// Amend replaces the record, for instance after a rename of a folder above.
func (e *Entry) Amend(r Record) error { return nil }

// Record gives the record as last written.
func (e *Entry) Record() Record { return Record{} }

// Done removes the record: nothing is left to do. Idempotent.
func (e *Entry) Done() error { return nil }

// Leftover is one thing that a dead run left: either File or Entry is set.
type Leftover struct {
	Mount string // mount id of the dead run
	// File is staged content, now owned by this store: finish and Settle it, then Close, or Keep it.
	File      *File
	Committed bool // a close or fsync had begun for File: its dirty ranges are to be uploaded if Base is unchanged
	Complete  bool // every byte of File that is not dirty is present too
	// Entry is an open journal record, now owned by this store: settle it on the server, then Done.
	Entry *Entry
}

// Leftovers gives what dead runs of the same server and root left, oldest first. What it returns belongs to this store
// until it is closed; runs that are alive are not touched. Damaged remains go to the recovery folder, with a warning.
func (s *Store) Leftovers() ([]Leftover, error) { return nil, nil }
