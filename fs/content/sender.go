package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"path"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

const (
	// idleBeforeYield is how long nobody must have written before a stream gives its connection to one who waits.
	idleBeforeYield = 20 * time.Millisecond
	// sliceBeforeYield is how long a busy stream may go on while somebody waits for a connection.
	sliceBeforeYield = 2 * time.Second
	// maxStrikes is how many cuts in a row without a byte of progress end an upload.
	maxStrikes = 3
)

// errNoResume says that the server goes on with no file: neither APPE nor REST + STOR. Nothing is lost, the object is as
// complete as it was.
var errNoResume = errors.New("the server cannot continue a file")

// replay gives bytes that were sent before once more.
type replay interface {
	// hold keeps everything from off on until all is sent again; false when that is not possible any more.
	hold(off int64) bool
	// each calls fn with the bytes [from, to), in order.
	each(from, to int64, fn func([]byte) error) error
}

// sender brings consecutive bytes into one remote file. It survives cut connections, as far as replay reaches, and gives
// its connection up to those who wait (completing the upload at its offset). It knows nothing of names and publishing.
type sender struct {
	s      *Store
	path   func() string // where the object is now
	src    replay
	steady bool   // never interrupted for others: the server could not go on with it
	before func() // called before every upload is opened: readers of the same object give up their downloads
	temp   *temp  // the object, if it is a temporary name

	// mu is held while bytes are on their way, over the network.
	mu   sync.Mutex
	base int64 // what the object held before and must not be sent again; guarded by mu
	// append: the bytes before base are known to the application as safe, so APPE goes before REST + STOR, which would
	// write over what another host appended. guarded by mu
	append bool
	off    int64       // bytes handed over, base included; guarded by mu
	unsure bool        // the server may have less than off; guarded by mu
	made   bool        // the object is on the server, complete up to off when up is nil and not unsure; guarded by mu
	up     pool.Upload // nil: none open; guarded by mu
	turn   uint64      // counts uploads; guarded by mu
	opened time.Time   // guarded by mu
	used   time.Time   // guarded by mu
	seen   string      // unique fact of the object that is continued, "": not known, or it begins anew; guarded by mu
	last   pool.FinishResult
	sum    hash.Hash // of all bytes from 0, nil when it is not wanted or not known; guarded by mu
	hashed int64     // guarded by mu
}

// newSender continues an object of off bytes; made says that it exists.
func (s *Store) newSender(path func() string, src replay, off int64, made bool) *sender {
	d := &sender{s: s, path: path, src: src, base: off, off: off, made: made}
	if s.cfg.Verify == pool.VerifyHash && off == 0 {
		d.sum = sha256.New()
	}
	return d
}

// write sends p, which follows the bytes sent so far. n counts what was handed over, also on an error.
func (d *sender) write(ctx context.Context, p []byte) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	start := d.off
	d.digest(p)
	err = d.persist(ctx, start, p, func() error {
		rest := p[d.off-start:]
		if len(rest) == 0 {
			return nil
		}
		m, err := d.up.Write(rest)
		d.advance(m)
		return err
	})
	return int(d.off - start), err
}

// complete ends the upload at its offset and verifies it; an object without a byte is made. sent is false when
// everything was complete already, and the attributes in fin were not set.
func (d *sender) complete(ctx context.Context, fin pool.Finish) (res pool.FinishResult, sent bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.completeLocked() {
		return d.last, false, nil
	}
	err = d.persist(ctx, d.off, nil, func() error { return d.finish(ctx, fin) })
	return d.last, true, err
}

func (d *sender) completeLocked() bool { return d.made && d.up == nil && !d.unsure }

// idle reports whether no upload is open and all bytes that were handed over are on the server.
func (d *sender) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.completeLocked()
}

// begun reports whether the object was made.
func (d *sender) begun() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.made
}

// settle says that everything up to now counts as safe: from here on the object is only continued.
func (d *sender) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.base, d.append = d.off, true
}

