package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

const (
	// maxPatches is how many ranges are written in place one by one.
	maxPatches = 256
	// streamAgain is how much must have been written in sequence, at the end, before a staged file is streamed again.
	streamAgain = 16 << 20
	// fillLimit is the size up to which what a push fetches is kept: the next push need not fetch it again.
	fillLimit = 256 << 20
)

// toStaged moves a linear file to a staging file. What was streamed is completed on the server first.
func (f *File) toStaged(ctx context.Context) error {
	f.openWindow()
	if f.snd != nil && !f.snd.idle() {
		if _, _, err := f.snd.complete(ctx, pool.Finish{}); err != nil {
			if err := f.streamUnfinished(ctx, err); err != nil {
				return err
			}
		}
	}
	start, _ := f.win.bounds()
	if start == 0 && f.size <= keepSmall && f.win.hold(0) {
		// All of it is here: nothing of the object is needed.
		f.target()
	}
	st, err := f.newStage()
	if err != nil {
		return err
	}
	if err := f.unload(st); err != nil {
		f.s.discard(st)
		return err
	}
	f.win.reset(f.size)
	f.stg, f.snd, f.run = st, nil, 0
	f.s.stats.staged.Add(1)
	f.show()
	return nil
}

// streamUnfinished decides what becomes of a stream that could not be completed on the way to the staging file.
func (f *File) streamUnfinished(ctx context.Context, err error) error {
	if f.win.hold(0) {
		f.target()
		return nil
	}
	if errors.Is(err, errLost) || pool.KindOf(err) == pool.KindChanged {
		f.lose(ctx, err)
	}
	return err
}

// newStage makes a staging file that lies over the object as it is now.
func (f *File) newStage() (*stage.File, error) {
	base := f.stageBase()
	if f.kept > 0 && !f.settled {
		base = stage.Base{Exists: true, Size: f.kept}
	}
	st, err := f.s.cfg.Stage.Create(f.path(), base)
	if err != nil {
		return nil, err
	}
	if st.Size() != f.kept {
		if err := st.Truncate(f.kept); err != nil {
			f.s.discard(st)
			return nil, err
		}
	}
	return st, nil
}

// unload copies the window to the staging file.
func (f *File) unload(st *stage.File) error {
	start, end := f.win.bounds()
	for !f.win.hold(start) { // somebody else needed the memory just now
		start, end = f.win.bounds()
	}
	if start < f.kept {
		at := start
		err := f.win.each(start, min(f.kept, end), func(b []byte) error {
			err := st.Fill(b, at)
			at += int64(len(b))
			return err
		})
		if err != nil {
			return err
		}
	}
	at := max(f.kept, start) // in between lies what nobody can read any more
	err := f.win.each(at, end, func(b []byte) error {
		_, err := st.WriteAt(b, at)
		at += int64(len(b))
		return err
	})
	if err == nil && st.Size() < f.size {
		err = st.Truncate(f.size)
	}
	return err
}

// writeStaged stores p in the staging file. A long sequence at the end leaves it again: it may be longer than the local
// disk has room for.
func (f *File) writeStaged(ctx context.Context, t *turn, p []byte, off int64) (int, error) {
	if off != f.size {
		f.run = 0
	}
	if f.run >= streamAgain && t.wait(ctx, f.unspool) == nil {
		return 0, nil
	}
	if t.left {
		return 0, canceled(ctx)
	}
	n, err := f.stg.WriteAt(p, off)
	f.size = f.stg.Size()
	if f.run += int64(n); err != nil {
		if t.wait(ctx, f.unspool) == nil {
			return n, nil
		}
		if t.left {
			return 0, canceled(ctx)
		}
	}
	return n, err
}

// unspool brings what is staged to the object, without publishing it, and makes the file linear again. It fails where
// all would have to be sent, or another server's answer is wanted first; the staging file goes on then.
func (f *File) unspool(ctx context.Context) error {
	f.run = 0
	defer f.closeSource()
	if f.gone {
		return errStage
	}
	snap := f.stg.Snapshot()
	if len(snap.Dirty) == 0 {
		return errStage
	}
	way, err := f.way(ctx, snap)
	if err != nil || way == wayWhole {
		return errStage
	}
	if _, err := f.bring(ctx, way, snap, pool.Attrs{}); err != nil {
		f.s.log.Info("stays in the staging file", "path", f.path(), "err", err)
		return errStage
	}
	f.dropStage()
	f.dropLinear(f.size)
	return nil
}

// unstage makes a clean file linear again: the server has all of it.
func (f *File) unstage() {
	if f.stg == nil || f.dirty() {
		return
	}
	f.dropStage()
	f.dropLinear(f.size)
	f.restarts, f.reads = 0, 0
}

func (f *File) dropStage() {
	f.s.discard(f.stg)
	f.stg = nil
	f.s.stats.staged.Add(-1)
}

// pushStaged uploads what is dirty, in the cheapest way that loses nothing. later: it is put off.
func (f *File) pushStaged(ctx context.Context, more func() bool) (later bool, err error) {
	defer f.closeSource()
	snap := f.stg.Snapshot()
	if (len(snap.Dirty) == 0 || f.begun) && f.objectComplete() {
		if f.settled && !f.beside && !f.begun {
			return false, f.pushAttrs(ctx)
		}
		return false, f.publishStaged(ctx, snap.Gen, pool.FinishResult{AttrsErr: f.setAttrsOf(ctx)})
	}
	way, err := f.way(ctx, snap)
	switch {
	case err != nil:
		return false, err
	case way == wayWhole && f.lastPush > 0 && more():
		// All of it would be sent for each of many flushes. If this program dies before the last one, the next mount does it.
		_, err := f.stg.Commit()
		return err == nil, err
	case way == wayWhole:
		return false, f.pushWhole(ctx)
	}
	if !f.own { // of what nobody was told yet, the next mount finishes nothing
		if snap, err = f.stg.Commit(); err != nil {
			return false, err
		}
	}
	res, err := f.bring(ctx, way, snap, f.attrs())
	if err != nil {
		return false, err
	}
	return false, f.publishStaged(ctx, snap.Gen, res)
}

// bring makes the object as long as the content and as new, by appending to it or writing over it.
func (f *File) bring(ctx context.Context, way way, snap stage.Snapshot, a pool.Attrs) (pool.FinishResult, error) {
	if way == wayTail {
		return f.bringTail(ctx, a)
	}
	return f.bringPatches(ctx, snap, a)
}

// objectComplete tells whether the object is as long as the content, and may be published.
func (f *File) objectComplete() bool {
	switch {
	case f.unsure || f.size != f.sent || f.kept != f.sent:
		return false
	case f.beside:
		return f.temp != nil && !f.inPlace
	}
	return f.settled || f.own && !f.exists && f.sent > 0
}

// setAttrsOf sets the attributes of an object that is complete.
func (f *File) setAttrsOf(ctx context.Context) error {
	a := f.attrs()
	if a == (pool.Attrs{}) {
		return nil
	}
	return f.s.cfg.Remote.SetAttrs(ctx, f.object(), false, a)
}

// publishStaged is publish for staged content of generation gen.
func (f *File) publishStaged(ctx context.Context, gen uint64, res pool.FinishResult) error {
	f.stg.Clean(gen)
	err := f.publish(ctx, res)
	if !f.settled {
		return err
	}
	f.renew()
	if err := f.stg.Settle(gen, f.stageBase()); err != nil {
		f.s.log.Warn("staging file not settled", "path", f.path(), "err", err)
	}
	return err
}
