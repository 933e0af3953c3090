package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// What the journal says of temporary names.
const (
	tempOp   = stage.OpUpload
	hiddenOp = stage.OpHide
)

// renameOver gives the complete temporary object the file's name.
func (f *File) renameOver(ctx context.Context, e pool.Entry) error {
	name, from := f.path(), f.temp.path()
	err := errNoReplace
	if !f.exists || !f.s.noReplace.Load() {
		err = f.s.rename(ctx, from, name)
	}
	switch {
	case err == nil || !refused(err) && !errors.Is(err, errNoReplace):
	case f.exists:
		err = f.renameRefused(ctx, err)
	default: // a part of the new file is in the way, nobody was told that it is there
		if err = f.s.removeIfThere(ctx, name); err == nil {
			err = f.s.rename(ctx, from, name)
		}
	}
	if err != nil {
		f.s.cfg.Meta.Forget(name)
		return err
	}
	if f.aside != "" {
		f.asideAway(ctx)
	} else {
		f.temp.over()
	}
	f.s.stats.replaced.Add(1)
	return nil
}

var errNoReplace = errors.New("the server does not rename over an existing file")

// rename is Remote.Rename, which after a cut finds out what became of it.
func (s *Store) rename(ctx context.Context, from, to string) error {
	err := s.cfg.Remote.Rename(ctx, from, to)
	if err == nil || !transient(err) {
		return err
	}
	if _, gone := s.cfg.Remote.Stat(ctx, from); gone == nil || pool.KindOf(gone) != pool.KindNotFound {
		return err
	}
	if _, there := s.cfg.Remote.Stat(ctx, to); there != nil {
		return err
	}
	return nil
}

// renameRefused finds another way when RNTO over the file was refused: the old file aside first, where the server never
// renames over a file; in place, where only this one must stay.
func (f *File) renameRefused(ctx context.Context, cause error) error {
	name := f.path()
	can := false
	if !f.s.noReplace.Load() {
		var err error
		if can, err = f.s.cfg.Remote.Can(ctx, pool.CapRenameReplace, f.dir()); err != nil && transient(err) {
			return err
		}
	}
	if !can {
		err := f.renameAside(ctx)
		if err == nil {
			f.s.noReplace.Store(true)
			return nil
		}
		if !refused(err) {
			return err
		}
		cause = err
	}
	if k := pool.KindOf(cause); k != pool.KindPermission && k != pool.KindRefused {
		return cause
	}
	f.s.log.Info("file cannot be replaced by renaming, written in place", "path", name, "err", cause)
	f.inPlace = true
	return errStage
}

// renameAside replaces in three steps, each of which the next mount can undo or finish: the old file aside, the new one
// in, the old one away.
func (f *File) renameAside(ctx context.Context) error {
	name := f.path()
	if err := f.moveAside(ctx, name); err != nil {
		return err
	}
	if err := f.s.rename(ctx, f.temp.path(), name); err != nil {
		if back := f.s.rename(ctx, f.aside, name); back != nil {
			f.s.log.Error("old content is under another name for now", "path", name, "temporary", f.aside, "err", back)
			return err
		}
		f.asideUndone()
		return err
	}
	return nil
}

// moveAside gives the old file another name, unless an earlier try that was cut off did.
func (f *File) moveAside(ctx context.Context, name string) error {
	if f.aside != "" {
		_, err := f.s.cfg.Remote.Stat(ctx, f.aside)
		if err == nil || pool.KindOf(err) != pool.KindNotFound {
			return err
		}
	}
	f.aside = f.s.names.next(path.Dir(name))
	err := f.temp.amend(func(r *stage.Record) {
		r.Op, r.Path, r.Aside = stage.OpReplace, name, f.aside
		r.Base = f.stageBase()
		r.New = stage.Base{Exists: true, Size: f.size}
	})
	if err != nil {
		return err
	}
	err = f.s.rename(ctx, name, f.aside)
	if err != nil && !transient(err) { // after a cut nobody knows, the next try or the next mount looks
		f.asideUndone()
	}
	return err
}

func (f *File) asideUndone() {
	f.aside = ""
	err := f.temp.amend(func(r *stage.Record) { r.Op, r.Aside = tempOp, "" })
	if err != nil {
		f.s.log.Warn("journal not written", "path", f.path(), "err", err)
	}
}

// asideAway removes the old content after the new one is in its place.
func (f *File) asideAway(ctx context.Context) {
	err := f.s.removeIfThere(ctx, f.aside)
	if err == nil {
		f.temp.over()
	} else {
		f.s.log.Warn("old content not removed yet", "path", f.path(), "temporary", f.aside, "err", err)
		f.temp.leave()
	}
	f.aside = ""
}

// besideRefused is called when no temporary file can be written: first a name without a leading dot is tried, then the
// file is written in place.
func (f *File) besideRefused(ctx context.Context, cause error) error {
	dotted, reused := path.Base(f.temp.path())[0] == '.', f.reused
	f.temp.remove(ctx)
	f.temp, f.snd, f.reused = nil, nil, false
	f.sent, f.kept = 0, 0
	if reused { // it may have been refused because it was there
		return errAgain
	}
	if dotted && !f.s.names.plain.Swap(true) {
		return errAgain
	}
	if !dotted {
		f.s.names.plain.Store(false) // it was not the dot
	}
	if !f.exists {
		return cause
	}
	return f.goInPlace(ctx, cause)
}

