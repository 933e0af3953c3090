package content

import (
	"context"
	"errors"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// whole is the weight of an exclusive turn; a shared one weighs 1.
const whole = 1 << 30

// File is the content of one regular file that is open. Operations on one File happen in the order of the calls.
//
// The content is, in this order: what of the object (one remote file) still counts, [0, kept), then what only we have.
// As long as the application writes in sequence that is the window, and the sender brings it to the server behind the
// application's back (a linear file). Otherwise it is in the staging file stg, which lies over the object: what stg does
// not have is fetched from the object when it is wanted.
//
// The object is the file itself, or, until the new content of an existing file is complete and verified, a temporary
// file beside it.
type File struct {
	s    *Store
	id   uint64
	name Name

	// turns keeps the order of operations: whole for those that change something, 1 for reads. It is held over the network.
	turns *semaphore.Weighted

	// What follows is changed by the holder of an exclusive turn, and read by holders of any turn.

	exists  bool       // the server has something under the file's name that an application was told of
	litter  bool       // it has part of a new file there that nobody was told of
	base    pool.Entry // what it told of it last
	size    int64      // of the content
	settled bool       // the server has the content under the file's name, verified
	own     bool       // the object has nothing that was ever acknowledged to an application
	inPlace bool       // this file cannot be replaced by renaming
	// onlyBeside: the server takes no STOR over an existing file
	onlyBeside bool
	beside     bool    // the object is not the file itself
	temp       *temp   // where the object is when beside; nil: it has no byte yet
	reused     bool    // temp was made before, for content that was given up
	aside      string  // where the old content is while a replacement in steps is under way, else ""
	sent       int64   // length of the object, bytes under way included
	unsure     bool    // staged: the object may have more than sent
	begun      bool    // staged: the object has the content before sent, though it is dirty: an earlier run sent it
	kept       int64   // linear: as sent; staged: how much of the object still belongs to the content
	snd        *sender // linear: what brings bytes to the object; nil: nothing was sent by us
	win        *window // linear
	stg        *stage.File
	src        *reader.Reader // what a push reads of the object, nil outside a push
	backup     *stage.File    // old content, while the new one is written in place because there is no other way
	want       pool.Attrs     // asked for by the application, goes with the next upload
	mode       *uint32        // what a new file, or the temporary one, is given without being asked
	mtime      time.Time
	broken     error // the content is lost; every flush says so until the file is emptied or let go
	torn       error // the write that failed last, of new content for an existing file: it must not replace the old so
	gone       bool  // unlinked

	writes   uint64 // changes made by applications
	pushed   uint64 // writes, when a push was last tried
	lastPush int64  // size when the whole content was last sent
	restarts int    // how often all was sent anew because something sent was changed
	reads    int    // how often a stream was completed for a reader
	run      int64  // staged: bytes in sequence at the end

	ver atomic.Uint64 // version of the object's content, for the block cache

	mu      sync.Mutex
	view    view                 // guarded by mu
	handles map[*Handle]struct{} // guarded by mu
	gen     uint64               // counts contents that other hosts put here; guarded by mu
	errSeq  uint64               // counts failures; guarded by mu
	err     error                // the last one; guarded by mu
}

// view is what Entry, Clean and Pending tell without waiting for a turn.
type view struct {
	entry   pool.Entry
	dirty   bool
	staged  bool
	busy    bool // being pushed
	pending int64
	since   time.Time
	temp    *temp      // where the object is, nil: under the file's name
	base    pool.Entry // what the server told of the file
	settled bool       // the object is the file, and as told
}

// File gives the content of one inode. e is what the server told of it; created means that CREATE made it just now and
// the server knows nothing of it (e then holds the mode wanted, if HasMode, and nothing waits for the network). There
// must be one File per inode in use; Close it when the inode has no handle left.
func (s *Store) File(n Name, e pool.Entry, created bool) *File {
	f := &File{s: s, name: n, turns: semaphore.NewWeighted(whole), handles: map[*Handle]struct{}{}}
	e.Type = pool.TypeFile
	if created {
		e.Size, e.ModTime, e.Exact = 0, s.cfg.Now(), true
		if e.HasMode {
			m := e.Mode & 0o777
			f.mode = &m
		}
		f.own = true
	} else {
		f.exists, f.settled = true, true
		e.Size = max(e.Size, 0)
	}
	f.base, f.size, f.sent, f.kept, f.mtime = e, e.Size, e.Size, e.Size, e.ModTime
	f.show() // before others find it, without a turn
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	f.id = s.nextID
	s.files[f] = struct{}{}
	return f
}

// path is the file's own name on the server; for an unlinked file the last one.
func (f *File) path() string {
	p, _ := f.name.Path()
	return p
}

func (f *File) dir() string { return path.Dir(f.path()) }

// object is where [0, sent) is on the server.
func (f *File) object() string {
	if f.beside && f.temp != nil {
		return f.temp.path()
	}
	return f.path()
}

func (f *File) key() blocks.Key { return blocks.Key{File: f.id, Version: f.ver.Load()} }

// renew says that the object's content is another one from now on. Nobody reads (exclusive turn).
func (f *File) renew() {
	f.s.cfg.Blocks.Drop(f.key())
	f.ver.Add(1)
}

// lost tells whether another host gave the name to another file.
func (f *File) lost() bool {
	_, linked := f.name.Path()
	return !linked && !f.gone
}

// busy tells Pending that an upload is under way.
func (f *File) busy(yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.view.busy = yes
}

// dirty tells whether the server lacks something.
func (f *File) dirty() bool {
	if f.gone {
		return false
	}
	if !f.settled || f.beside || f.broken != nil || f.want != (pool.Attrs{}) {
		return true
	}
	if f.stg != nil {
		return f.size != f.sent || len(f.stg.Dirty()) > 0
	}
	return f.sent < f.size
}

// Entry gives size, mtime and mode as applications must see them now. It never waits.
func (f *File) Entry() pool.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view.entry
}

