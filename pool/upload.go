package pool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Bounds of the end of an upload.
const (
	// whyBound is how long the server is listened to after the data channel broke: its reply may tell the cause.
	whyBound = 3 * time.Second
	// growPause lies between two looks at a file whose upload's end was not heard.
	growPause = 300 * time.Millisecond
	// growLooks without growth mean that it will not be complete any more.
	growLooks = 3
)

var errFinished = errors.New("upload is finished already")

// Upload starts to write a file. UploadStore truncates what is there before anything can fail. Nothing of an upload is
// repeated: what was written is not kept here.
func (p *Pool) Upload(ctx context.Context, name string, o UploadOptions) (Upload, error) {
	abs, err := p.remoteNew(ctx, "store", name)
	if err != nil {
		return nil, p.fail(ctx, "store", name, err)
	}
	if p.cfg.ReadOnly {
		return nil, p.fail(ctx, "store", name, &Error{Kind: KindReadOnly})
	}
	u := &upload{p: p, name: name, abs: abs, o: o}
	if err := u.start(ctx); err != nil {
		return nil, p.explain(ctx, err, func(e *Error) Kind { return p.whyNotStored(ctx, name, e) })
	}
	return u, nil
}

// whyNotStored: STOR or APPE was refused.
func (p *Pool) whyNotStored(ctx context.Context, name string, e *Error) Kind {
	found, err := p.Stat(ctx, name)
	switch {
	case absent(err):
		return p.whyNotInParent(ctx, name, e)
	case err != nil:
		return KindOf(err)
	case found.Type == TypeDir:
		return KindIsDir
	case e.Kind == KindUnsupported:
		return KindUnsupported
	}
	return KindRefused
}

// upload is one STOR or APPE.
type upload struct {
	p         *Pool
	name, abs string
	o         UploadOptions
	sent      atomic.Int64
	err       *Error // first failure of Write

	mu   sync.Mutex
	c    *conn         // nil when given back. guarded by mu
	d    *session.Data // guarded by mu
	over bool          // Finish or Abort was called. guarded by mu
}

var _ Upload = (*upload)(nil)

func (u *upload) request() session.TransferRequest {
	switch u.o.Mode {
	case UploadAppend:
		return session.TransferRequest{Verb: "APPE " + u.abs}
	case UploadAt:
		r := session.TransferRequest{Verb: "STOR " + u.abs, Rest: u.o.Offset}
		if r.Rest > 0 {
			r.Before, r.Look = []string{"SIZE " + u.abs}, u.reaches
		}
		return r
	}
	return session.TransferRequest{Verb: "STOR " + u.abs}
}

// errShort: what was to be continued is not what it was when it was looked at.
var errShort = &Error{Kind: KindIncomplete, Reply: "the file on the server does not reach up to where it is to be continued"}

// reaches looks at the reply to SIZE, in the flight of the REST. Servers go on at another offset, or leave a hole, where the file
// is shorter or gone: Pure-FTPd was seen to remove a file whose continuation was cut, and then says that it cannot check for it. Only
// one that does not know SIZE is believed without.
func (u *upload) reaches(told []wire.Reply) error {
	size, ok := readSize(told[0])
	if ok && size >= u.o.Offset || judge(told[0]).kind == KindUnsupported {
		return nil
	}
	return errShort
}

// unchanged is asked before an APPE is sent again: what another one stored must not be followed by what it stored. The offset is
// not always known.
func (u *upload) unchanged(ctx context.Context) (bool, error) {
	if u.o.Mode != UploadAppend || u.o.Offset <= 0 {
		return false, nil
	}
	e, err := u.p.Stat(ctx, u.name)
	switch {
	case absent(err), err == nil && e.Size >= 0 && e.Size != u.o.Offset:
		return false, errShort
	}
	return false, err
}

// start begins the transfer. A connection lost before the first byte of content is replaced: nothing was stored, or nothing that
// a second start would not do again.
func (u *upload) start(ctx context.Context) error {
	b := u.p.newBudget(ctx)
	defer b.end()
	cl := call{op: "store", path: u.name, claim: claim{lane: laneTransfer, press: u.o.OnPressure, data: true}, settle: u.unchanged}
	c, err := u.p.borrow(b, cl, func(ctx context.Context, c *conn) (err error) {
		if u.d, err = u.p.transfer(ctx, c, u.request()); errors.Is(err, errShort) {
			u.p.retire(c)
		}
		return err
	})
	if err != nil {
		e := u.p.classify(b.ctx, "store", u.name, err, judgeStore)
		return u.p.fail(b.ctx, "store", u.name, e)
	}
	u.c = c
	return nil
}

// Sent gives the bytes handed to the transport.
func (u *upload) Sent() int64 { return u.sent.Load() }

// Write sends content.
func (u *upload) Write(b []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	u.mu.Lock()
	d, over := u.d, u.over
	u.mu.Unlock()
	if over {
		return 0, u.failed(&Error{Kind: KindCanceled, Err: errFinished})
	}
	n, err := d.Write(b)
	u.sent.Add(int64(n))
	if err != nil {
		return n, u.failed(u.why(err))
	}
	return n, nil
}

func (u *upload) failed(err error) *Error {
	u.err = u.p.fail(u.p.ctx, "store", u.name, err)
	return u.err
}

