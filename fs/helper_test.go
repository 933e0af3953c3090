package fs

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ftpsfs/ftpsfs/cache"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// newTestServer is a mount without a kernel, over a server in memory.
func newTestServer(t *testing.T) *Server {
	t.Helper()
	s, _ := newTestServerOver(t, Config{})
	return s
}

func newTestServerOver(t *testing.T, cfg Config) (*Server, *fakeRemote) {
	t.Helper()
	r := &fakeRemote{objects: map[string]pool.Entry{"/": {Type: pool.TypeDir}}}
	c := cache.New(r, cache.Options{AttrTTL: time.Minute, DirTTL: time.Minute, NegTTL: time.Minute})
	t.Cleanup(c.Close)
	cfg.Mountpoint, cfg.Remote, cfg.Cache = "/mnt", r, c
	cfg.Content = content.New(content.Config{Remote: r, Meta: c, ReadOnly: true})
	cfg.AttrTTL, cfg.DirTTL, cfg.NegTTL = time.Minute, time.Minute, time.Minute
	cfg.Log = slog.New(slog.DiscardHandler)
	s, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	fusefs.NewNodeFS(s.root, &fusefs.Options{RootStableAttr: &fusefs.StableAttr{Ino: 1}, FirstAutomaticIno: 2})
	t.Cleanup(func() {
		if err := s.Drain(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, r
}

// fakeRemote is a server in memory that renames as a careless one does: over anything.
type fakeRemote struct {
	mu      sync.Mutex
	objects map[string]pool.Entry
	calls   []string
	// refuse makes the next call of an operation fail.
	refuse map[string]pool.Kind
	// can is what Can finds out; without an entry nothing can be tried out. known is what was asked.
	can, known  map[pool.Capability]bool
	alters      string // what in names is not kept
	fold        bool   // names that differ in case alone are one
	modesAtOnce bool   // MkdirMode sets the mode
}

// at gives the path that the server has for one.
func (r *fakeRemote) at(path string) string {
	if _, ok := r.objects[path]; r.fold && !ok {
		for p := range r.objects {
			if strings.EqualFold(p, path) {
				return p
			}
		}
	}
	return path
}

func (r *fakeRemote) put(path string, e pool.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Name, e.Exact = path[strings.LastIndexByte(path, '/')+1:], true
	if e.Type == pool.TypeUnknown {
		e.Type = pool.TypeFile
	}
	r.objects[path] = e
}

// took gives the changes that were asked for since the last call.
func (r *fakeRemote) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

func fail(op, path string, k pool.Kind) error { return &pool.Error{Op: op, Path: path, Kind: k} }

func (r *fakeRemote) note(op, path string) error {
	r.calls = append(r.calls, op+" "+path)
	if k, ok := r.refuse[op]; ok {
		delete(r.refuse, op)
		return fail(op, path, k)
	}
	return nil
}

func (r *fakeRemote) Stat(_ context.Context, path string) (pool.Entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.objects[r.at(path)]
	if !ok {
		return e, fail("stat", path, pool.KindNotFound)
	}
	return e, nil
}

func (r *fakeRemote) StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error) {
	var out []pool.StatResult
	for _, p := range paths {
		e, err := r.Stat(ctx, p)
		out = append(out, pool.StatResult{Entry: e, Err: err})
	}
	return out, nil
}

func (r *fakeRemote) List(_ context.Context, dir string) (*pool.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.objects[dir]; !ok || e.Type != pool.TypeDir {
		return nil, fail("list", dir, pool.KindNotFound)
	}
	l := &pool.Listing{}
	for p, e := range r.objects {
		if p != "/" && parentOf(p) == dir {
			l.Entries = append(l.Entries, e)
		}
	}
	slices.SortFunc(l.Entries, func(a, b pool.Entry) int { return strings.Compare(a.Name, b.Name) })
	return l, nil
}

func (r *fakeRemote) change(op, path string, do func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.note(op, path); err != nil {
		return err
	}
	do()
	return nil
}

func (r *fakeRemote) Mkdir(_ context.Context, path string) error {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return r.change("mkdir", path, func() {
		r.objects[path] = pool.Entry{Name: name, Type: pool.TypeDir, Mode: 0o755, HasMode: true, Exact: true}
	})
}

func (r *fakeRemote) MkdirMode(ctx context.Context, path string, mode uint32) (bool, error) {
	err := r.Mkdir(ctx, path)
	if err != nil || !r.modesAtOnce {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.objects[path]
	e.Mode = mode
	r.objects[path] = e
	return true, nil
}

func (r *fakeRemote) MkdirTold(ctx context.Context, path string, mode uint32) (*pool.Entry, bool, error) {
	if err := r.Mkdir(ctx, path); err != nil {
		return nil, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	told := r.objects[path]
	if r.modesAtOnce {
		e := told
		e.Mode = mode
		r.objects[path] = e
	}
	return &told, r.modesAtOnce, nil
}

func (r *fakeRemote) Rmdir(_ context.Context, path string) error {
	return r.change("rmdir", path, func() { delete(r.objects, r.at(path)) })
}

func (r *fakeRemote) Remove(_ context.Context, path string) error {
	return r.change("remove", path, func() { delete(r.objects, r.at(path)) })
}

func (r *fakeRemote) Rename(_ context.Context, from, to string) error {
	return r.change("rename", from+" "+to, func() {
		moved := map[string]pool.Entry{}
		for p, e := range r.objects {
			if rest, ok := below(p, from); ok {
				delete(r.objects, p)
				if rest == "/" {
					rest, e.Name = "", to[strings.LastIndexByte(to, '/')+1:]
				}
				moved[to+rest] = e
			}
		}
		for p, e := range moved {
			r.objects[p] = e
		}
	})
}

func (r *fakeRemote) SetAttrs(_ context.Context, path string, _ bool, a pool.Attrs) error {
	return r.change("setattrs", path, func() {
		e := r.objects[path]
		if a.Mode != nil {
			e.Mode, e.HasMode = *a.Mode, true
		}
		if a.ModTime != nil {
			e.ModTime = a.ModTime.UTC().Truncate(time.Second)
		}
		r.objects[path] = e
	})
}

func (r *fakeRemote) Symlink(_ context.Context, target, path string) error {
	return r.change("symlink", path, func() {
		r.objects[path] = pool.Entry{Name: path[1:], Type: pool.TypeSymlink, Target: target}
	})
}

func (r *fakeRemote) Readlink(ctx context.Context, path string) (string, error) {
	if err := r.change("readlink", path, func() {}); err != nil {
		return "", err
	}
	e, err := r.Stat(ctx, path)
	return e.Target, err
}

func (r *fakeRemote) Download(context.Context, string, pool.DownloadOptions) (pool.Download, error) {
	return nil, fail("download", "", pool.KindUnsupported)
}

func (r *fakeRemote) Upload(context.Context, string, pool.UploadOptions) (pool.Upload, error) {
	return nil, fail("upload", "", pool.KindUnsupported)
}

func (r *fakeRemote) MaxConnections() int { return 8 }

func (r *fakeRemote) Can(_ context.Context, c pool.Capability, _ string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	can, ok := r.can[c]
	if !ok {
		return false, fail("probe", "", pool.KindReadOnly)
	}
	if r.known == nil {
		r.known = map[pool.Capability]bool{}
	}
	r.known[c] = true
	return can, nil
}

func (r *fakeRemote) Known(c pool.Capability) (can, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.can[c] && r.known[c], r.known[c]
}

func (r *fakeRemote) KeepsName(_ context.Context, path string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.alters != "" && strings.Contains(path, r.alters) {
		return fail("probe", path, pool.KindInvalidName)
	}
	return nil
}
