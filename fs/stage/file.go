package stage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// blockSize is the unit in which local disk space is counted.
const blockSize = 4096

// ErrMissing is what ReadAt gives when bytes that were asked for were not fetched yet.
var ErrMissing = errors.New("not fetched yet")

// Base is the server's copy that staged content starts from.
type Base struct {
	Exists  bool      `json:"exists"` // false: there was no file; the other fields are zero
	Size    int64     `json:"size"`
	ModTime time.Time `json:"mtime"`            // as the server told it
	Unique  string    `json:"unique,omitempty"` // MLSD's unique fact (RFC 3659 section 7.5.2), "" unknown
}

// File is one sparse staging file. All methods may be called concurrently; after Close or Keep they give os.ErrClosed.
type File struct {
	store *Store
	path  string // of the data file

	mu        sync.RWMutex
	data      *os.File  // nil when closed; guarded by mu
	meta      *lineFile // guarded by mu
	target    string    // guarded by mu
	base      Base      // guarded by mu
	size      int64     // of the content, and of data; guarded by mu
	gen       uint64    // of writes from now on; guarded by mu
	present   spans     // guarded by mu
	dirty     spans     // part of present; guarded by mu
	alloc     spans     // whole blocks that count against the limit; guarded by mu
	touched   bool      // the meta file says that something was changed; guarded by mu
	committed bool      // the meta file says that a close or fsync has begun; guarded by mu
	noPunch   bool      // this disk cannot release ranges; guarded by mu
}

// Create makes a staging file for target. Its size is base.Size, and nothing of it is present yet.
func (s *Store) Create(target string, base Base) (*File, error) {
	stem := s.nextName()
	f := &File{store: s, path: stem + ".data", target: target, base: base, size: base.Size, gen: 1}
	var err error
	if f.data, err = os.OpenFile(f.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, err
	}
	if err = f.data.Truncate(base.Size); err == nil {
		f.meta, err = createLines(stem + ".meta")
	}
	if err == nil {
		err = f.writeMetaLocked(false)
	}
	if err != nil {
		f.data.Close()
		os.Remove(f.path)
		if f.meta != nil {
			_ = f.meta.remove() // err is what counts
		}
		return nil, err
	}
	s.countFile(1)
	return f, nil
}

func (s *Store) countFile(n int) {
	s.mu.Lock()
	s.files += n
	s.mu.Unlock()
}

// ReadAt reads present bytes; at the end of the content it gives io.EOF. When something in the range is not present it
// gives the present bytes before it and ErrMissing.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.checkLocked(off); err != nil {
		return 0, err
	}
	if off >= f.size {
		return 0, io.EOF
	}
	end := min(off+int64(len(p)), f.size)
	var stop error
	if end < off+int64(len(p)) {
		stop = io.EOF
	}
	if gaps := f.present.gaps(off, end); len(gaps) > 0 {
		end, stop = gaps[0].Off, ErrMissing
	}
	n, err := f.data.ReadAt(p[:end-off], off)
	if err == nil {
		err = stop
	}
	return n, err
}

// WriteAt writes and marks the range present and dirty. A gap between the old end and off becomes zeros, present and
// dirty. A full disk and a used up limit both give syscall.ENOSPC (in a chain); what was written before that counts.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(off); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.touchLocked(); err != nil {
		return 0, err
	}
	n, err := f.storeLocked(p, off)
	if n > 0 {
		from := min(off, f.size)
		f.present.add(from, off+int64(n), 0)
		f.dirty.add(from, off+int64(n), f.gen)
		f.size = max(f.size, off+int64(n))
	}
	return n, err
}

// Fill stores bytes fetched from the server: present, not dirty. Bytes that are present already, or beyond the size, are
// left as they are, so a fetch that was overtaken by a write or a truncate does no harm. (A write marks its range
// present, so what a truncate cut off and a later one brought back is present, too.) Errors as in WriteAt.
func (f *File) Fill(p []byte, off int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(off); err != nil {
		return err
	}
	end := min(off+int64(len(p)), f.size)
	for _, r := range f.present.gaps(off, end) {
		n, err := f.storeLocked(p[r.Off-off:r.End()-off], r.Off)
		f.present.add(r.Off, r.Off+int64(n), 0)
		if err != nil {
			return err
		}
	}
	return nil
}

