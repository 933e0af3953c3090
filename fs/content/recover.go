package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Recover is called at mount, before the first File: it finishes, rolls back, or keeps in the recovery folder what an
// earlier run left. What it did is logged. An error means that the state folder could not be read; the mount may go on.
func (s *Store) Recover(ctx context.Context) error {
	if s.cfg.ReadOnly || s.cfg.Stage == nil {
		return nil
	}
	left, err := s.cfg.Stage.Leftovers()
	if err != nil {
		return err
	}
	begun := begunUploads(left)
	for _, l := range left { // names first: content may go to one that has to be put back
		if l.Entry != nil && begun[l.Entry.Record().Path] != l.Entry {
			s.settleEntry(ctx, l.Entry)
		}
	}
	for _, l := range left {
		if l.File != nil {
			s.finishLeftover(ctx, l, begun[l.File.Target()])
		}
	}
	return nil
}

// begunUploads gives, by target, the record of the temporary name to which committed content was being sent last.
func begunUploads(left []stage.Leftover) map[string]*stage.Entry {
	committed := map[string]*stage.File{}
	for _, l := range left {
		if l.File != nil && l.Committed {
			committed[l.File.Target()] = l.File
		}
	}
	begun := map[string]*stage.Entry{}
	for _, l := range left {
		if l.Entry == nil {
			continue
		}
		r := l.Entry.Record()
		if st := committed[r.Path]; st != nil && r.Op == tempOp && r.New.Exists && r.New.Size == st.Size() {
			begun[r.Path] = l.Entry
		}
	}
	return begun
}

// settleEntry settles a record of an earlier run.
func (s *Store) settleEntry(ctx context.Context, j *stage.Entry) {
	if err := s.settleRecord(ctx, j.Record()); err != nil {
		s.log.Warn("not cleaned up, the next mount tries again", "path", j.Record().Path, "err", err)
		return
	}
	if err := j.Done(); err != nil {
		s.log.Warn("journal not cleared", "err", err)
	}
}

// settleRecord makes the server's names what they should be after an operation that was broken off.
func (s *Store) settleRecord(ctx context.Context, r stage.Record) error {
	if r.Op != stage.OpReplace {
		return s.removeIfThere(ctx, r.Temp)
	}
	path, err := s.there(ctx, r.Path)
	if err != nil {
		return err
	}
	aside, err := s.there(ctx, r.Aside)
	if err != nil {
		return err
	}
	temp := false
	if r.Step != stepHide { // there Temp is a file of the user
		if temp, err = s.there(ctx, r.Temp); err != nil {
			return err
		}
	}
	switch {
	case path:
		// Nothing was done yet, or all but removing the old content.
	case temp:
		s.log.Info("replacement finished", "path", r.Path)
		if err := s.rename(ctx, r.Temp, r.Path); err != nil {
			return err
		}
		temp = false
	case aside:
		s.log.Info("old content put back", "path", r.Path)
		return s.rename(ctx, r.Aside, r.Path)
	}
	if temp {
		if err := s.removeIfThere(ctx, r.Temp); err != nil {
			return err
		}
	}
	if aside {
		return s.removeIfThere(ctx, r.Aside)
	}
	return nil
}

func (s *Store) there(ctx context.Context, name string) (bool, error) {
	_, err := s.cfg.Remote.Stat(ctx, name)
	if err != nil && pool.KindOf(err) == pool.KindNotFound {
		return false, nil
	}
	return err == nil, err
}

func (s *Store) removeIfThere(ctx context.Context, name string) error {
	err := s.cfg.Remote.Remove(ctx, name)
	if err != nil && pool.KindOf(err) == pool.KindNotFound {
		return nil
	}
	return err
}

// fixedName is the name of a file without an inode.
type fixedName string

func (n fixedName) Path() (string, bool) { return string(n), true }

// finishLeftover uploads staged content whose close or fsync had begun, if the server's file is still the one it was
// made from, or has a part of it since, and keeps everything else. begun is the record of the temporary name where a part of it may be.
func (s *Store) finishLeftover(ctx context.Context, l stage.Leftover, begun *stage.Entry) {
	var at *temp
	if begun != nil {
		at = s.adoptTemp(begun)
	}
	f, reason := s.leftFile(ctx, l)
	if f == nil {
		if s.onServer(ctx, l) {
			s.log.Info("content of an earlier run is on the server already", "path", l.File.Target())
			s.discard(l.File)
		} else {
			s.keep(l.File, reason, false)
		}
		if at != nil {
			at.remove(ctx)
		}
		return
	}
	_ = f.turns.Acquire(context.Background(), whole) // never fails: the context has no end
	if at != nil && !f.goOn(ctx, at) {
		at.remove(ctx)
	}
	if err := f.push(s.ctx, nothingToCome); err != nil {
		f.keep(err, false)
	} else {
		s.log.Info("content of an earlier run finished", "path", f.path())
		f.unstage()
	}
	f.turns.Release(whole)
	f.Close()
}