// abort gives up an open upload; what the server has of it is unknown.
func (d *sender) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up != nil {
		d.fail()
	}
}

// persist runs step, which needs an open upload, until it succeeds or there is no way to go on. start is the offset of
// p[0]; on return d.off lies in start..start+len(p).
func (d *sender) persist(ctx context.Context, start int64, p []byte, step func() error) error {
	for strikes, best := 0, int64(-1); ; {
		err := d.ready(ctx, start, p)
		if err == nil {
			if err = step(); err == nil {
				return nil
			}
			d.fail()
		} else if !refused(err) {
			d.unheard()
		}
		if !resumable(err) {
			return err
		}
		if d.off > best {
			strikes, best = 0, d.off
		}
		if strikes++; strikes >= maxStrikes {
			return err
		}
		d.s.log.Info("upload was cut, going on", "path", d.path(), "offset", d.off, "err", err)
		d.s.stats.resumed.Add(1)
	}
}

// fail drops the open upload after an error.
func (d *sender) fail() {
	if d.up != nil {
		d.up.Abort()
		d.closed()
	}
	d.unsure = true
	d.unheard()
}

// unheard says that the server may not have come to the end of an upload.
func (d *sender) unheard() {
	if d.temp != nil {
		d.temp.mayCome()
	}
}

func (d *sender) closed() {
	d.up = nil
	d.s.stats.streams.Add(-1)
}

// ready makes sure that an upload is open whose next byte is the one at d.off, between start and the end of p. When the
// server may have less than was sent it is asked, and gets the rest from the replay.
func (d *sender) ready(ctx context.Context, start int64, p []byte) error {
	if d.up != nil {
		return nil
	}
	if !d.unsure {
		return d.open(ctx, d.off)
	}
	have, err := d.have(ctx)
	if err != nil {
		return err
	}
	if have > start+int64(len(p)) {
		return changed(d.path())
	}
	if have < d.base || have < start && !d.src.hold(have) {
		if d.base > 0 || !d.src.hold(0) {
			return errLost
		}
		have = 0
	}
	err = d.open(ctx, have)
	if errors.Is(err, errNoResume) {
		if d.base > 0 || start > 0 && !d.src.hold(0) {
			return errLost
		}
		have = 0
		err = d.open(ctx, have)
	}
	if err != nil {
		return err
	}
	d.off = max(have, start)
	if have < start {
		err = d.src.each(have, start, func(b []byte) error {
			_, err := d.up.Write(b)
			d.s.stats.bytesSent.Add(int64(len(b)))
			return err
		})
		if err != nil {
			d.fail()
			return err
		}
	}
	d.unsure = false
	return nil
}

// have asks the server how much of the object it has, on another connection than the one that was cut. Of a file that came in
// its place nothing is known, whatever its size.
func (d *sender) have(ctx context.Context) (int64, error) {
	e, err := d.s.cfg.Remote.Stat(ctx, d.path())
	switch {
	case err != nil && pool.KindOf(err) == pool.KindNotFound:
		return 0, nil
	case err != nil:
		return 0, err
	case d.isOther(e):
		return 0, nil
	}
	d.seen = e.Unique
	return e.Size, nil
}

// isOther tells whether e is another file than the one that is continued.
func (d *sender) isOther(e pool.Entry) bool {
	return d.seen != "" && e.Unique != "" && e.Unique != d.seen
}

