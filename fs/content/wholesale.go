package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// pushWhole uploads all of a staged file, to a temporary name beside it or in place. What is missing comes from the
// object while it is sent.
func (f *File) pushWhole(ctx context.Context) error {
	if f.settled && !f.beside && f.kept > 0 && len(f.stg.Missing(0, f.size)) > 0 {
		// Content of two versions must never be mixed.
		if err := f.compare(ctx, f.base); err != nil {
			return err
		}
	}
	resumes, err := f.resumes(ctx)
	if err != nil {
		return err
	}
	if !resumes {
		// The upload must not wait for a download: it could not give its connection up.
		if err := f.fillMissing(ctx); err != nil {
			return err
		}
		f.closeSource()
	}
	old := f.temp
	dst, err := f.destination(ctx)
	if err != nil {
		return err
	}
	snap, err := f.stg.Commit()
	if err != nil {
		return err
	}
	where := f.path
	if dst != nil {
		where = dst.path
	}
	d := f.s.newSender(where, stagedReplay{f, ctx}, 0, false)
	d.steady, d.temp = !resumes, dst
	if dst == nil {
		d.before = f.suspendReaders
		f.settled = false
	}
	res, err := f.sendStaged(ctx, d, 0, f.attrs())
	if err != nil {
		return f.wholeFailed(ctx, dst, d.begun(), err)
	}
	f.closeSource()
	if old != nil && old != dst && f.beside {
		old.remove(ctx)
	}
	f.temp, f.beside = dst, dst != nil
	f.sent, f.kept, f.lastPush = f.size, f.size, f.size
	f.show()
	return f.publishStaged(ctx, snap.Gen, res)
}

// resumes tells whether the server goes on with a file, so that an upload can be interrupted.
func (f *File) resumes(ctx context.Context) (bool, error) {
	if f.s.noResume.Load() {
		return false, nil
	}
	ok, err := f.can(ctx, pool.CapResumeStore)
	if err == nil && !ok {
		ok, err = f.can(ctx, pool.CapAppend)
	}
	return ok, err
}

// destination chooses where the whole content is sent: a new temporary name, or nil for the file itself. Whatever is
// needed of a file that is about to be written over is fetched first.
func (f *File) destination(ctx context.Context) (*temp, error) {
	replace := f.exists && f.base.Size > 0 || f.sent > 0
	if f.onlyBeside || replace && !f.inPlace && f.s.cfg.Replace == ReplaceRename {
		// New says that all of the staged content goes there, from its first byte on: the next mount may go on with it.
		return f.s.beginTemp(stage.Record{
			Op: tempOp, Path: f.path(), Temp: f.s.names.next(f.dir()), Base: f.stageBase(), New: stage.Base{Exists: true, Size: f.size},
		})
	}
	if f.exists && f.inPlace && f.s.cfg.Replace == ReplaceRename {
		if err := f.saveOld(ctx); err != nil {
			return nil, err
		}
	}
	if f.beside {
		return nil, nil
	}
	return nil, f.fillMissing(ctx)
}

