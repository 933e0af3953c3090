package emulate

import (
	"context"
	"maps"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Remove removes a file and what is kept of it.
func (r *Remote) Remove(ctx context.Context, name string) error {
	err := r.Server.Remove(ctx, name)
	if err == nil {
		r.forget(name)
	}
	return err
}

// Rmdir removes a folder and what is kept of it.
func (r *Remote) Rmdir(ctx context.Context, name string) error {
	err := r.Server.Rmdir(ctx, name)
	if err == nil {
		r.forget(name)
	}
	return err
}

// Rename takes what is kept along.
func (r *Remote) Rename(ctx context.Context, from, to string) error {
	err := r.Server.Rename(ctx, from, to)
	if err != nil || from == to {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warn(r.note(line{From: from, To: to}))
	move(r.kept, from, to)
	return nil
}

func (r *Remote) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if drop(r.kept, name) {
		r.warn(r.note(line{Drop: name}))
	}
}

// warn logs what the caller's operation must not fail for: the server has done it.
func (r *Remote) warn(err error) {
	if err != nil {
		r.cfg.Log.Warn("attributes kept here could not be written down", "err", err)
	}
}

// drop forgets name and everything below it.
func drop(kept map[string]record, name string) (any bool) {
	maps.DeleteFunc(kept, func(p string, _ record) bool {
		gone := below(p, name)
		any = any || gone
		return gone
	})
	return any
}

// move gives what is kept of from, and below it, the name to.
func move(kept map[string]record, from, to string) {
	drop(kept, to)
	for p, k := range maps.Clone(kept) {
		if below(p, from) {
			delete(kept, p)
			kept[to+p[len(from):]] = k
		}
	}
}

func below(name, dir string) bool {
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}

// Upload starts an upload whose attributes are kept here where the server cannot set them. A file that is made anew
// starts without what was kept of an earlier one.
func (r *Remote) Upload(ctx context.Context, name string, o pool.UploadOptions) (pool.Upload, error) {
	u, err := r.Server.Upload(ctx, name, o)
	if err != nil {
		return nil, err
	}
	return &upload{Upload: u, r: r, name: name}, nil
}

type upload struct {
	pool.Upload
	r    *Remote
	name string
}

// Finish ends the upload.
func (u *upload) Finish(ctx context.Context, f pool.Finish) (pool.FinishResult, error) {
	theirs, ours, err := u.r.divide(ctx, u.name, false, f.Attrs)
	if err != nil { // the content comes first
		theirs, ours = f.Attrs, pool.Attrs{}
	}
	f.Attrs = theirs
	res, err := u.Upload.Finish(ctx, f)
	if err != nil || ours == (pool.Attrs{}) {
		return res, err
	}
	seen := res.Entry
	if !res.Verified {
		seen.Size = f.Size
	}
	if err := u.r.keep(u.name, ours, seen); err != nil && res.AttrsErr == nil {
		res.AttrsErr = err
	}
	res.Entry = u.r.overlay(u.name, res.Entry)
	return res, nil
}