// onServer tells whether the file on the server has every byte that was staged for it: an earlier run died between its last step
// there and its own note of that. What was staged is compared with what the server sends, so a copy is only dropped when
// it has nothing that the server lacks.
func (s *Store) onServer(ctx context.Context, l stage.Leftover) bool {
	st := l.File
	if !l.Committed && !l.Complete {
		return false // what is not here may be a hole that was written
	}
	e, err := s.cfg.Remote.Stat(ctx, st.Target())
	if err != nil || e.Type != pool.TypeFile || e.Size != st.Size() {
		return false
	}
	at := int64(0)
	for _, gap := range append(st.Missing(0, e.Size), stage.Range{Off: e.Size}) {
		if s.compareRange(ctx, st.Target(), e.Size, stage.Range{Off: at, Len: gap.Off - at}, st) != nil {
			return false
		}
		at = gap.End()
	}
	return true
}

// leftFile makes a File of staged content that is to be finished; nil, and why, if it is not.
func (s *Store) leftFile(ctx context.Context, l stage.Leftover) (*File, string) {
	target, base := l.File.Target(), l.File.Base()
	if !l.Committed {
		return nil, "the program ended before the file was closed"
	}
	e, err := s.cfg.Remote.Stat(ctx, target)
	exists := err == nil
	if err != nil && pool.KindOf(err) != pool.KindNotFound {
		return nil, fmt.Sprintf("the server could not be asked: %v", err)
	}
	same := exists == base.Exists && (!exists || e.Type != pool.TypeDir && e.Size == base.Size && sameTime(e, entryOf(base)))
	if !same && !(exists && s.hasBegin(ctx, target, e, l.File)) {
		return nil, "the file on the server is not the one that was changed"
	}
	f := s.File(fixedName(target), e, !exists)
	f.stg, f.size, f.writes = l.File, l.File.Size(), 1
	f.begun = !same
	s.stats.staged.Add(1)
	return f, ""
}

// hasBegin tells whether the file on the server is the one that st was made from (or was made for st), and a part of what
// st appends to that: an upload in place was broken off.
func (s *Store) hasBegin(ctx context.Context, name string, e pool.Entry, st *stage.File) bool {
	base, dirty := st.Base(), st.Dirty()
	if e.Type == pool.TypeDir || e.Size < base.Size || e.Size > st.Size() || base.Unique != "" && e.Unique != base.Unique {
		return false
	}
	if base.Exists && (e.Size == base.Size || len(dirty) == 0 || dirty[0].Off < base.Size) {
		return false
	}
	return s.holds(ctx, name, e.Size, base.Size, st)
}

// mostCompared is how much of each end of a part that was sent is compared.
const mostCompared = 8 << 20

// holds compares what the server's file of size bytes has from byte from on with st: all of it, or both ends where it is long.
func (s *Store) holds(ctx context.Context, name string, size, from int64, st *stage.File) bool {
	parts := []stage.Range{{Off: from, Len: size - from}}
	if size-from > 2*mostCompared {
		parts = []stage.Range{{Off: from, Len: mostCompared}, {Off: size - mostCompared, Len: mostCompared}}
	}
	for _, r := range parts {
		if err := s.compareRange(ctx, name, size, r, st); err != nil {
			s.log.Info("what an earlier run sent is not gone on with", "path", name, "err", err)
			return false
		}
	}
	return true
}

var errOther = errors.New("the content is another one")

func (s *Store) compareRange(ctx context.Context, name string, size int64, r stage.Range, st *stage.File) error {
	if r.Len == 0 {
		return nil
	}
	if len(st.Missing(r.Off, r.Len)) > 0 {
		return errors.New("it is not here to compare")
	}
	d, err := s.cfg.Remote.Download(ctx, name, pool.DownloadOptions{Offset: r.Off, Length: r.Len, Size: size})
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // what counts is what was read
	theirs, free := s.buffer()
	defer free()
	ours := make([]byte, len(theirs))
	for off := r.Off; off < r.End(); {
		n := min(int64(len(theirs)), r.End()-off)
		if _, err := io.ReadFull(d, theirs[:n]); err != nil {
			return err
		}
		if m, err := st.ReadAt(ours[:n], off); int64(m) < n {
			return err
		}
		if !bytes.Equal(ours[:n], theirs[:n]) {
			return errOther
		}
		off += n
	}
	return nil
}

// goOn makes at, where an earlier run has sent a part of the content, the object. It is false where that is of no use.
func (f *File) goOn(ctx context.Context, at *temp) bool {
	e, err := f.s.cfg.Remote.Stat(ctx, at.path())
	if err != nil || e.Type == pool.TypeDir || e.Size <= 0 || e.Size > f.size {
		return false
	}
	if err := f.fillMissing(ctx); err != nil { // from the file itself, which is not the object any more then
		f.s.log.Info("what an earlier run sent is not gone on with", "path", f.path(), "err", err)
		return false
	}
	f.closeSource()
	if !f.s.holds(ctx, at.path(), e.Size, 0, f.stg) {
		return false
	}
	f.s.log.Info("an earlier run's upload goes on", "path", f.path(), "offset", e.Size)
	f.s.stats.resumed.Add(1)
	f.temp, f.beside, f.begun = at, true, true
	f.settled, f.own = false, true
	f.sent, f.kept = e.Size, e.Size
	f.renew()
	return true
}

func entryOf(b stage.Base) pool.Entry {
	return pool.Entry{Type: pool.TypeFile, Size: b.Size, ModTime: b.ModTime, Exact: !b.ModTime.IsZero(), Unique: b.Unique}
}
