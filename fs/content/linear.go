package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

const (
	// sendAt is how much is collected before it is sent: a small file is one upload at its close, and may be changed
	// anywhere until then.
	sendAt = blocks.ChunkSize
	// maxGap is the longest gap that is filled with zeros in the stream. FTP has no holes.
	maxGap = 128 << 10
	// maxRestarts is how often a file larger than keepSmall that is still in memory as a whole is sent anew because a
	// byte that was sent already was changed. After that it goes to a staging file.
	maxRestarts = 2
	// keepSmall is the size up to which a file stays in memory after it was sent.
	keepSmall = blocks.ChunkSize
)

// write stores p at off. n counts what was taken.
func (f *File) write(ctx context.Context, t *turn, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		var m int
		if f.stg != nil {
			m, err = f.writeStaged(ctx, t, p[n:], off+int64(n))
		} else {
			m, err = f.writeLinear(ctx, t, p[n:], off+int64(n))
		}
		n += m
		if errors.Is(err, errStage) {
			err = t.wait(ctx, f.toStaged)
		}
		if err != nil && !errors.Is(err, errAgain) {
			return n, err
		}
	}
	return n, nil
}

// writeLinear appends, or changes bytes that were not sent. errStage: the rest needs a staging file.
func (f *File) writeLinear(ctx context.Context, t *turn, p []byte, off int64) (n int, err error) {
	f.openWindow()
	if off > f.size {
		if off-f.size > maxGap {
			return 0, errStage
		}
		if _, err := f.append(ctx, t, make([]byte, off-f.size)); err != nil {
			return 0, err
		}
	}
	if off < f.size {
		first := max(f.sent, f.windowStart())
		if off < first && !f.canRestart() {
			return 0, errStage
		}
		if off < first {
			if err := t.wait(ctx, f.restart); err != nil {
				return 0, err
			}
		}
		n = int(min(int64(len(p)), f.size-off))
		f.win.writeAt(p[:n], off)
	}
	m, err := f.append(ctx, t, p[n:])
	return n + m, err
}

// openWindow makes sure that there is a window that ends where the content ends.
func (f *File) openWindow() {
	if f.win == nil {
		f.win = newWindow(f.s.cfg.Blocks, f.s.cfg.ReplayBytes, f.size)
	}
}

// append takes p at the end of the content and sends what has piled up. On an error the content ends behind what was
// taken.
func (f *File) append(ctx context.Context, t *turn, p []byte) (n int, err error) {
	start := f.size
	for n < len(p) {
		m := 0
		if !f.gone || f.windowStart() == 0 && f.size+int64(len(p)-n) <= int64(f.win.max)*blocks.ChunkSize {
			m = f.win.append(p[n:])
		}
		n += m
		f.size += int64(m)
		switch {
		case f.gone && m == 0:
			return n, errStage // nothing goes to the server, it must be kept here
		case f.gone:
			continue
		case m == 0 && f.sent == f.size: // no memory to be had
			m, err = f.sendDirect(f.s.ctx, p[n:])
			n += m
		case n < len(p) || f.size-f.sent >= sendAt:
			err = t.wait(ctx, f.sendUnsent)
			if t.left {
				return 0, err
			}
		}
		if err != nil && !errors.Is(err, errAgain) {
			return f.cut(start, n, err)
		}
		err = nil
	}
	return n, nil
}

// cut takes back what the server did not get of a write that failed, so that the application may write it again.
func (f *File) cut(start int64, n int, err error) (int, error) {
	if errors.Is(err, errStage) || f.broken != nil {
		return n, err
	}
	f.size = max(start, f.sent)
	f.win.truncate(f.size)
	return int(f.size - start), err
}

// sendUnsent sends everything from sent to the end of the window.
func (f *File) sendUnsent(ctx context.Context) error {
	if err := f.prepare(ctx); err != nil {
		return err
	}
	err := f.win.each(f.sent, f.size, func(b []byte) error {
		n, err := f.snd.write(ctx, b)
		f.sent += int64(n)
		f.kept = f.sent
		return err
	})
	f.win.setKeep(f.sent)
	return f.sendFailed(ctx, err)
}

