package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/reader"
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
		st.Close(false)
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
			st.Close(false)
			return nil, err
		}
	}
	return st, nil
}

// unload copies the window to the staging file.
func (f *File) unload(st *stage.File) error {
	start, end := f.win.bounds()
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
	if _, err := f.stg.Close(false); err != nil {
		f.s.log.Warn("staging file not removed", "path", f.path(), "err", err)
	}
	f.stg = nil
	f.s.stats.staged.Add(-1)
}

// pushStaged uploads what is dirty, in the cheapest way that loses nothing. later: it is put off.
func (f *File) pushStaged(ctx context.Context, lazy bool) (later bool, err error) {
	defer f.closeSource()
	snap := f.stg.Snapshot()
	if len(snap.Dirty) == 0 && f.objectComplete() {
		if f.settled && !f.beside {
			return false, f.pushAttrs(ctx)
		}
		return false, f.publishStaged(ctx, snap.Gen, pool.FinishResult{AttrsErr: f.setAttrsOf(ctx)})
	}
	way, err := f.way(ctx, snap)
	switch {
	case err != nil:
		return false, err
	case way == wayWhole && lazy && f.lastPush > 0:
		return true, nil // all of it would be sent for each of many flushes, and the application goes on writing
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

// way is how staged content goes up.
type way uint8

const (
	wayWhole way = iota
	wayTail      // append what is beyond the object
	wayPatch     // write the dirty ranges in place
)

func (f *File) way(ctx context.Context, snap stage.Snapshot) (way, error) {
	if f.unsure || f.sent == 0 || f.kept < f.sent || f.size < f.sent || f.beside && (f.temp == nil || f.inPlace) {
		return wayWhole, nil
	}
	if len(snap.Dirty) > 0 && snap.Dirty[0].Off >= f.sent {
		ok, err := f.resumes(ctx)
		if ok || err != nil {
			return wayTail, err
		}
		return wayWhole, nil
	}
	if !f.own && f.s.cfg.Replace != ReplaceInPlace || len(snap.Dirty) > maxPatches {
		return wayWhole, nil
	}
	var dirty int64
	for _, r := range snap.Dirty {
		dirty += r.Len
	}
	if dirty > f.size/2 {
		return wayWhole, nil
	}
	ok, err := f.can(ctx, pool.CapKeepsTail)
	if ok {
		return wayPatch, nil
	}
	return wayWhole, err
}

// can asks what the server does; only a broken connection is an error.
func (f *File) can(ctx context.Context, c pool.Capability) (bool, error) {
	ok, err := f.s.cfg.Remote.Can(ctx, c, f.dir())
	if err != nil && !transient(err) {
		err = nil
	}
	return ok && err == nil, err
}

// bringTail appends to the object what lies behind it.
func (f *File) bringTail(ctx context.Context, a pool.Attrs) (pool.FinishResult, error) {
	d := f.s.newSender(f.object, stagedReplay{f, ctx}, f.sent, true)
	d.append, d.before = f.settled, f.suspendReaders
	f.settled = false
	res, err := f.sendStaged(ctx, d, f.sent, a)
	if err != nil {
		f.unsure = true // some of it may be there
		if errors.Is(err, errNoResume) {
			err = errAgain
		}
		return res, err
	}
	f.sent, f.kept = f.size, f.size
	return res, nil
}

// sendStaged sends the content from off on with d, and completes it.
func (f *File) sendStaged(ctx context.Context, d *sender, off int64, a pool.Attrs) (pool.FinishResult, error) {
	err := f.eachContent(ctx, off, f.size, func(b []byte) error {
		_, err := d.write(ctx, b)
		return err
	})
	if err == nil {
		var res pool.FinishResult
		if res, _, err = d.complete(ctx, pool.Finish{Attrs: a}); err == nil {
			return res, nil
		}
	}
	d.abort()
	return pool.FinishResult{}, err
}

// eachContent calls fn with the content [from, to), in order. What is fetched from the object is fetched once.
func (f *File) eachContent(ctx context.Context, from, to int64, fn func([]byte) error) error {
	buf, free := f.s.buffer()
	defer free()
	fill := f.size <= fillLimit
	for from < to {
		b := buf[:min(int64(len(buf)), to-from, blocks.ChunkSize-from%blocks.ChunkSize)]
		n, err := f.readStaged(ctx, f.source, b, from, fill)
		if err != nil {
			return err
		}
		if err := fn(b[:n]); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// source is what a push reads of the object.
func (f *File) source() *reader.Reader {
	if f.src == nil {
		f.src = f.newReader()
	}
	return f.src
}

func (f *File) closeSource() {
	if f.src != nil {
		f.src.Close()
		f.src = nil
	}
}

// stagedReplay sends staged content again: all of it is here, or can be fetched.
type stagedReplay struct {
	f   *File
	ctx context.Context
}

func (r stagedReplay) hold(int64) bool { return true }

func (r stagedReplay) each(from, to int64, fn func([]byte) error) error {
	return r.f.eachContent(r.ctx, from, to, fn)
}

// bringPatches writes the dirty ranges over those of the object.
func (f *File) bringPatches(ctx context.Context, snap stage.Snapshot, a pool.Attrs) (res pool.FinishResult, err error) {
	f.suspendReaders()
	f.settled = false
	for i, r := range snap.Dirty {
		fin := pool.Finish{Size: max(f.sent, r.End())}
		if i == len(snap.Dirty)-1 {
			fin.Attrs = a
		}
		if res, err = f.patch(ctx, r, fin); err != nil {
			f.unsure = f.unsure || fin.Size > f.sent
			return res, err
		}
		f.sent, f.kept = fin.Size, fin.Size
	}
	return res, nil
}

// patch writes one range in place. It may be done again as often as necessary.
func (f *File) patch(ctx context.Context, r stage.Range, fin pool.Finish) (res pool.FinishResult, err error) {
	for range maxStrikes {
		res, err = f.patchOnce(ctx, r, fin)
		if err == nil || !resumable(err) {
			break
		}
		f.s.stats.resumed.Add(1)
	}
	return res, err
}

func (f *File) patchOnce(ctx context.Context, r stage.Range, fin pool.Finish) (pool.FinishResult, error) {
	up, err := f.s.cfg.Remote.Upload(ctx, f.object(), pool.UploadOptions{Mode: pool.UploadAt, Offset: r.Off})
	if err != nil {
		return pool.FinishResult{}, err
	}
	f.s.stats.streams.Add(1)
	defer f.s.stats.streams.Add(-1)
	err = f.eachContent(ctx, r.Off, r.End(), func(b []byte) error {
		n, err := up.Write(b)
		f.s.stats.bytesSent.Add(int64(n))
		return err
	})
	if err != nil {
		up.Abort()
		return pool.FinishResult{}, err
	}
	res, err := up.Finish(ctx, fin)
	if err == nil {
		f.s.stats.uploads.Add(1)
	}
	return res, err
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
