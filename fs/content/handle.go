package content

import (
	"context"
	"errors"
	"sync"

	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Handle is one open file description. Its methods may be called concurrently.
type Handle struct {
	f     *File
	flags OpenFlags

	// guarded by f.mu
	seen uint64 // the failure that was reported last
	gen  uint64 // the content that was read of
	read bool

	mu    sync.Mutex
	rd    *reader.Reader // guarded by mu; nil until the first byte is wanted from the server
	rdVer uint64         // guarded by mu
}

// Open makes a handle. With Truncate the file is empty from here on (the server learns of it with the first flush or
// write). It waits for the network only if another handle's stream must be ended first.
func (f *File) Open(ctx context.Context, flags OpenFlags) (*Handle, error) {
	if f.s.cfg.ReadOnly && (flags.Write || flags.Append || flags.Truncate) {
		return nil, opError("open", f.path(), pool.KindReadOnly, nil)
	}
	h := &Handle{f: f, flags: flags}
	f.mu.Lock()
	f.handles[h] = struct{}{}
	h.seen, h.gen = f.errSeq, f.gen
	f.mu.Unlock()
	f.s.stats.handles.Add(1)
	if flags.Truncate {
		if err := f.truncateTurn(ctx, 0); err != nil {
			h.drop()
			return nil, err
		}
	}
	return h, nil
}

// drop takes h out of the File.
func (h *Handle) drop() {
	f := h.f
	f.mu.Lock()
	_, open := f.handles[h]
	delete(f.handles, h)
	f.mu.Unlock()
	if !open {
		return
	}
	f.s.stats.handles.Add(-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rd != nil {
		h.rd.Close()
		h.rd = nil
	}
}

// writers counts the handles that may write.
func (f *File) writers() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h := range f.handles {
		if h.flags.Write || h.flags.Append {
			n++
		}
	}
	return n
}

// readers counts the handles that may read.
func (f *File) readers() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for h := range f.handles {
		if h.flags.Read {
			n++
		}
	}
	return n
}

// Unique reports whether no other handle of the file was opened with the same access as h.
func (h *Handle) Unique() bool {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	for o := range h.f.handles {
		if o != h && o.flags.Read == h.flags.Read && o.flags.Write == h.flags.Write && o.flags.Append == h.flags.Append {
			return false
		}
	}
	return true
}

// fault notes a failure, for every handle but h, which learns of it at once.
func (f *File) fault(h *Handle, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !errors.Is(err, f.err) || f.err == nil { // lost content is one failure, however often it is told
		f.errSeq++
		f.err = err
	}
	if h != nil {
		h.seen = f.errSeq
	}
}

// owed gives the last failure if h was not told of it, once.
func (h *Handle) owed() error {
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.seen == f.errSeq {
		return nil
	}
	h.seen = f.errSeq
	return f.err
}

// WriteAt writes all of p; n < len(p) only together with an error. p is not kept. With Append, off is ignored. ctx ends
// only waits: what was taken of p goes on its way.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	f := h.f
	if !h.flags.Write && !h.flags.Append {
		return 0, opError("write", f.path(), pool.KindPermission, errors.New("not open for writing"))
	}
	t, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer t.end()
	defer f.caught(&err)
	if err := h.owed(); err != nil {
		return 0, err
	}
	if f.broken != nil {
		return 0, f.broken
	}
	if f.lost() {
		return 0, changed(f.path())
	}
	if h.flags.Append {
		off = f.size
	}
	n, err = f.write(ctx, t, p, off)
	if t.left {
		return 0, err
	}
	if n > 0 {
		f.touched()
	}
	if err != nil {
		f.fault(h, err)
	}
	f.tear(err)
	return n, err
}

// tear notes whether the last write failed. New content of an existing file that lacks a write is not what its program meant:
// the old content stays until the program has written what it could not, or has emptied the file again.
func (f *File) tear(err error) {
	f.torn = nil
	if f.exists && f.own && f.base.Size > 0 {
		f.torn = err
	}
}

// touched notes a change by an application.
func (f *File) touched() {
	f.writes++
	f.mtime = f.s.cfg.Now()
	f.want.ModTime = nil
}

// Flush is one close(2) of a descriptor: nil means that the server has everything written so far, verified. Without new
// data it costs nothing. more tells whether the caller holds another descriptor of this handle (a shell's
// redirection), nil: it does not. It is only asked, with the File's turn held, where an upload may be put off for it: of a
// file that is only created or truncated and has no byte yet, and of one that would have to be sent as a whole again.
func (h *Handle) Flush(ctx context.Context, more func() bool) error {
	if !h.flags.Write && !h.flags.Append && !h.flags.Truncate {
		return nil
	}
	if more == nil {
		more = nothingToCome
	}
	return h.flush(ctx, more)
}

// Fsync is fsync(2) and fdatasync(2): as Flush, and nothing is put off.
func (h *Handle) Fsync(ctx context.Context) error { return h.flush(ctx, nothingToCome) }

func nothingToCome() bool { return false }

func (h *Handle) flush(ctx context.Context, more func() bool) error {
	f := h.f
	t, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	owed := h.owed()
	if f.size == 0 && f.sent == 0 && f.stg == nil && f.broken == nil && f.dirty() && more() {
		return owed
	}
	err = t.wait(ctx, func(ctx context.Context) error { return f.push(ctx, more) })
	if err != nil {
		if !t.left {
			f.fault(h, err)
		}
		return err
	}
	return owed
}

// Release ends the handle: data that came after the last Flush (mmap) is sent, or kept in the recovery folder and logged.
// It waits for the network, bounded by the time-outs of the Remote.
func (h *Handle) Release() {
	f := h.f
	t, err := f.begin(context.Background())
	if err != nil {
		return // cannot be: the context has no end
	}
	defer t.end()
	h.drop()
	if !h.flags.Read || h.flags.Write || h.flags.Append || h.flags.Truncate {
		f.lastWriter(h)
	}
	f.mu.Lock()
	left := len(f.handles)
	f.mu.Unlock()
	if left == 0 {
		f.letGo(f.s.ctx)
	}
}

// lastWriter is called when h, a handle for writing, is released. After the last of them nothing stays local.
func (f *File) lastWriter(h *Handle) {
	if f.writers() > 0 {
		return
	}
	if f.dirty() {
		f.mu.Lock()
		err := f.err
		told := err != nil && h.seen == f.errSeq
		f.mu.Unlock()
		if f.torn == nil && (f.writes != f.pushed || !f.exists && f.pushed == 0) {
			err, told = f.push(f.s.ctx, nothingToCome), false
		}
		if f.dirty() {
			f.keep(err, told)
		}
	}
	if !f.gone {
		f.unstage()
	}
}
