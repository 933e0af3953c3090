package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/pool"
)

// SetAttrs sets mode and mtime: on the server now, or together with the upload that is pending. What the server cannot
// do is refused now, with KindUnsupported.
func (f *File) SetAttrs(ctx context.Context, a pool.Attrs) error {
	if a == (pool.Attrs{}) {
		return nil
	}
	if f.s.cfg.ReadOnly {
		return opError("setattr", f.path(), pool.KindReadOnly, nil)
	}
	t, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	return t.wait(ctx, func(ctx context.Context) error { return f.setAttrs(ctx, a) })
}

func (f *File) setAttrs(ctx context.Context, a pool.Attrs) error {
	if !f.dirty() && !f.gone {
		return f.attrsSet(a, f.s.cfg.Remote.SetAttrs(ctx, f.path(), false, a))
	}
	if !f.gone {
		if err := f.possible(ctx, a); err != nil {
			return err
		}
	}
	if a.Mode != nil {
		f.want.Mode = a.Mode
	}
	if a.ModTime != nil {
		f.want.ModTime = a.ModTime
	}
	return nil
}

// possible asks whether the server can set what is wanted.
func (f *File) possible(ctx context.Context, a pool.Attrs) error {
	for _, n := range []struct {
		wanted bool
		c      pool.Capability
	}{{a.Mode != nil, pool.CapChmod}, {a.ModTime != nil, pool.CapSetModTime}} {
		if !n.wanted {
			continue
		}
		ok, err := f.s.cfg.Remote.Can(ctx, n.c, f.dir())
		switch {
		case err != nil && transient(err):
			return err
		case err == nil && !ok: // when it could not be found out, the upload will tell
			return opError("setattr", f.path(), pool.KindUnsupported, errors.New("the server has no command for it"))
		}
	}
	return nil
}

// attrsSet notes what the server answered to a SetAttrs of a file that has all its content there.
func (f *File) attrsSet(a pool.Attrs, err error) error {
	f.want = pool.Attrs{}
	if err != nil {
		f.s.cfg.Meta.Forget(f.path())
		return err
	}
	if a.Mode != nil {
		f.base.Mode, f.base.HasMode = f.base.Mode&^0o777|*a.Mode, true
		f.mode = nil
	}
	if a.ModTime != nil {
		f.base.ModTime, f.base.Exact = a.ModTime.UTC().Truncate(1e9), true
		f.mtime = f.base.ModTime
	}
	f.s.cfg.Meta.Changed(f.path(), f.base)
	return nil
}
