package stage

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Snapshot is the state of a staging file at one moment.
type Snapshot struct {
	Gen   uint64  // for Clean or Settle when all of Dirty is on the server
	Size  int64   // size of the content
	Dirty []Range // what the server does not have, in order
}

// meta is what the next run is told of a staging file.
type meta struct {
	Target    name      `json:"target"`
	Base      Base      `json:"base"`
	Size      int64     `json:"size"`
	Touched   bool      `json:"touched"`   // something may be in it that the server does not have
	Committed bool      `json:"committed"` // a close or fsync had begun
	Time      time.Time `json:"time"`
	// Maps at the time of the commit. What was added since is not in them and was promised to nobody.
	Present []Range `json:"present,omitempty"`
	Dirty   []Range `json:"dirty,omitempty"`
}

// writeMetaLocked tells the meta file how things are, durably with sync.
func (f *File) writeMetaLocked(sync bool) error {
	m := meta{Target: name(f.target), Base: f.base, Size: f.size, Touched: f.touched, Committed: f.committed, Time: f.store.cfg.Now()}
	if f.committed {
		m.Present, m.Dirty = f.present.ranges(), f.dirty.ranges()
	}
	return f.meta.put(m, sync)
}

// touchLocked notes, once until Settle, that the content is no longer the server's.
func (f *File) touchLocked() error {
	if f.touched {
		return nil
	}
	f.touched = true
	if err := f.writeMetaLocked(false); err != nil {
		f.touched = false
		return err
	}
	return nil
}

// Snapshot gives size and dirty ranges and starts a new generation: what is written from now on survives Clean(Gen).
func (f *File) Snapshot() Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snapshotLocked()
}

func (f *File) snapshotLocked() Snapshot {
	f.gen++
	return Snapshot{Gen: f.gen - 1, Size: f.size, Dirty: f.dirty.ranges()}
}

// Commit is Snapshot at the begin of a close or fsync: content and maps are on the local disk when it returns, and the
// next run finishes the upload if this one dies before Settle.
func (f *File) Commit() (Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(0); err != nil {
		return Snapshot{}, err
	}
	if err := f.data.Sync(); err != nil {
		return Snapshot{}, err
	}
	was := f.committed
	f.committed = true
	err := f.writeMetaLocked(true)
	if err == nil {
		err = syncDir(filepath.Dir(f.path))
	}
	if err != nil {
		f.committed = was
		return Snapshot{}, err
	}
	return f.snapshotLocked(), nil
}

// Clean forgets the dirty marks of all writes up to generation gen: they are on the server.
func (f *File) Clean(gen uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirty.clean(gen)
}

// Settle ends what Commit began: Clean, and base is now what the server has. The next run does not upload it again.
func (f *File) Settle(gen uint64, base Base) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(0); err != nil {
		return err
	}
	f.dirty.clean(gen)
	f.base, f.committed = base, false
	f.touched = f.dirty.bytes > 0 || f.size != base.Size
	return f.writeMetaLocked(true)
}

// Retarget says that the file was renamed.
func (f *File) Retarget(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.checkLocked(0); err != nil {
		return err
	}
	f.target = path
	return f.writeMetaLocked(f.committed)
}

// Close removes the staging file, or with keep moves it to the recovery folder and tells its place there. Idempotent.
func (f *File) Close(keep bool) (place string, err error) {
	if keep {
		return f.Keep("it could not be uploaded")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		return "", nil
	}
	f.endLocked()
	// The meta file goes last: data without it would look damaged to the next run.
	return "", errors.Join(os.Remove(f.path), os.Remove(f.meta.path))
}

// endLocked closes the descriptors and returns the space to the account.
func (f *File) endLocked() {
	f.data.Close()
	f.meta.close()
	f.data = nil
	f.store.claim(-f.alloc.bytes, true)
	f.alloc = spans{}
	f.store.countFile(-1)
}