// take ends the use of the transfer by Write and gives it to one caller.
func (u *upload) take() (*conn, *session.Data) {
	u.mu.Lock()
	defer u.mu.Unlock()
	c, d := u.c, u.d
	u.c, u.over = nil, true
	return c, d
}

// why listens to what the server says of a data channel that broke, and gives the connection back.
func (u *upload) why(cause error) error {
	c, d := u.take()
	if c == nil {
		return &Error{Kind: KindCanceled, Err: errFinished}
	}
	ctx, cancel := context.WithTimeout(u.p.ctx, min(whyBound, u.p.cfg.Timeout))
	defer cancel()
	_, err := d.Finish(ctx)
	if transportKind(err) == KindTimeout {
		u.p.silence.begin(u.p.now())
	}
	u.p.release(c)
	return u.verdict(err, cause)
}

// verdict classifies the end of a transfer that failed: the server's reply tells more than the broken channel.
func (u *upload) verdict(err, cause error) *Error {
	if u.p.sessionReuse(err) {
		return u.reuse(err)
	}
	var refused *wire.ReplyError
	var broken *session.DataError
	if !errors.As(err, &refused) {
		if errors.As(err, &broken) {
			cause = broken.Err
		}
		return u.p.classify(u.p.ctx, "store", u.name, cause, judgeStore)
	}
	e := u.p.classify(u.p.ctx, "store", u.name, refused, judgeStore)
	if e.Kind == KindRefused { // 426, or a 4yz without a text: the transfer broke, and the server noticed
		e.Kind = KindIncomplete
	}
	return e
}

// reuse: the TLS session's tickets may have died of age. The content is lost, but with a fresh connection the caller's next
// attempt succeeds; if that was just tried, it never will.
func (u *upload) reuse(err error) *Error {
	u.p.mu.Lock()
	again := u.p.reuseAt
	u.p.reuseAt = u.p.now()
	recent := u.p.reuseAt.Sub(again) < time.Minute
	u.p.mu.Unlock()
	u.p.retireAll()
	e := u.p.reuseError(err)
	if !recent {
		e.Kind = KindNetwork
	}
	return e
}

// Abort cuts the transfer off and gives up the connection. It may be called from any goroutine.
func (u *upload) Abort() {
	c, d := u.take()
	if c == nil {
		return
	}
	u.p.retire(c)
	u.p.giveUp(c, d)
}

// Finish ends the upload. See the interface.
func (u *upload) Finish(ctx context.Context, f Finish) (FinishResult, error) {
	c, d := u.take()
	switch {
	case u.err != nil:
		return FinishResult{}, u.err
	case c == nil:
		return FinishResult{}, u.failed(&Error{Kind: KindCanceled, Err: errFinished})
	}
	size := u.expected(f)
	k := u.checks(f.Attrs)
	u.askBehind(d, f.Attrs, k)
	_, err := d.Finish(ctx)
	u.p.turns.note(d)
	told := d.Answers() // without them it is asked again
	if err != nil {
		lost := c.s.Poisoned() != nil
		if transportKind(err) == KindTimeout {
			u.p.silence.begin(u.p.now())
		}
		u.p.release(c)
		c, told = nil, nil
		// If the server's word was lost on the way, what it stored tells.
		if !lost || said(err) || ctx.Err() != nil || d.Stuck() || !u.stored(ctx, size) {
			return FinishResult{}, u.finishFailed(ctx, err)
		}
		u.p.log.Info("the end of an upload was not heard, but all of it arrived", "path", u.name, "size", size, "err", err)
	}
	return u.complete(ctx, c, f, size, k, told)
}

// askBehind has the file asked about right behind its last byte, where that saves a round trip.
func (u *upload) askBehind(d *session.Data, a Attrs, k checks) {
	s := u.p.server()
	if !s.vsftpd && !s.proftpd || !k.harmless(a) || u.p.turns.bad() {
		return
	}
	b := session.Behind{Cmds: k.commands()}
	if s.proftpd {
		b.Early = earlyAfter
	}
	d.Behind(b)
}

// finishFailed is the error of an upload whose end went wrong.
func (u *upload) finishFailed(ctx context.Context, err error) *Error {
	if ctx.Err() != nil {
		return u.p.fail(ctx, "store", u.name, err)
	}
	return u.failed(u.verdict(err, err))
}

// expected is the size that the whole file must have, -1 when that is not known.
func (u *upload) expected(f Finish) int64 {
	switch {
	case f.Size >= 0:
		return f.Size
	case u.o.Mode == UploadStore:
		return u.Sent()
	}
	return -1
}

// stored asks on another connection whether a file has the size that it must have, as long as it still grows. For an upload into the middle
// of a file its size proves nothing.
func (u *upload) stored(ctx context.Context, size int64) bool {
	if size < 0 || u.o.Mode == UploadAt {
		return false
	}
	last := int64(-1)
	for looks := 0; looks < growLooks; looks++ {
		e, err := u.p.Stat(ctx, u.name)
		switch {
		case err != nil || e.Size > size:
			return false
		case e.Size == size:
			return true
		case e.Size > last:
			last, looks = e.Size, 0
		}
		if !pause(ctx, growPause) {
			return false
		}
	}
	return false
}
