package content

import (
	"context"
	"path"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Unlink is called before the server is asked to remove the file. handled means that it is done: the name is free on the
// server (content that open handles need is kept under a hidden name, or locally) and no request must be sent. Otherwise
// remove it as any file. The Name must tell that it is unlinked from the moment Unlink returns with success.
func (f *File) Unlink(ctx context.Context) (handled bool, err error) {
	t, err := f.begin(ctx)
	if err != nil {
		return false, err
	}
	defer t.end()
	f.mu.Lock()
	open := len(f.handles)
	f.mu.Unlock()
	if open == 0 && !f.dirty() {
		return false, nil
	}
	if f.gone {
		return true, nil
	}
	if err := t.wait(ctx, f.unlink); err != nil {
		return false, err
	}
	return true, nil
}

// unlink frees the name.
func (f *File) unlink(ctx context.Context) error {
	name := f.path()
	there, needed := f.leaveServer(ctx)
	if there && needed && !f.beside {
		if err := f.hide(ctx, stage.Record{Op: hiddenOp}); err == nil {
			there = false
		} else if transient(err) {
			return err
		} // else it goes, and its readers learn that it is gone
	}
	if there {
		if err := f.s.cfg.Remote.Remove(ctx, name); err != nil && pool.KindOf(err) != pool.KindNotFound {
			return err
		}
	}
	f.forgetName(ctx, needed)
	f.s.cfg.Meta.Removed(name)
	return nil
}

// leaveServer completes a stream and tells whether the server has something under the file's name, and whether bytes of
// the object are needed by somebody who may still read.
func (f *File) leaveServer(ctx context.Context) (there, needed bool) {
	if f.snd != nil {
		f.snd.suspend(ctx)
	}
	there = f.exists || f.litter || !f.beside && (f.snd != nil || f.sent > 0)
	switch {
	case f.kept == 0 || f.readers() == 0:
	case f.stg != nil:
		needed = len(f.stg.Missing(0, f.size)) > 0
	default:
		needed = f.win == nil || !f.win.hold(0)
	}
	return there, needed
}

// hide gives the object a temporary name. r says what the journal knows of it.
func (f *File) hide(ctx context.Context, r stage.Record) error {
	name := f.path()
	dotted := !f.s.names.plain.Load()
	t, err := f.s.newTemp(r.Op, name, path.Dir(name), f.stageBase())
	if err != nil {
		return err
	}
	if r.Temp != "" {
		err = t.amend(func(was *stage.Record) { was.Temp, was.Aside, was.Step = r.Temp, t.name, r.Step })
	}
	if err == nil {
		err = f.s.rename(ctx, name, t.path())
	}
	switch {
	case err == nil:
		f.temp, f.beside = t, true
		return nil
	case transient(err):
		t.leave()
		return err
	}
	t.over()
	if dotted && refused(err) && !f.s.names.plain.Swap(true) {
		if err = f.hide(ctx, r); err != nil {
			f.s.names.plain.Store(false) // it was not the dot
		}
	}
	return err
}

// forgetName makes f a file without a name: nothing of it goes to the server from now on.
func (f *File) forgetName(ctx context.Context, needed bool) {
	if f.beside && f.temp != nil {
		if needed {
			hidden := f.temp.path()
			err := f.temp.amend(func(r *stage.Record) { r.Op, r.Temp, r.Aside, r.Step = hiddenOp, hidden, "", "" })
			if err != nil {
				f.s.log.Warn("journal not written", "path", f.path(), "err", err)
			}
		} else {
			f.temp.remove(ctx)
			f.temp = nil
		}
	}
	if !needed && f.stg == nil {
		if f.win != nil && !f.win.hold(0) {
			f.win.reset(f.size) // only writers are left
		}
		f.sent, f.kept = 0, 0
	}
	f.dropBackup()
	f.gone, f.exists, f.litter, f.settled, f.snd = true, false, false, false, nil
	f.want = pool.Attrs{}
}

// letGo frees what only open handles need.
func (f *File) letGo(ctx context.Context) {
	if !f.gone {
		if !f.dirty() {
			f.unstage()
			f.dropLinear(f.size)
		}
		return
	}
	if f.stg != nil {
		f.dropStage()
	}
	f.dropLinear(f.size)
	if f.temp != nil {
		f.temp.remove(ctx)
		f.temp = nil
	}
}

// BeforeRmdir is called before the server is asked to remove the folder dir: hidden leftovers of files that were
// unlinked while open, and of others that moved away, are moved out of it.
func (s *Store) BeforeRmdir(ctx context.Context, dir string) error {
	s.sweep(ctx)
	for _, f := range s.open() {
		if t := f.tempNow(); t == nil || path.Dir(t.path()) != dir {
			continue
		}
		if err := f.do(ctx, func(ctx context.Context) error { return f.moveTemp(ctx, dir) }); err != nil {
			return err
		}
	}
	return nil
}

// tempNow is the temporary object, for callers without a turn.
func (f *File) tempNow() *temp {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view.temp
}

// moveTemp moves the temporary object from dir to the folder above it.
func (f *File) moveTemp(ctx context.Context, dir string) error {
	if f.temp == nil || !f.beside || path.Dir(f.temp.path()) != dir {
		return nil
	}
	if f.snd != nil {
		f.snd.suspend(ctx)
	}
	to := f.s.names.next(path.Dir(dir))
	from := f.temp.path()
	if err := f.s.rename(ctx, from, to); err != nil {
		return err
	}
	f.temp.renamed(from, to)
	return nil
}
