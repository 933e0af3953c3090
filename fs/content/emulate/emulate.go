package emulate

import (
	"context"
	"log/slog"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Server is what is decorated. *pool.Pool is one.
type Server interface {
	Stat(ctx context.Context, path string) (pool.Entry, error)
	StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error)
	List(ctx context.Context, dir string) (*pool.Listing, error)
	Mkdir(ctx context.Context, path string) error
	MkdirMode(ctx context.Context, path string, mode uint32) (set bool, err error)
	MkdirTold(ctx context.Context, path string, mode uint32) (told *pool.Entry, set bool, err error)
	Rmdir(ctx context.Context, path string) error
	Remove(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string) error
	SetAttrs(ctx context.Context, path string, isDir bool, a pool.Attrs) error
	Symlink(ctx context.Context, target, path string) error
	Readlink(ctx context.Context, path string) (string, error)
	Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error)
	Upload(ctx context.Context, path string, o pool.UploadOptions) (pool.Upload, error)
	Can(ctx context.Context, c pool.Capability, probeDir string) (bool, error)
	MaxConnections() int
	Known(c pool.Capability) (can, known bool)
	KeepsName(ctx context.Context, path string) error
}

// Config says what is kept, and where.
type Config struct {
	Server  Server
	File    string // in the state folder, one for each server and root; made 0600 when missing
	Mode    bool   // keep modes
	ModTime bool   // keep modification times
	Log     *slog.Logger
}

// Remote is a Server that can set modes and times. Its methods may be called concurrently.
type Remote struct {
	Server
	cfg Config

	mu   sync.Mutex
	kept map[string]record // by path; guarded by mu
	log  *journal          // guarded by mu
}

var _ Server = (*Remote)(nil)

// record is what is kept of one name.
type record struct {
	Mode    *uint32    `json:"mode,omitempty"`
	ModTime *time.Time `json:"mtime,omitempty"`
	// The server's own when ModTime was set.
	Seen time.Time `json:"seen,omitzero"`
	Size int64     `json:"size,omitempty"`
}

// New reads what was kept by earlier mounts.
func New(cfg Config) (*Remote, error) {
	log, kept, err := openJournal(cfg.File)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Remote{Server: cfg.Server, cfg: cfg, kept: kept, log: log}, nil
}

// Close ends the use of the file.
func (r *Remote) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.close()
}

// Stat gives the server's answer with what is kept here.
func (r *Remote) Stat(ctx context.Context, name string) (pool.Entry, error) {
	e, err := r.Server.Stat(ctx, name)
	switch {
	case err == nil:
		return r.overlay(name, e), nil
	case pool.KindOf(err) == pool.KindNotFound:
		r.forget(name) // another host removed it: what comes next under this name is another file
	}
	return e, err
}

// StatMany is Stat for many names.
func (r *Remote) StatMany(ctx context.Context, names []string) ([]pool.StatResult, error) {
	all, err := r.Server.StatMany(ctx, names)
	for i := range all {
		if all[i].Err == nil {
			all[i].Entry = r.overlay(names[i], all[i].Entry)
		}
	}
	return all, err
}

// List gives a folder with what is kept here.
func (r *Remote) List(ctx context.Context, dir string) (*pool.Listing, error) {
	l, err := r.Server.List(ctx, dir)
	if err != nil {
		return l, err
	}
	own := *l
	own.Entries = slices.Clone(l.Entries)
	for i, e := range own.Entries {
		own.Entries[i] = r.overlay(path.Join(dir, e.Name), e)
	}
	return &own, nil
}

func (r *Remote) overlay(name string, e pool.Entry) pool.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.kept[name]
	if !ok {
		return e
	}
	if k.Mode != nil {
		e.Mode, e.HasMode = e.Mode&^0o777|*k.Mode, true
	}
	if k.ModTime != nil && k.fits(e) {
		e.ModTime, e.Exact = *k.ModTime, true
	}
	return e
}

// fits tells whether the server's file is the one that the time was set for. The size of a folder means nothing, and a
// time that is not exact is no reason to doubt.
func (k record) fits(e pool.Entry) bool {
	if e.Type != pool.TypeDir && e.Size >= 0 && e.Size != k.Size {
		return false
	}
	return !e.Exact || e.ModTime.Unix() == k.Seen.Unix()
}

