package content

import (
	"context"
	"maps"
	"path"
	"slices"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// stepHide is the journal's word for a file that was moved aside because another one is about to get its name.
const stepHide = "hide"

// Rename is a rename under way, between BeforeRename and Done. It holds the turns of the files concerned.
type Rename struct {
	s        *Store
	from, to string
	turns    []*turn
	replaced *File // what was open at to, hidden or not needed of the server any more
}

// BeforeRename is called before the server is asked to rename from to to (a file, or a folder with everything below
// it). It puts what is open there into a state that survives the rename: a file that the server does not have yet is
// made there, streams are completed at their offset, an open file at to is kept readable. Until Done is called no
// operation of this package uses the names concerned. It may wait for the network. On an error nothing was changed, and
// Done must not be called.
func (s *Store) BeforeRename(ctx context.Context, from, to string) (*Rename, error) {
	r := &Rename{s: s, from: from, to: to}
	if from == to {
		return r, nil
	}
	for _, f := range s.open() {
		if !f.concerns(from, to) {
			continue
		}
		t, err := f.begin(ctx)
		if err == nil {
			r.turns = append(r.turns, t)
			err = t.wait(ctx, func(ctx context.Context) error { return r.prepare(ctx, f) })
		}
		if err != nil {
			r.Done(false)
			return nil, err
		}
	}
	return r, nil
}

// concerns tells whether the rename touches the file or its temporary object.
func (f *File) concerns(from, to string) bool {
	if p, linked := f.name.Path(); linked && (below(p, from) || p == to) {
		return true
	}
	t := f.tempNow()
	return t != nil && below(t.path(), from)
}

func (r *Rename) prepare(ctx context.Context, f *File) error {
	p, linked := f.name.Path()
	if linked && p == r.to {
		return r.replace(ctx, f)
	}
	if f.snd != nil {
		f.snd.suspend(ctx)
	}
	there := f.exists || !f.beside && f.sent > 0 && (f.snd == nil || f.snd.idle())
	if linked && p == r.from && !there {
		return f.push(ctx, nothingToCome)
	}
	return nil
}

// replace keeps the open file at to readable, whose name is about to be taken.
func (r *Rename) replace(ctx context.Context, f *File) error {
	f.mu.Lock()
	open := len(f.handles)
	f.mu.Unlock()
	if open == 0 {
		return nil
	}
	there, needed := f.leaveServer(ctx)
	if there && needed && !f.beside {
		err := f.hide(ctx, stage.Record{Op: stage.OpReplace, Temp: r.from, Step: stepHide})
		if err != nil && transient(err) {
			return err
		} // else its readers will learn that it is gone
	}
	r.replaced = f
	return nil
}

// Do asks the server to rename. Where it refuses to rename over an existing file, the old file goes aside first and is
// removed at the end; if the program dies in between, the next mount finishes or undoes it, and both contents exist at
// every moment. It is for callers that have no better way than Remote.Rename, and gives the same errors.
func (r *Rename) Do(ctx context.Context) error {
	remote := r.s.cfg.Remote
	err := remote.Rename(ctx, r.from, r.to)
	if err == nil || !refused(err) || r.from == r.to {
		return err
	}
	for _, name := range []string{r.from, r.to} {
		if e, statErr := remote.Stat(ctx, name); statErr != nil || e.Type == pool.TypeDir {
			return err
		}
	}
	if !r.s.noReplace.Load() {
		if can, canErr := remote.Can(ctx, pool.CapRenameReplace, path.Dir(r.to)); can || canErr != nil {
			return err
		}
	}
	return r.aside(ctx)
}

// aside renames over an existing file in three steps.
func (r *Rename) aside(ctx context.Context) error {
	t, err := r.s.newTemp(stage.OpReplace, r.to, path.Dir(r.to), stage.Base{})
	if err != nil {
		return err
	}
	err = t.amend(func(j *stage.Record) { j.Temp, j.Aside, j.Step = r.from, t.name, stepHide })
	if err == nil {
		err = r.s.rename(ctx, r.to, t.path())
	}
	if err != nil {
		if transient(err) {
			t.leave() // the next mount looks at what is there
		} else {
			t.over()
		}
		return err
	}
	if err := r.s.rename(ctx, r.from, r.to); err != nil {
		if back := r.s.rename(ctx, t.path(), r.to); back != nil {
			r.s.log.Error("file is under a temporary name, the next mount puts it back", "path", r.to, "temporary", t.path(), "err", back)
			t.leave()
		} else {
			t.over()
		}
		return err
	}
	r.s.noReplace.Store(true)
	t.remove(ctx)
	return nil
}

// Done ends it: ok says whether the server did it. Names of files that moved must tell their new path by now, and the
// Name of an open file that was at to must tell that it is unlinked.
func (r *Rename) Done(ok bool) {
	if ok && r.from != r.to {
		r.s.mu.Lock()
		all := slices.Collect(maps.Keys(r.s.temps))
		r.s.mu.Unlock()
		for _, t := range all {
			t.renamed(r.from, r.to)
		}
	}
	for _, t := range r.turns {
		f := t.f
		switch {
		case t.left:
		case f == r.replaced && ok:
			_, needed := f.leaveServer(r.s.ctx)
			f.forgetName(r.s.ctx, needed)
		case f == r.replaced:
			r.putBack(f)
		case ok:
			f.moved(r.from, r.to)
		}
		t.end()
	}
}

// putBack undoes hide.
func (r *Rename) putBack(f *File) {
	if !f.exists || !f.beside || f.temp == nil || !f.settled {
		return
	}
	if err := r.s.rename(r.s.ctx, f.temp.path(), r.to); err != nil {
		r.s.log.Error("file is under a temporary name, the next mount puts it back", "path", r.to, "temporary", f.temp.path(), "err", err)
		f.temp.leave()
	} else {
		f.temp.over()
	}
	f.temp, f.beside = nil, false
}

// moved notes that from is to now, the file itself or a folder above it or above its temporary object.
func (f *File) moved(from, to string) {
	name, linked := f.name.Path()
	if !linked {
		return
	}
	f.base.Name = path.Base(name)
	for _, st := range []*stage.File{f.stg, f.backup} {
		if st == nil {
			continue
		}
		if err := st.Retarget(name); err != nil {
			f.s.log.Warn("staging file not retargeted", "path", name, "err", err)
		}
	}
}