// sendDirect sends p, which follows what was sent, and keeps nothing of it.
func (f *File) sendDirect(ctx context.Context, p []byte) (n int, err error) {
	if err := f.prepare(ctx); err != nil {
		return 0, err
	}
	n, err = f.snd.write(ctx, p)
	f.sent += int64(n)
	f.size, f.kept = f.sent, f.sent
	f.win.reset(f.size)
	return n, f.sendFailed(ctx, err)
}

// completeStream makes the object complete and verified up to sent. sent is false when it was already, and the
// attributes in fin were not set.
func (f *File) completeStream(ctx context.Context, fin pool.Finish) (res pool.FinishResult, err error) {
	if err := f.prepare(ctx); err != nil {
		return res, err
	}
	res, sent, err := f.snd.complete(ctx, fin)
	if err := f.sendFailed(ctx, err); err != nil {
		return res, err
	}
	if !sent && fin.Attrs != (pool.Attrs{}) {
		res.AttrsErr = f.s.cfg.Remote.SetAttrs(ctx, f.object(), false, fin.Attrs)
		if res.AttrsErr == nil && fin.Attrs.ModTime != nil {
			res.Entry.ModTime, res.Entry.Exact = *fin.Attrs.ModTime, true
		}
	}
	return res, nil
}

// prepare gives the object a name and a sender.
func (f *File) prepare(ctx context.Context) error {
	f.openWindow()
	if f.mustSave() && f.sent == 0 && f.own {
		if err := f.saveOld(ctx); err != nil {
			return err
		}
	}
	if f.beside && f.temp == nil {
		t, err := f.s.newTemp(tempOp, f.path(), f.dir(), f.stageBase())
		if err != nil {
			return err
		}
		f.temp = t
	}
	if f.snd == nil {
		f.snd = f.s.newSender(f.object, f.win, f.sent, f.settled || f.sent > 0)
		f.snd.append, f.snd.temp = f.settled, f.sentTo()
		f.snd.before = f.suspendReaders
	}
	f.settled = false
	return nil
}

// sentTo is the temporary name that the content goes to, nil when it goes to the file itself.
func (f *File) sentTo() *temp {
	if f.beside {
		return f.temp
	}
	return nil
}

// sendFailed decides what a failed upload means for the content. errStage and errAgain: nothing is lost, go on so.
func (f *File) sendFailed(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoResume):
		return errStage
	case f.beside && refused(err) && f.win.hold(0):
		return f.besideRefused(ctx, err)
	case !f.beside && (f.exists || f.litter || f.snd.begun()) && refused(err) && f.snd.base == 0 && f.win.hold(0):
		return f.overwriteRefused(ctx, err)
	case errors.Is(err, errLost) && f.win.hold(0):
		f.target()
		return errAgain
	case errors.Is(err, errLost), pool.KindOf(err) == pool.KindChanged:
		f.lose(ctx, err)
	}
	return err
}

// canRestart tells whether a change of a byte that was sent is made in memory, and all sent anew.
func (f *File) canRestart() bool {
	return (f.size <= keepSmall || f.restarts < maxRestarts) && f.win.hold(0)
}

// restart makes everything unsent. The content is in the window as a whole.
func (f *File) restart(ctx context.Context) error {
	if f.snd != nil {
		f.snd.suspend(ctx)
	}
	if f.size > keepSmall {
		f.restarts++
	}
	f.target()
	return nil
}

// target chooses where the content goes that is sent from its first byte on.
func (f *File) target() {
	switch {
	case f.beside:
		f.reused = f.temp != nil
	case !f.exists:
		f.litter = f.litter || f.sent > 0 || f.snd != nil && f.snd.begun()
	case f.onlyBeside, !f.own && !f.inPlace && f.s.cfg.Replace == ReplaceRename && f.base.Size > 0:
		f.beside = true
	}
	if f.win != nil {
		f.win.hold(0)
	}
	f.own, f.settled, f.unsure, f.snd = true, false, false, nil
	f.sent, f.kept = 0, 0
	f.renew()
}

// lose gives the content up: it is neither here nor on the server.
func (f *File) lose(ctx context.Context, err error) {
	f.s.log.Error("content lost", "path", f.path(), "size", f.size, "err", err)
	f.broken = err
	if f.snd != nil {
		f.snd.abort()
		f.snd = nil
	}
	f.win.reset(f.size)
	if f.beside && f.temp != nil {
		f.temp.remove(ctx)
		f.temp = nil
	}
}