// Clean reports whether the server has everything, so that what it says (Revalidate) is the truth. It never waits.
func (f *File) Clean() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.view.dirty
}

// show brings the view up to date. The caller has an exclusive turn.
func (f *File) show() {
	e := f.base
	e.Size, e.ModTime = f.size, f.mtime
	if f.mode != nil {
		e.Mode, e.HasMode = e.Mode&^0o777|*f.mode, true
	}
	if f.want.Mode != nil {
		e.Mode, e.HasMode = e.Mode&^0o777|*f.want.Mode, true
	}
	if f.want.ModTime != nil {
		e.ModTime = *f.want.ModTime
	}
	dirty := f.dirty()
	f.mu.Lock()
	defer f.mu.Unlock()
	if dirty && !f.view.dirty {
		f.view.since = f.s.cfg.Now()
	}
	f.view.entry, f.view.dirty, f.view.staged, f.view.pending = e, dirty, f.stg != nil, 0
	f.view.base, f.view.temp, f.view.settled = f.base, nil, f.settled && !f.beside
	if f.beside {
		f.view.temp = f.temp
	}
	if dirty {
		f.view.pending = f.pending()
	}
}

// pending estimates the bytes that the server has not confirmed.
func (f *File) pending() int64 {
	if f.stg == nil {
		if f.snd != nil && f.snd.idle() {
			return f.size - f.sent
		}
		return f.size
	}
	var n int64
	for _, r := range f.stg.Dirty() {
		n += r.Len
	}
	return n
}

func (f *File) status() (st Status, pending bool) {
	p := f.path()
	f.mu.Lock()
	defer f.mu.Unlock()
	st = Status{Path: p, State: "streaming", Pending: f.view.pending, Since: f.view.since}
	switch {
	case f.view.busy:
		st.State = "uploading"
	case f.view.staged:
		st.State = "staged"
	}
	if f.err != nil {
		st.Err = f.err.Error()
	}
	return st, f.view.dirty
}

// Revalidate takes what the server says of the path now (at open, from a listing). changed means that another host
// replaced the content: cached pages must go, and handles that have read of the old content get KindChanged. What the
// server says of a file with pending content, or while an operation is under way, is ignored.
func (f *File) Revalidate(e pool.Entry) (changed bool) {
	if !f.turns.TryAcquire(whole) {
		return false
	}
	defer f.turns.Release(whole)
	if f.dirty() || f.gone || f.stg != nil {
		return false
	}
	e.Type = pool.TypeFile
	if e.Size < 0 {
		e.Size = f.size
	}
	if changed = e.Size != f.size || !sameTime(e, f.base); changed {
		f.dropLinear(e.Size)
		f.renew()
		f.mu.Lock()
		f.gen++
		f.mu.Unlock()
	}
	if !changed && f.base.Exact && !e.Exact {
		e.ModTime, e.Exact = f.base.ModTime, true
	}
	f.base, f.mtime = e, e.ModTime
	f.mode = nil
	f.show()
	return changed
}

// sameTime compares modification times as far as both are known exactly.
func sameTime(a, b pool.Entry) bool {
	if !a.Exact || !b.Exact || a.ModTime.IsZero() || b.ModTime.IsZero() {
		return true
	}
	return a.ModTime.Unix() == b.ModTime.Unix()
}

// dropLinear makes a clean file of size bytes: no window, no sender.
func (f *File) dropLinear(size int64) {
	if f.win != nil {
		f.win.reset(size)
	}
	f.snd = nil
	f.size, f.sent, f.kept = size, size, size
}

// Close ends the File; no handle may be in use. Pending content (none, unless an upload failed) goes to the recovery
// folder.
func (f *File) Close() {
	_ = f.turns.Acquire(context.Background(), whole) // never fails: the context has no end
	defer f.turns.Release(whole)
	if f.dirty() {
		f.keep(errors.New("it was not on the server when the file was closed"), false)
	}
	f.letGo(f.s.ctx)
	f.s.cfg.Blocks.Drop(f.key())
	f.s.mu.Lock()
	delete(f.s.files, f)
	f.s.mu.Unlock()
}
