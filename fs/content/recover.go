package content

import (
	"context"
	"fmt"

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
	for _, l := range left { // names first: content may go to one that has to be put back
		if l.Entry == nil {
			continue
		}
		if err := s.settleRecord(ctx, l.Entry.Record()); err != nil {
			s.log.Warn("not cleaned up, the next mount tries again", "path", l.Entry.Record().Path, "err", err)
			continue
		}
		if err := l.Entry.Done(); err != nil {
			s.log.Warn("journal not cleared", "err", err)
		}
	}
	for _, l := range left {
		if l.File != nil {
			s.finishLeftover(ctx, l)
		}
	}
	return nil
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
// made from, and keeps everything else.
func (s *Store) finishLeftover(ctx context.Context, l stage.Leftover) {
	target, base := l.File.Target(), l.File.Base()
	if !l.Committed {
		s.keep(l.File, "the program ended before the file was closed", false)
		return
	}
	e, err := s.cfg.Remote.Stat(ctx, target)
	exists := err == nil
	if err != nil && pool.KindOf(err) != pool.KindNotFound {
		s.keep(l.File, fmt.Sprintf("the server could not be asked: %v", err), false)
		return
	}
	if exists != base.Exists || exists && (e.Type == pool.TypeDir || e.Size != base.Size || !sameTime(e, entryOf(base))) {
		s.keep(l.File, "the file on the server is not the one that was changed", false)
		return
	}
	f := s.File(fixedName(target), e, !exists)
	_ = f.turns.Acquire(context.Background(), whole) // never fails: the context has no end
	f.stg, f.size, f.writes = l.File, l.File.Size(), 1
	s.stats.staged.Add(1)
	if err := f.push(s.ctx, nothingToCome); err != nil {
		f.keep(err, false)
	} else {
		s.log.Info("content of an earlier run finished", "path", target)
		f.unstage()
	}
	f.turns.Release(whole)
	f.Close()
}

func entryOf(b stage.Base) pool.Entry {
	return pool.Entry{Type: pool.TypeFile, Size: b.Size, ModTime: b.ModTime, Exact: !b.ModTime.IsZero(), Unique: b.Unique}
}