// storeLocked writes to the disk within the limit and keeps account of it.
func (f *File) storeLocked(p []byte, off int64) (int, error) {
	from, to := off/blockSize*blockSize, (off+int64(len(p))+blockSize-1)/blockSize*blockSize
	var need int64
	for _, r := range f.alloc.gaps(from, to) {
		need += r.Len
	}
	if !f.store.claim(need, false) {
		return 0, &os.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	f.alloc.add(from, to, 0)
	n, err := f.data.WriteAt(p, off)
	if err != nil {
		// The file must end where the content does.
		end := f.size
		if n > 0 {
			end = max(end, off+int64(n))
		}
		err = errors.Join(err, f.data.Truncate(end))
	}
	return n, err
}

// Truncate sets the size. Bytes beyond are forgotten; when it grows the new bytes are zeros, present and dirty.
func (f *File) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(size); err != nil {
		return err
	}
	if size == f.size {
		return nil
	}
	if err := f.touchLocked(); err != nil {
		return err
	}
	old := f.size
	if size > old {
		if err := f.data.Truncate(size); err != nil {
			return err
		}
		f.size = size
		f.present.add(old, size, 0)
		f.dirty.add(old, size, f.gen)
		return nil
	}
	present, dirty := f.present.clone(), f.dirty.clone()
	f.size = size
	f.present.remove(size, old)
	f.dirty.remove(size, old)
	if f.committed {
		// The next run must not take the zeros of a later growth for committed bytes: first the maps, then the bytes.
		if err := f.writeMetaLocked(true); err != nil {
			f.size, f.present, f.dirty = old, present, dirty
			return err
		}
	}
	if err := f.data.Truncate(size); err != nil {
		return err
	}
	f.releaseLocked((size+blockSize-1)/blockSize*blockSize, (old+blockSize-1)/blockSize*blockSize)
	return nil
}

// releaseLocked takes whole blocks out of the account.
func (f *File) releaseLocked(from, to int64) {
	before := f.alloc.bytes
	f.alloc.remove(from, to)
	f.store.claim(f.alloc.bytes-before, true)
}

// Size is the size of the content.
func (f *File) Size() int64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size
}

// Missing lists what of off to off+n (cut at the size) must be fetched before it can be read.
func (f *File) Missing(off, n int64) []Range {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.present.gaps(off, min(off+n, f.size))
}

// Dirty lists what the server does not have. A truncated end is not in it: compare Size with Base.
func (f *File) Dirty() []Range {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.dirty.ranges()
}

// Base is the server's copy as last told.
func (f *File) Base() Base {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.base
}

// Target is the path within the mount that the content belongs to.
func (f *File) Target() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.target
}

// Punch releases the local bytes of a range that are not dirty; they are missing afterwards. Where the disk cannot
// release ranges of a file they stay present.
func (f *File) Punch(off, n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(off); err != nil {
		return err
	}
	clean := f.dirty.gaps(off, min(off+n, f.size))
	if f.noPunch || len(clean) == 0 {
		return nil
	}
	for _, r := range clean {
		f.present.remove(r.Off, r.End())
	}
	if f.committed {
		// As in Truncate: the next run must not read holes as content.
		if err := f.writeMetaLocked(true); err != nil {
			return err
		}
	}
	for _, r := range clean {
		ok, err := punchHole(f.data, r.Off, r.Len)
		if err != nil {
			return err
		}
		if !ok {
			f.noPunch = true
			return nil
		}
		to := r.End() / blockSize * blockSize
		if r.End() == f.size {
			to = (r.End() + blockSize - 1) / blockSize * blockSize
		}
		f.releaseLocked((r.Off+blockSize-1)/blockSize*blockSize, to)
	}
	return nil
}

func (f *File) checkLocked(off int64) error {
	if f.data == nil {
		return &os.PathError{Op: "stage", Path: f.path, Err: os.ErrClosed}
	}
	if off < 0 {
		return fmt.Errorf("negative offset %d: %w", off, syscall.EINVAL)
	}
	return nil
}