// goInPlace keeps the old content here and lets the new one be written over it.
func (f *File) goInPlace(ctx context.Context, cause error) error {
	f.s.log.Info("no temporary file can be made, written in place", "path", f.path(), "err", cause)
	if err := f.saveOld(ctx); err != nil {
		return err
	}
	f.inPlace, f.beside = true, false
	return errAgain
}

// overwriteRefused is called when STOR over the existing file was refused: some servers only take new names.
func (f *File) overwriteRefused(ctx context.Context, cause error) error {
	switch {
	case f.litter || !f.exists && f.snd != nil && f.snd.begun():
		f.litter = false
		if err := f.s.removeIfThere(ctx, f.path()); err != nil {
			return cause
		}
		f.sent, f.kept, f.snd = 0, 0, nil
		return errAgain
	case f.snd != nil && f.snd.begun() && f.backup != nil:
		return f.restoreOld(ctx, cause)
	case f.inPlace:
		f.dropBackup()                                // the file was not touched
		f.inPlace, f.beside, f.snd = false, true, nil // the next try may have more luck with a temporary file
		f.sent, f.kept = 0, 0
		return cause
	}
	f.beside, f.snd, f.onlyBeside = true, nil, true
	f.sent, f.kept = 0, 0
	return errAgain
}

// mustSave tells whether old content is about to be written over because there is no other way.
func (f *File) mustSave() bool {
	return f.inPlace && !f.beside && f.exists && f.s.cfg.Replace == ReplaceRename
}

// saveOld copies the server's content to the local disk before it is written over. If this program dies in between, the
// copy is found in the recovery folder.
func (f *File) saveOld(ctx context.Context) error {
	if f.backup != nil || f.base.Size == 0 {
		return nil
	}
	b, err := f.s.cfg.Stage.Create(f.path(), f.stageBase())
	if err != nil {
		return err
	}
	if err := f.s.fetch(ctx, f.path(), f.base.Size, b); err != nil {
		f.s.discard(b)
		return err
	}
	f.backup = b
	return nil
}

// fetch downloads the first size bytes of a file into a staging file.
func (s *Store) fetch(ctx context.Context, name string, size int64, to *stage.File) error {
	d, err := s.cfg.Remote.Download(ctx, name, pool.DownloadOptions{Length: size, Size: -1})
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // what counts is what was read
	buf, free := s.buffer()
	defer free()
	for off := int64(0); ; {
		n, err := io.ReadFull(d, buf)
		if n > 0 {
			if err := to.Fill(buf[:n], off); err != nil {
				return err
			}
			off += int64(n)
		}
		switch {
		case err == nil:
		case off == size && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
			return nil
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return changed(name)
		default:
			return err
		}
	}
}

// buffer gives memory of the budget for copying, or of the heap when there is none.
func (s *Store) buffer() (b []byte, free func()) {
	if c := s.cfg.Blocks.TryAlloc(); c != nil {
		return c.Buf, c.Free
	}
	return make([]byte, blocks.ChunkSize/4), func() {}
}

// restoreOld is called when writing in place failed: the old content goes back. What cannot be restored goes to the
// recovery folder.
func (f *File) restoreOld(ctx context.Context, cause error) error {
	b := f.backup
	f.backup = nil
	if b == nil {
		return cause
	}
	name := f.path()
	if f.snd != nil {
		f.snd.abort()
		f.snd = nil
	}
	if err := f.s.store(ctx, name, b); err != nil {
		f.s.keep(b, fmt.Sprintf("old content: writing in place failed (%v), and so did putting it back (%v)", cause, err), false)
	} else {
		f.s.discard(b)
	}
	f.s.cfg.Meta.Forget(name)
	return cause
}

func (f *File) dropBackup() {
	if f.backup == nil {
		return
	}
	f.s.discard(f.backup)
	f.backup = nil
}

// store uploads a staging file that has everything.
func (s *Store) store(ctx context.Context, name string, from *stage.File) error {
	up, err := s.cfg.Remote.Upload(ctx, name, pool.UploadOptions{Mode: pool.UploadStore})
	if err != nil {
		return err
	}
	buf, free := s.buffer()
	defer free()
	size := from.Size()
	for off := int64(0); off < size; {
		n, err := from.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		if n == 0 && err != nil {
			up.Abort()
			return err
		}
		if _, err := up.Write(buf[:n]); err != nil {
			up.Abort()
			return err
		}
		off += int64(n)
	}
	_, err = up.Finish(ctx, pool.Finish{Size: size})
	return err
}

// discard removes a staging file that nobody needs any more.
func (s *Store) discard(st *stage.File) {
	if _, err := st.Close(false); err != nil {
		s.log.Warn("staging file not removed", "path", st.Target(), "err", err)
	}
}

// keep moves a staging file to the recovery folder and says so. Content whose writer was told is only the last of its
// path, and may make room for later content.
func (s *Store) keep(st *stage.File, reason string, told bool) {
	target := st.Target()
	move := st.Keep
	if told {
		move = st.KeepLast
	}
	place, err := move(reason)
	if err != nil {
		s.log.Error("content could not be kept", "path", target, "reason", reason, "err", err)
		return
	}
	if place == "" {
		s.log.Error("content too large for the recovery folder, its writer was told", "path", target, "reason", reason)
		return
	}
	s.stats.recovered.Add(1)
	s.log.Error("content kept in the recovery folder", "path", target, "place", place, "reason", reason)
}
