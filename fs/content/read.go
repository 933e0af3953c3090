package content

import (
	"context"
	"errors"
	"io"

	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// errOpenStream says that bytes are wanted that are under way in an open upload.
var errOpenStream = errors.New("in an open upload")

// maxCompletions is how often a stream is completed for a reader before the file goes to a staging file.
const maxCompletions = 2

// ReadAt reads as io.ReaderAt: fewer bytes than asked for only together with io.EOF or another error.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	for {
		if err := h.f.turns.Acquire(ctx, 1); err != nil {
			return 0, canceled(ctx)
		}
		n, err := h.readAt(ctx, p, off)
		if !errors.Is(err, errOpenStream) {
			return n, err
		}
		// Some servers do not answer a RETR of a file that they are just receiving.
		if err := h.f.do(ctx, h.f.completeForReader); err != nil {
			return 0, err
		}
	}
}

// readAt reads with a shared turn, which it ends.
func (h *Handle) readAt(ctx context.Context, p []byte, off int64) (_ int, err error) {
	f := h.f
	defer f.turns.Release(1)
	defer func() {
		if p := recover(); p != nil {
			err = f.s.panicked(f.path(), p)
		}
	}()
	if err := h.sameContent(); err != nil {
		return 0, err
	}
	if f.broken != nil {
		return 0, f.broken
	}
	if off >= f.size || len(p) == 0 {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	want := len(p)
	p = p[:min(int64(len(p)), f.size-off)]
	var n int
	if f.stg != nil {
		n, err = f.readStaged(ctx, h.reader, p, off, true)
	} else {
		n, err = h.readLinear(ctx, p, off)
	}
	if err == nil && n < want {
		err = io.EOF
	}
	return n, err
}

// sameContent refuses to go on when another host replaced what h has read of.
func (h *Handle) sameContent() error {
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if h.gen != f.gen && h.read {
		return opError("read", f.view.entry.Name, pool.KindChanged, errors.New("another host replaced the file"))
	}
	h.gen, h.read = f.gen, true
	return nil
}

// readLinear reads what lies in the window from there and the rest from the object.
func (h *Handle) readLinear(ctx context.Context, p []byte, off int64) (int, error) {
	f := h.f
	n := 0
	if start := f.windowStart(); off < start {
		if f.snd != nil && !f.snd.idle() {
			return 0, errOpenStream
		}
		head := p[:min(int64(len(p)), start-off)]
		var err error
		if n, err = exact(h.reader().ReadAt(ctx, head, off))(head); err != nil {
			return n, err
		}
	}
	for n < len(p) {
		m, ok := f.win.readAt(p[n:], off+int64(n))
		if !ok { // given up for others' sake between the two looks
			return 0, errOpenStream
		}
		n += m
	}
	return n, nil
}

// exact turns a short read into a failure: the object is shorter than it was said to be.
func exact(n int, err error) func(p []byte) (int, error) {
	return func(p []byte) (int, error) {
		if n == len(p) {
			return n, nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = opError("read", "", pool.KindChanged, io.ErrUnexpectedEOF)
		}
		return n, err
	}
}

// windowStart is where the bytes begin that are in memory.
func (f *File) windowStart() int64 {
	if f.win == nil {
		return f.size
	}
	start, _ := f.win.bounds()
	return start
}

// completeForReader ends an open upload at its offset, so that the object can be read.
func (f *File) completeForReader(ctx context.Context) error {
	if f.stg != nil || f.snd == nil || f.snd.idle() || f.broken != nil {
		return nil
	}
	f.reads++
	if f.reads > maxCompletions {
		return f.toStaged(ctx)
	}
	_, err := f.completeStream(ctx, pool.Finish{})
	if errors.Is(err, errAgain) || errors.Is(err, errStage) {
		return f.toStaged(ctx)
	}
	return err
}

// readStaged reads what the staging file has, and the rest from the object. fill keeps what was fetched.
func (f *File) readStaged(ctx context.Context, rd func() *reader.Reader, p []byte, off int64, fill bool) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		m, err := f.stg.ReadAt(p[n:], at)
		n += m
		if err == nil || n == len(p) {
			continue
		}
		if !errors.Is(err, stage.ErrMissing) {
			return n, err
		}
		at = off + int64(n)
		miss := f.stg.Missing(at, int64(len(p)-n))
		if len(miss) == 0 || miss[0].Off != at {
			continue // another reader filled it just now
		}
		part := p[n : int64(n)+miss[0].Len]
		m, err = exact(rd().ReadAt(ctx, part, at))(part)
		if fill && m > 0 {
			if err := f.stg.Fill(part[:m], at); err != nil {
				f.s.log.Debug("not kept in the staging file", "path", f.path(), "err", err)
			}
		}
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// reader gives the handle's reader of the object. The caller has a turn.
func (h *Handle) reader() *reader.Reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := h.f.key()
	switch {
	case h.rd == nil:
		h.rd = h.f.newReader()
	case h.rdVer != key.Version:
		h.rd.Reset(key, h.f.sent)
	}
	h.rdVer = key.Version
	return h.rd
}

func (f *File) newReader() *reader.Reader {
	return reader.New(reader.Config{
		Downloader: f.s.cfg.Remote,
		MaxFlows:   f.s.cfg.Remote.MaxConnections,
		Blocks:     f.s.cfg.Blocks,
		Path:       f.where,
		Key:        f.key(),
		Size:       f.sent,
		Expect:     f.expected,
		Line:       f.s.line,
		Log:        f.s.log,
	})
}

// where is object for goroutines without a turn.
func (f *File) where() string {
	f.mu.Lock()
	t := f.view.temp
	f.mu.Unlock()
	if t != nil {
		return t.path()
	}
	return f.path()
}

// expected is what the server's file was when it was opened or last written by us; nil while only we know.
func (f *File) expected() *pool.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.view.settled || f.view.temp != nil {
		return nil
	}
	was := f.view.base
	return &was
}

// compare gives KindChanged when the server's file is not was any more.
func (f *File) compare(ctx context.Context, was pool.Entry) error {
	now, err := f.s.cfg.Remote.Stat(ctx, f.path())
	if err != nil {
		return err
	}
	if now.Size >= 0 && now.Size != was.Size || !sameTime(now, was) {
		return changed(f.path())
	}
	return nil
}

// suspendReaders makes every reader of the object give its download up, and forget what it fetched: the object is about
// to change, and some servers block a STOR until a RETR of the same file has ended.
func (f *File) suspendReaders() {
	f.mu.Lock()
	all := make([]*Handle, 0, len(f.handles))
	for h := range f.handles {
		all = append(all, h)
	}
	f.mu.Unlock()
	for _, h := range all {
		h.mu.Lock()
		rd := h.rd
		h.mu.Unlock()
		if rd != nil {
			rd.Suspend()
		}
	}
	if f.src != nil {
		f.src.Suspend()
	}
	f.renew()
}