// open starts an upload whose first byte is the one at off.
func (d *sender) open(ctx context.Context, off int64) error {
	if off == 0 && d.base == 0 && (!d.append || d.unsure) {
		d.seen = ""
		return d.start(ctx, pool.UploadOptions{Mode: pool.UploadStore})
	}
	modes := [2]pool.UploadMode{pool.UploadAt, pool.UploadAppend}
	if d.append && !d.unsure {
		modes = [2]pool.UploadMode{pool.UploadAppend, pool.UploadAt}
	}
	known := true
	for _, m := range modes {
		need := pool.CapResumeStore
		if m == pool.UploadAppend {
			need = pool.CapAppend
		}
		name := d.path()
		ok, err := d.s.cfg.Remote.Can(ctx, need, path.Dir(name))
		if err != nil && transient(err) {
			return err
		}
		if !ok {
			continue
		}
		known = false
		err = d.start(ctx, pool.UploadOptions{Mode: m, Offset: off})
		if err == nil || !refused(err) {
			return err
		}
		d.s.log.Debug("the server does not continue the file this way", "path", name, "err", err)
	}
	if off == 0 && d.base == 0 {
		return d.start(ctx, pool.UploadOptions{Mode: pool.UploadStore})
	}
	if known {
		d.s.noResume.Store(true)
	}
	return errNoResume
}

func (d *sender) start(ctx context.Context, o pool.UploadOptions) error {
	if d.before != nil {
		d.before()
	}
	d.turn++
	turn := d.turn
	if !d.steady {
		o.OnPressure = func() { d.s.goes(func() { d.yield(turn) }) }
	}
	up, err := d.s.cfg.Remote.Upload(ctx, d.path(), o)
	if err != nil {
		return err
	}
	d.up, d.made = up, true
	d.opened = time.Now()
	d.used = d.opened
	d.s.stats.streams.Add(1)
	return nil
}

func (d *sender) finish(ctx context.Context, fin pool.Finish) error {
	fin.Size = d.off
	if d.sum != nil && d.hashed == d.off {
		fin.Sum = d.sum.Sum(nil)
	}
	res, err := d.up.Finish(ctx, fin)
	if err != nil {
		return err
	}
	if d.isOther(res.Entry) {
		return opError("write", d.path(), pool.KindIncomplete, errors.New("another file came in the place of the one that was continued"))
	}
	d.closed()
	d.last = res
	d.s.stats.uploads.Add(1)
	return nil
}

func (d *sender) advance(n int) {
	d.off += int64(n)
	d.used = time.Now()
	d.s.stats.bytesSent.Add(int64(n))
}

func (d *sender) digest(p []byte) {
	if d.sum == nil || d.hashed != d.off {
		d.sum = nil // a failed write is in it
		return
	}
	d.sum.Write(p)
	d.hashed = d.off + int64(len(p))
}

// suspend completes an open upload at its offset. A failure is found out, and mended, by the next use.
func (d *sender) suspend(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspendLocked(ctx)
}

func (d *sender) suspendLocked(ctx context.Context) {
	if d.up == nil {
		return
	}
	if err := d.finish(ctx, pool.Finish{}); err != nil {
		d.s.log.Info("upload was cut, going on later", "path", d.path(), "offset", d.off, "err", err)
		d.fail()
	}
}

// idleEnough tells whether it is time to give the connection to somebody else. Where the server cannot go on with the
// file, all of it will have to be sent once more.
func (d *sender) idleEnough(now time.Time) bool {
	idle := now.Sub(d.used)
	if d.s.noResume.Load() {
		return idle >= 10*idleBeforeYield
	}
	return idle >= idleBeforeYield || now.Sub(d.opened) >= sliceBeforeYield
}

// yield waits for a moment when nobody writes, or until the stream had its time, and then gives the connection up.
func (d *sender) yield(turn uint64) {
	tick := time.NewTicker(idleBeforeYield)
	defer tick.Stop()
	for !d.yieldNow(turn) {
		select {
		case <-tick.C:
		case <-d.s.ctx.Done():
			return
		}
	}
}

// yieldNow gives the connection of an upload up if it is time, and tells whether that is over.
func (d *sender) yieldNow(turn uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up == nil || d.turn != turn {
		return true
	}
	if !d.idleEnough(time.Now()) {
		return false
	}
	d.suspendLocked(d.s.ctx)
	return true
}