// fillMissing fetches all that the staging file does not have, and needs no more of the object.
func (f *File) fillMissing(ctx context.Context) error {
	for _, r := range f.stg.Missing(0, f.size) {
		if err := f.fillRange(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) fillRange(ctx context.Context, r stage.Range) error {
	buf, free := f.s.buffer()
	defer free()
	for off := r.Off; off < r.End(); {
		b := buf[:min(int64(len(buf)), r.End()-off)]
		n, err := exact(f.source().ReadAt(ctx, b, off))(b)
		if err != nil {
			return err
		}
		if err := f.stg.Fill(b[:n], off); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// wholeFailed decides how to go on after a failed upload of everything. The staging file still has it all.
func (f *File) wholeFailed(ctx context.Context, dst *temp, begun bool, err error) error {
	if dst == nil {
		// What the file holds now is nobody's content: everything is here, the next try sends it all.
		f.sent, f.kept, f.own = 0, 0, f.own || f.backup == nil
		if f.litter && refused(err) {
			return f.overwriteRefused(ctx, err)
		}
		f.litter = !f.exists
		if f.exists && refused(err) && !f.inPlace && !f.onlyBeside {
			f.onlyBeside = true
			return errAgain
		}
		if !begun {
			f.dropBackup() // the file was not touched
			f.inPlace = false
			return err
		}
		return f.restoreOld(ctx, err)
	}
	plain := f.s.names.plain.Load()
	if err := dst.amend(func(r *stage.Record) { r.New = stage.Base{} }); err != nil { // the content may change before the next try
		f.s.log.Warn("journal not written", "path", f.path(), "err", err)
	}
	dst.remove(ctx)
	if errors.Is(err, errNoResume) {
		f.s.noResume.Store(true) // learned the hard way
		return errAgain
	}
	if !refused(err) {
		return err
	}
	if !plain {
		f.s.names.plain.Store(true)
		return errAgain
	}
	f.s.names.plain.Store(false) // it was not the dot
	if !f.exists {
		return err
	}
	f.s.log.Info("no temporary file can be made, written in place", "path", f.path(), "err", err)
	f.inPlace = true
	return errAgain
}

// keep is what a failure leaves when nobody has the file open for writing any more: staged content goes to the recovery
// folder, what was only in memory too, what was streamed is lost, and the log says so. told: the last writer got cause as
// the answer to write(2), fsync(2) or close(2). When that is the server's answer to this content (and no failure on the way),
// writing it is the writer's to do again, and nothing is kept.
func (f *File) keep(cause error, told bool) {
	reason := "the upload failed"
	if cause != nil {
		reason = cause.Error()
	}
	switch {
	case f.gone:
	case told && answered(cause):
		f.s.log.Warn("content given up, its writer was told", "path", f.path(), "size", f.size, "err", cause)
		if f.stg != nil {
			f.dropStage()
		}
	case f.stg != nil:
		f.s.keep(f.stg, reason, told)
		f.stg = nil
		f.s.stats.staged.Add(-1)
	case f.win != nil && f.size > 0 && (f.win.hold(0) || f.broken == nil && f.sent < f.size && !f.own && !f.beside):
		if err := f.keepLinear(reason, told); err != nil {
			f.s.log.Error("content lost", "path", f.path(), "size", f.size, "reason", reason, "err", err)
		}
	case f.size > 0 && (f.broken != nil || f.sent < f.size || f.snd != nil):
		f.s.log.Error("content not complete on the server", "path", f.path(), "size", f.size, "reason", reason)
	}
	f.mu.Lock()
	f.gen++
	f.mu.Unlock()
	f.revert()
}

// keepLinear writes the window to the recovery folder. What is before it is on the server, under the file's name.
func (f *File) keepLinear(reason string, told bool) error {
	if f.win.hold(0) {
		f.sent, f.kept = 0, 0
	}
	st, err := f.newStage()
	if err != nil {
		return err
	}
	if err := f.unload(st); err != nil {
		f.s.discard(st)
		return err
	}
	f.s.keep(st, reason, told)
	return nil
}

// revert makes the file what the server has of it, as far as known.
func (f *File) revert() {
	if f.snd != nil {
		f.snd.abort()
		f.snd = nil
	}
	if f.beside && f.temp != nil {
		f.temp.remove(f.s.ctx)
	}
	if f.backup != nil {
		_ = f.restoreOld(f.s.ctx, errLost) // the failure was told or logged
	}
	f.beside, f.temp, f.broken, f.torn, f.inPlace = false, nil, nil, nil, false
	f.want, f.own, f.settled = pool.Attrs{}, false, true
	if e, err := f.s.cfg.Remote.Stat(f.s.ctx, f.path()); err == nil && e.Size >= 0 {
		e.Type = pool.TypeFile
		f.base, f.exists = e, true
	}
	f.mtime = f.base.ModTime
	f.dropLinear(f.base.Size)
	f.renew()
	f.s.cfg.Meta.Forget(f.path())
}
