package pool

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// shortTransfer is the most bytes for which a download may take the connection kept for metadata, or ahead of a reader all.
const shortTransfer = 256 << 10

// settleBound is how long the end of a transfer that nobody waits for may take.
const settleBound = 10 * time.Second

// Download starts to read a file. The file is not looked at first: KindNotFound, KindIsDir and the like come from the
// server's refusal. With the size known, a range at the end of the file, and none at all, needs no server.
//
// Other than the interface demands, Close may be called while another goroutine is in Read; that Read then fails.
func (p *Pool) Download(ctx context.Context, name string, o DownloadOptions) (Download, error) {
	abs, err := p.remote("read", name)
	if err != nil {
		return nil, p.fail(ctx, "read", name, err)
	}
	if o.Offset < 0 || o.Length < -1 || o.Size < -1 {
		return nil, p.fail(ctx, "read", name, &Error{Kind: KindOther, Err: errors.New("negative offset, length or size")})
	}
	d := &download{p: p, name: name, abs: abs, o: o, want: o.Length}
	if rest := o.Size - o.Offset; o.Size >= 0 && (d.want < 0 || d.want > rest) {
		d.want = max(0, rest)
	}
	if d.want == 0 {
		d.over = true
		return d, nil
	}
	if err := d.lookFirst(ctx); err != nil {
		return nil, p.fail(ctx, "read", name, err)
	}
	if err := d.start(ctx); err != nil {
		return nil, p.explain(ctx, p.fail(ctx, "read", name, err), func(e *Error) Kind { return p.whyNotRead(ctx, name, e) })
	}
	return d, nil
}

// whyNotRead: RETR was refused.
func (p *Pool) whyNotRead(ctx context.Context, name string, e *Error) Kind {
	found, err := p.Stat(ctx, name)
	switch {
	case err != nil:
		return KindOf(err)
	case found.Type == TypeDir:
		return KindIsDir
	case e.Kind == KindUnsupported, e.Kind == KindChanged:
		return e.Kind
	}
	return KindRefused
}

// download is one RETR.
type download struct {
	p         *Pool
	name, abs string
	o         DownloadOptions
	want      int64 // bytes of the range, -1 to the end
	exact     bool  // the server ends the range by itself (RANG, or it ends with the file)
	early     bool  // our end of the data channel goes ahead
	got       atomic.Int64
	err       error // sticky result of Read

	mu   sync.Mutex
	c    *conn         // nil when given back, or on its way. guarded by mu
	d    *session.Data // guarded by mu, except that Read uses what it took under mu
	over bool          // closed, or everything was read. guarded by mu
}

var _ Download = (*download)(nil)

func (d *download) lane() lane {
	short := d.want >= 0 && d.want <= shortTransfer
	switch {
	case d.o.Background && short:
		return laneAhead
	case d.o.Background:
		return laneBackground
	case short:
		return laneShort
	}
	return laneTransfer
}

// request gives the command.
func (d *download) request() session.TransferRequest {
	r := d.ranged()
	if d.early = d.exact && d.p.endsEarly(d.want-d.got.Load()); d.early {
		r.EarlyFIN, r.NextAfter = true, portAfter
	}
	return r
}

// ranged is the command for what is missing. RANG lets a range end in order, where REST and a cut would do.
func (d *download) ranged() session.TransferRequest {
	r := session.TransferRequest{Verb: "RETR " + d.abs}
	from := d.o.Offset + d.got.Load()
	toEnd := d.want < 0 || d.o.Size >= 0 && d.o.Offset+d.want >= d.o.Size
	d.exact = toEnd
	if !toEnd && d.p.server().rang {
		r.Before = []string{"RANG " + itoa(from) + " " + itoa(d.o.Offset+d.want-1)}
		d.exact = true
		return r
	}
	r.Rest = from
	return r
}