// Can is true for what is kept here.
func (r *Remote) Can(ctx context.Context, c pool.Capability, probeDir string) (bool, error) {
	switch c {
	case pool.CapChmod:
		if r.cfg.Mode {
			return true, nil
		}
	case pool.CapSetModTime, pool.CapSetDirModTime:
		if r.cfg.ModTime {
			return true, nil
		}
	}
	return r.Server.Can(ctx, c, probeDir)
}

// divide splits attributes into those that the server sets and those that are kept here.
func (r *Remote) divide(ctx context.Context, name string, isDir bool, a pool.Attrs) (theirs, ours pool.Attrs, err error) {
	theirs = a
	able := func(c pool.Capability) (bool, error) {
		ok, err := r.Server.Can(ctx, c, path.Dir(name))
		switch {
		case err == nil:
			return ok, nil
		case ctx.Err() != nil || pool.KindOf(err) == pool.KindNetwork || pool.KindOf(err) == pool.KindTimeout:
			return false, err
		}
		return false, nil // it could not be found out: keep it here
	}
	if a.Mode != nil && r.cfg.Mode {
		ok, err := able(pool.CapChmod)
		if err != nil {
			return theirs, ours, err
		}
		if !ok {
			theirs.Mode, ours.Mode = nil, a.Mode
		}
	}
	if a.ModTime != nil && r.cfg.ModTime {
		c := pool.CapSetModTime
		if isDir {
			c = pool.CapSetDirModTime
		}
		ok, err := able(c)
		if err != nil {
			return theirs, ours, err
		}
		if !ok {
			theirs.ModTime, ours.ModTime = nil, a.ModTime
		}
	}
	return theirs, ours, nil
}

// SetAttrs sets on the server what it can, and keeps the rest.
func (r *Remote) SetAttrs(ctx context.Context, name string, isDir bool, a pool.Attrs) error {
	theirs, ours, err := r.divide(ctx, name, isDir, a)
	if err != nil {
		return err
	}
	if theirs != (pool.Attrs{}) {
		if err := r.Server.SetAttrs(ctx, name, isDir, theirs); err != nil {
			return err
		}
	}
	if ours == (pool.Attrs{}) {
		return nil
	}
	e, err := r.Server.Stat(ctx, name)
	if err != nil {
		return err
	}
	return r.keep(name, ours, e)
}

// SetLinkTime keeps the modification time of a symlink itself, whatever Config.ModTime says. FTP has no command for that: those
// that set times follow links. e is what was told of the link last.
func (r *Remote) SetLinkTime(name string, e pool.Entry, t time.Time) error {
	return r.keep(name, pool.Attrs{ModTime: &t}, r.underlay(name, e))
}

// keep notes attributes of the object that the server describes as e.
func (r *Remote) keep(name string, a pool.Attrs, e pool.Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[name]
	if a.Mode != nil {
		m := *a.Mode & 0o777
		k.Mode = &m
	}
	if a.ModTime != nil {
		t := a.ModTime.UTC().Truncate(time.Second)
		k.ModTime, k.Seen, k.Size = &t, e.ModTime, e.Size
	}
	r.kept[name] = k
	return r.note(line{Set: name, Record: k})
}

// note appends to the journal.
func (r *Remote) note(l line) error {
	if err := r.log.append(l); err != nil {
		return &pool.Error{Op: "setattr", Path: l.Set, Kind: pool.KindOther, Err: err}
	}
	return nil
}

// Download asks the server for the file with the time that the server has of it.
func (r *Remote) Download(ctx context.Context, name string, o pool.DownloadOptions) (pool.Download, error) {
	if o.Expect != nil {
		was := r.underlay(name, *o.Expect)
		o.Expect = &was
	}
	return r.Server.Download(ctx, name, o)
}

// underlay is the reverse of overlay for the time.
func (r *Remote) underlay(name string, e pool.Entry) pool.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.kept[name]; ok && k.ModTime != nil && e.ModTime.Equal(*k.ModTime) {
		e.ModTime, e.Exact = k.Seen, k.Seen.Second() != 0 // without seconds it may be the rough time of a listing
	}
	return e
}
