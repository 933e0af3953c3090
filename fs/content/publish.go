package content

import (
	"context"
	"errors"
	"path"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// maxWays bounds how often a push changes its way: another kind of name, in place, staged.
const maxWays = 8

// push brings everything to the server: nil means that it is there under the file's name, verified. more is
// asked before all of the content is sent once more: what an application goes on writing is put off.
func (f *File) push(ctx context.Context, more func() bool) error {
	if !f.dirty() {
		return nil
	}
	if f.lost() {
		return changed(f.path())
	}
	if f.torn != nil {
		return f.torn
	}
	f.busy(true)
	defer f.busy(false)
	before := f.pushed
	f.pushed = f.writes
	for range maxWays {
		if f.broken != nil {
			return f.broken
		}
		var err error
		if f.stg != nil {
			var put bool
			if put, err = f.pushStaged(ctx, more); put {
				f.pushed = before // the last writer's release tries, if nothing does before
				return nil
			}
		} else {
			err = f.pushLinear(ctx)
		}
		if errors.Is(err, errStage) {
			err = errAgain
			if f.stg == nil {
				err = f.toStaged(ctx)
			}
		}
		if err == nil && !f.dirty() || err != nil && !errors.Is(err, errAgain) {
			return err
		}
	}
	return opError("write", f.path(), pool.KindOther, errors.New("no way to write the file worked"))
}

func (f *File) pushLinear(ctx context.Context) error {
	if f.settled && !f.beside && f.sent == f.size {
		return f.pushAttrs(ctx)
	}
	if f.sent < f.size {
		if err := f.sendUnsent(ctx); err != nil {
			return err
		}
	}
	res, err := f.completeStream(ctx, pool.Finish{Attrs: f.attrs()})
	if err != nil {
		return err
	}
	return f.publish(ctx, res)
}

// publish puts a complete object under the file's name, and notes that all is on the server.
func (f *File) publish(ctx context.Context, res pool.FinishResult) error {
	if f.beside {
		if err := f.renameOver(ctx, res.Entry); err != nil {
			return err
		}
	}
	attrsErr := f.settle(ctx, res)
	if f.snd != nil {
		f.snd.settle()
	}
	if f.stg == nil && f.win != nil {
		if start, _ := f.win.bounds(); start > 0 || f.size > keepSmall {
			f.win.reset(f.size)
		}
	}
	return attrsErr
}

// settle notes what the server has now. The error is about attributes that the application asked for.
func (f *File) settle(ctx context.Context, res pool.FinishResult) error {
	name := f.path()
	wanted := f.want
	var err error
	if res.AttrsErr != nil && wanted != (pool.Attrs{}) {
		// The failure may be about a mode that nobody asked for: try again what was asked.
		err = f.s.cfg.Remote.SetAttrs(ctx, name, false, wanted)
	}
	e := f.base
	e.Name, e.Type, e.Size = path.Base(name), pool.TypeFile, f.size
	if !res.Entry.ModTime.IsZero() {
		e.ModTime, e.Exact = res.Entry.ModTime, res.Entry.Exact
	}
	if res.Entry.Unique != "" {
		e.Unique = res.Entry.Unique
	}
	switch {
	case res.Entry.HasMode:
		e.Mode, e.HasMode = res.Entry.Mode, true
	case f.mode != nil && res.AttrsErr == nil:
		e.Mode, e.HasMode = *f.mode, true
	}
	if err == nil && wanted.Mode != nil {
		e.Mode, e.HasMode = e.Mode&^0o777|*wanted.Mode, true
	}
	if err == nil && wanted.ModTime != nil {
		e.ModTime, e.Exact = wanted.ModTime.UTC().Truncate(1e9), true
	}
	f.litter = false
	f.exists, f.settled, f.own, f.unsure, f.begun, f.beside, f.temp = true, true, false, false, false, false, nil
	f.base, f.mtime, f.mode, f.want = e, e.ModTime, nil, pool.Attrs{}
	f.dropBackup()
	f.show()
	f.s.cfg.Meta.Changed(name, e)
	if err != nil {
		f.s.cfg.Meta.Forget(name)
	}
	return err
}

// attrs are what goes with the upload: what the application asked for, and the mode that a new or a temporary file must
// have without being asked.
func (f *File) attrs() pool.Attrs {
	a := f.want
	switch {
	case a.Mode != nil:
	case f.mode != nil:
		a.Mode = f.mode
	case f.beside && f.base.HasMode:
		m := f.base.Mode & 0o777
		a.Mode = &m
	}
	return a
}

// pushAttrs sets attributes of content that is on the server already.
func (f *File) pushAttrs(ctx context.Context) error {
	err := f.s.cfg.Remote.SetAttrs(ctx, f.path(), false, f.want)
	return f.attrsSet(f.want, err)
}

// stageBase is the server's copy of the file as the journal and staging files know it.
func (f *File) stageBase() stage.Base {
	if !f.exists {
		return stage.Base{}
	}
	return stage.Base{Exists: true, Size: f.base.Size, ModTime: f.base.ModTime, Unique: f.base.Unique}
}