// start borrows a connection and begins the transfer.
func (d *download) start(ctx context.Context) error {
	if d.o.Background {
		ctx = wire.Background(ctx) // nobody waits for its round trips
	}
	b := d.p.newBudget(ctx)
	defer b.end()
	cl := call{op: "read", path: d.name, claim: claim{lane: d.lane(), press: d.o.OnPressure, data: true, far: d.o.Ahead}}
	var data *session.Data
	c, err := d.p.borrow(b, cl, func(ctx context.Context, c *conn) (err error) {
		if d.o.OnBegin != nil {
			d.o.OnBegin()
		}
		r := d.request()
		ranged := len(r.Before) > 0
		look := d.look()
		r.Before = append(look, r.Before...)
		if data, err = d.p.transfer(ctx, c, r); err != nil && ranged {
			d.p.retire(c) // the range may be pending, for whatever comes next
		}
		if err == nil && d.isOther(look, data.Told()) {
			data.Abort()
			return errOther
		}
		return err
	})
	if err != nil {
		return d.p.classify(b.ctx, "read", d.name, err, judge)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over { // closed while it was started again
		d.p.giveUp(c, data)
		return errClosedDownload
	}
	d.c, d.d = c, data
	return nil
}

// look gives the commands that tell in the flight of the RETR whether the file is the expected one.
func (d *download) look() []string {
	switch s := d.p.server(); {
	case d.o.Expect == nil:
	case s.has("MDTM", "") && s.has("SIZE", ""):
		return []string{"SIZE " + d.abs, "MDTM " + d.abs}
	case s.mlst:
		return []string{"MLST " + d.abs}
	}
	return nil
}

// isOther compares the replies to look with what the file was when it was opened.
func (d *download) isOther(look []string, told []wire.Reply) bool {
	var now Entry
	switch len(look) {
	case 1:
		a := readMLST(look[0], told[0])
		if a.refused != nil || a.unclear {
			return false
		}
		now = a.entry
	case 2:
		now = readSizeTime(look[0], told[0], told[1]).entry
	default:
		return false
	}
	return !sameFile(*d.o.Expect, now)
}

// sameFile compares sizes and times as far as both are known. Times of listings are too rough to compare.
func sameFile(was, now Entry) bool {
	if was.Size >= 0 && now.Size >= 0 && was.Size != now.Size {
		return false
	}
	return !was.Exact || !now.Exact || was.ModTime.IsZero() || was.ModTime.Unix() == now.ModTime.Unix()
}

// lookFirst asks apart whether the file is the expected one, where that cannot ride with the RETR.
func (d *download) lookFirst(ctx context.Context) error {
	s := d.p.server()
	if d.o.Expect == nil || s.mlst || s.has("MDTM", "") && s.has("SIZE", "") {
		return nil
	}
	now, err := d.p.Stat(ctx, d.name)
	if err == nil && !sameFile(*d.o.Expect, now) {
		err = errOther
	}
	return err
}

var errOther = &Error{Kind: KindChanged, Reply: "another host changed the file"}

var errClosedDownload = &Error{Kind: KindCanceled, Reply: "download was closed"}

// Read gives the next bytes. See the interface for what io.EOF means.
func (d *download) Read(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if len(b) == 0 {
		return 0, nil
	}
	d.mu.Lock()
	data, over := d.d, d.over
	d.mu.Unlock()
	if d.want >= 0 && d.got.Load() >= d.want {
		d.err = io.EOF
		return 0, io.EOF
	}
	if over || data == nil {
		return 0, d.failed(errClosedDownload)
	}
	if d.want >= 0 {
		b = b[:min(int64(len(b)), d.want-d.got.Load())]
	}
	n, err := data.Read(b)
	got := d.got.Add(int64(n))
	switch {
	case d.want >= 0 && got == d.want:
		d.p.endings.came(d.early)
		d.finish(d.exact) // the connection is free for others before anybody closes us
		return n, nil
	case err == nil, n > 0 && err == io.EOF: // the end comes again
		return n, nil
	case err == io.EOF:
		err = d.ended()
		if err == errAgain {
			return d.Read(b)
		}
		return n, err
	}
	if d.breaks() {
		return n, d.failed(err)
	}
	return n, d.failed(errClosedDownload)
}

// failed makes err the result of all later calls of Read.
func (d *download) failed(err error) error {
	d.err = d.p.fail(d.p.ctx, "read", d.name, err)
	return d.err
}

// errAgain says that the transfer was started anew and nothing is lost.
var errAgain = errors.New("again")

// ended is called at the end of data that came before the range was complete, or whose length nobody knew.
func (d *download) ended() error {
	d.mu.Lock()
	c, data := d.c, d.d
	d.c, d.d = nil, nil
	d.mu.Unlock()
	if c == nil {
		return d.failed(errClosedDownload)
	}
	ctx, cancel := context.WithTimeout(d.p.ctx, d.p.cfg.Timeout)
	defer cancel()
	_, err := data.Finish(ctx)
	proper := data.CloseNotify()
	d.p.fileTurns.note(data)
	if dataFailed(err) || !proper {
		d.p.endings.broke(d.early, c)
	}
	if d.p.sessionReuse(err) && d.got.Load() == 0 {
		d.p.release(c)
		d.p.retireAll()
		if err := d.start(ctx); err != nil {
			return d.failed(err)
		}
		return errAgain
	}
	d.p.release(c)
	short := d.want >= 0 && d.o.Size >= 0
	switch {
	case err == nil && proper && !short:
		d.err = io.EOF
		d.mu.Lock()
		d.over = true
		d.mu.Unlock()
		return io.EOF
	case d.p.sessionReuse(err):
		return d.failed(d.p.reuseError(err))
	}
	e := d.p.classify(d.p.ctx, "read", d.name, err, judge)
	if err == nil || e.Code != 0 || dataFailed(err) {
		e.Kind, e.Err = KindIncomplete, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return d.failed(e)
}

// Close gives the connection back. It does not wait: what is left of the dialogue goes on in the background.
func (d *download) Close() error {
	d.finish(false)
	return nil
}

// finish gives the transfer to the background: to its end in order when that is near, else it is cut off. It reports
// false when that was done before.
func (d *download) finish(inOrder bool) bool {
	c, data := d.take()
	if c == nil {
		return false
	}
	near := d.want >= 0 && d.got.Load() == d.want && d.o.Size >= 0 && d.o.Size-d.o.Offset-d.want <= nearEnd
	if inOrder || near {
		d.p.settleDownload(c, data)
	} else {
		d.p.giveUp(c, data)
	}
	return true
}

// breaks is finish of a data connection that broke.
func (d *download) breaks() bool {
	c, data := d.take()
	if c == nil {
		return false
	}
	d.p.aside(c, func() {
		data.Abort()
		d.p.endings.broke(d.early, c)
	})
	return true
}

// take ends the use of the transfer. nil: that was done before.
func (d *download) take() (*conn, *session.Data) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, data := d.c, d.d
	d.c, d.d = nil, nil
	d.over = true
	return c, data
}

// nearEnd is how much of a file is read away rather than cut off.
const nearEnd = 32 << 10

// settleDownload reads the final reply in the background and gives the connection back.
func (p *Pool) settleDownload(c *conn, data *session.Data) {
	p.aside(c, func() {
		ctx, cancel := p.background(settleBound)
		defer cancel()
		_, err := data.Finish(ctx)
		p.fileTurns.note(data)
		p.counters.vain.Add(int64(data.ReadAway()))
		if err != nil {
			p.log.Debug("end of a download", "err", err)
		}
	})
}

// giveUp cuts a transfer off in the background and gives the connection back.
func (p *Pool) giveUp(c *conn, data *session.Data) { p.aside(c, data.Abort) }

// aside runs the end of a transfer on a goroutine and releases the connection after it.
func (p *Pool) aside(c *conn, end func()) {
	if !p.spawn(func() {
		defer p.release(c)
		end()
	}) {
		p.release(c) // the pool is closed, and with it the session
	}
}
