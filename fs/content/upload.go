package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

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
	if len(snap.Dirty) > 0 && (f.begun || snap.Dirty[0].Off >= f.sent) {
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
	d.append, d.before, d.temp = f.settled, f.suspendReaders, f.sentTo()
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
