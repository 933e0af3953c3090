package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Data is a transfer under way. Read or Write and Finish belong to one goroutine; Abort may be called from any.
type Data struct {
	s           *Session
	ch          *channel
	conn        *dataConn
	verb        *wire.Pending
	cmd         string
	preliminary wire.Reply
	told        []wire.Reply // to the commands ahead of the verb
	final       *wire.Reply  // came without a preliminary one
	upload      bool
	next        bool
	early       bool // a download: our close_notify goes out at once
	earlyFIN    bool // a download: our FIN goes out at once, without a close_notify
	nextAfter   time.Duration
	joined      bool // the final reply comes in the same round trip as what was waited for last
	background  bool
	behind      Behind          // commands that go out ahead of the final reply
	asked       []*wire.Pending // those that did, and behind them the one for the next data channel, if there is a next
	answers     []wire.Reply    // to behind, when all of them came behind the final reply
	outOfTurn   bool            // they did not
	rw          io.ReadWriter   // TLS, or conn in clear

	waited   bool  // the wait for the first bytes was counted
	eof      bool  // the peer's end of data was read
	sent     int64 // bytes handed to the transport
	away     int   // bytes of a download that Finish has read away
	ioErr    error // the first failure of Read or Write
	left     int   // bytes of an upload that the peer had not acknowledged when it was closed
	drained  chan struct{}
	drainErr error // set before drained is closed

	once sync.Once // Finish or Abort

	mu     sync.Mutex
	cancel context.CancelFunc // of a Finish under way. guarded by mu

	asking sync.Mutex    // held while a command is written
	timer  *time.Timer   // asks for the next data channel; nil: nobody does
	ended  bool          // it is not asked for any more. guarded by asking
	port   *wire.Pending // what was asked. guarded by asking
}

// DataError says that the data channel broke while the control connection went on. Reply is the server's final reply,
// which may well be positive: some servers do not notice.
type DataError struct {
	Reply wire.Reply
	Err   error
}

// Error gives one line.
func (e *DataError) Error() string {
	return fmt.Sprintf("data channel: %v (server: %s)", e.Err, e.Reply)
}

// Unwrap gives the cause.
func (e *DataError) Unwrap() error { return e.Err }

// errUnfinished says that Finish was called on a download whose end was not near.
var errUnfinished = errors.New("download was not read to its end")

// open begins the use of a secured channel.
func (d *Data) open() {
	d.conn, d.rw = d.ch.conn, d.ch.conn
	if d.ch.tls != nil {
		d.rw = d.ch.tls
	}
	if !d.upload {
		d.conn.bounded.Store(true)
		if d.early && d.ch.tls != nil && d.ch.tls.ConnectionState().Version == tls.VersionTLS13 {
			d.joined = d.ch.tls.CloseWrite() == nil
		}
		if d.earlyFIN {
			d.joined = d.conn.closeWrite() == nil
		}
		if d.joined && d.next && d.nextAfter > 0 {
			d.timer = time.AfterFunc(d.nextAfter, d.askNext)
		}
		return
	}
	// Tickets that come while we send must be read: what lies unread at close makes the kernel reset the connection
	// and throws away the tail of the upload. The goroutine ends with the connection.
	d.drained = make(chan struct{})
	d.s.wg.Add(1)
	go func() {
		defer d.s.wg.Done()
		defer close(d.drained)
		_, d.drainErr = io.Copy(io.Discard, d.rw)
	}()
}

// Read reads payload. io.EOF is the peer's end of data, in order or not: see CloseNotify. Other errors are final.
func (d *Data) Read(p []byte) (int, error) {
	if !d.waited {
		d.waited = true
		d.countWait()
	}
	n, err := d.rw.Read(p)
	d.count(n, 0)
	if err == io.EOF {
		d.eof = true
	} else if err != nil && d.ioErr == nil {
		d.ioErr = err
	}
	return n, err
}

// Write sends payload. It blocks at the speed of the line; an error is final, and Finish tells what the server says of
// it.
func (d *Data) Write(p []byte) (int, error) {
	if d.ioErr != nil {
		return 0, d.ioErr
	}
	n, err := d.rw.Write(p)
	d.sent += int64(n)
	d.count(0, n)
	if err != nil {
		d.ioErr = err
	}
	return n, err
}

func (d *Data) countWait() {
	if c := d.s.cfg.Counter; c != nil {
		c.Wait(d.background)
	}
}

func (d *Data) count(received, sent int) {
	if c := d.s.cfg.Counter; c != nil && received+sent > 0 {
		c.DataBytes(received, sent)
	}
}

// CloseNotify says that the peer's end of data, which Read told as io.EOF, was a TLS close_notify and not just the end
// of the connection. Always true in clear.
func (d *Data) CloseNotify() bool {
	return d.ch.tls == nil || d.eof && !d.conn.fin.Load()
}

// Resumed says that TLS on this channel resumed the session of the control connection.
func (d *Data) Resumed() bool { return d.ch.tls != nil && d.ch.tls.ConnectionState().DidResume }

// Preliminary gives the 1yz reply.
func (d *Data) Preliminary() wire.Reply { return d.preliminary }

// Told gives the replies to TransferRequest.Before, in order, of a download; none of them is a refusal.
func (d *Data) Told() []wire.Reply { return d.told }

// Finish ends the data and reads the final reply. An upload is ended as TLS and TCP want it (close_notify, FIN, the
// peer's end read); of a download a small remainder is read away, a larger one makes Finish abort and fail. nil means
// that the server said 2yz and that nothing broke on our side. *wire.ReplyError: refused; *DataError: the data channel
// broke. Both leave the session usable, others do not.
//
// The wait for the server's last word is bound by no progress, with time added for the bytes that it may still have to
// write. Finish is called once, unless Abort was.
func (d *Data) Finish(ctx context.Context) (wire.Reply, error) {
	reply, err := wire.Reply{}, ErrClosed
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.mu.Lock()
	d.cancel = cancel
	d.mu.Unlock()
	d.once.Do(func() {
		if !d.upload && !d.readRemainder() {
			d.abort()
			err = errUnfinished
			return
		}
		reply, err = d.finish(ctx)
	})
	return reply, err
}

// ReadAway is how much of a download Finish has read for nobody. To be asked behind it.
func (d *Data) ReadAway() int { return d.away }

// assumedRate is what a server writes at least: it stretches the bound on the reply behind a large upload.
const assumedRate = 32 << 20 // bytes per second

func (d *Data) finish(ctx context.Context) (wire.Reply, error) {
	bound := d.s.cfg.Timeout + time.Duration(float64(d.sent)/assumedRate*float64(time.Second))
	stop := context.AfterFunc(ctx, d.conn.reset)
	defer stop()
	if d.upload {
		d.endUpload(ctx, bound)
		d.left = unsent(d.conn.Conn)
		d.askAtEnd(ctx)
	} else if d.ch.tls != nil {
		_ = d.ch.tls.CloseWrite()
	}
	_ = d.conn.Close()
	d.ch.cancel()
	port := d.endAsking()
	ahead := port == nil && d.next && d.endedByServer()
	if ahead {
		_ = d.s.prepare(wire.Background(ctx))
	}
	if d.timedOut() {
		bound = lateWord // the server had its time
	}
	reply, err := d.finalReply(wire.WithBound(ctx, bound))
	if err == nil && len(d.asked) > 0 {
		reply, err = d.sortOut(ctx, reply)
	}
	if err == nil && port != nil {
		reply, err = d.sortNext(ctx, reply, port)
	}
	d.leave()
	if err != nil {
		return reply, d.s.explain(err)
	}
	if d.next && !ahead {
		_ = d.s.Prepare(wire.Background(ctx))
	}
	switch {
	case reply.Refused():
		return reply, d.s.refusal(d.cmd, reply)
	case d.ioErr != nil:
		return reply, &DataError{Reply: d.s.line.ReplyError(d.cmd, reply).Reply, Err: d.ioErr}
	}
	return reply, nil
}

// endedByServer says that the server itself ended the data of a download: it is done with the channel, and the next one may be
// asked for ahead of its final reply. Any other end may be the work of somebody on the way, while the server is still in the
// transfer. ProFTPD then answers what is sent at once, ahead of the final reply, and each answer would be taken for another's.
func (d *Data) endedByServer() bool {
	return !d.upload && d.ioErr == nil && d.ch.tls != nil && d.CloseNotify()
}

// lateWord is how long the server's last word is waited for when the data got no further: it may be here already.
const lateWord = 250 * time.Millisecond

// timedOut says that the data, or its end, got no further within its bound.
func (d *Data) timedOut() bool {
	return errors.Is(d.ioErr, wire.ErrTimeout) || errors.Is(d.ioErr, os.ErrDeadlineExceeded)
}

// Stuck says of a Finish that failed that the peer has not taken all data within the bound: it cannot have stored them.
func (d *Data) Stuck() bool { return d.timedOut() && d.left > 0 }

// endUpload says that there is no more, and waits until the server has heard it.
func (d *Data) endUpload(ctx context.Context, bound time.Duration) {
	if d.ioErr != nil {
		return
	}
	if d.ch.tls != nil {
		d.ioErr = d.ch.tls.CloseWrite()
	}
	if err := d.conn.closeWrite(); d.ioErr == nil {
		d.ioErr = err
	}
	if d.ioErr != nil {
		return // what did not leave in the time it had will not be heard either
	}
	d.s.line.CountWait(ctx)
	if err := d.awaitDrain(ctx, bound); d.ioErr == nil {
		d.ioErr = err
	}
	d.joined = d.ioErr == nil // the server has all of our end, and says the same on the control connection
}

// awaitDrain waits for the peer's end of data. What still lies in our socket's send queue is progress as long as it gets
// less.
func (d *Data) awaitDrain(ctx context.Context, bound time.Duration) error {
	tick := time.NewTicker(lookEvery(bound))
	defer tick.Stop()
	var early <-chan time.Time
	if after := d.behind.Early; after > 0 {
		t := time.NewTimer(after)
		defer t.Stop()
		early = t.C
	}
	queued, since := unsent(d.conn.Conn), time.Now()
	for {
		select {
		case <-d.drained:
			return d.drainErr
		case <-ctx.Done():
			return ctx.Err()
		case <-early:
			d.askEarly(ctx)
		case now := <-tick.C:
			if q := unsent(d.conn.Conn); q < queued {
				queued, since = q, now
			}
			if now.Sub(since) >= bound {
				return wire.ErrTimeout
			}
		}
	}
}

func (d *Data) finalReply(ctx context.Context) (wire.Reply, error) {
	if d.final != nil {
		return *d.final, nil
	}
	if d.joined {
		return d.verb.JoinFinal(ctx)
	}
	return d.verb.WaitFinal(ctx)
}

// leave makes the session free for the next command.
func (d *Data) leave() {
	d.s.mu.Lock()
	if d.s.busy == d {
		d.s.busy = nil
	}
	d.s.mu.Unlock()
}

// smallRemainder is read away rather than cut off.
const smallRemainder = 64 << 10

// readRemainder reads up to the peer's end of data if it is near.
func (d *Data) readRemainder() bool {
	buf := make([]byte, 4096)
	for left := smallRemainder; !d.eof && d.ioErr == nil && left > 0; {
		n, _ := d.Read(buf)
		left -= n
		d.away += n
	}
	return d.eof || d.ioErr != nil
}

// Abort cuts the transfer off: the data channel is reset, and the one reply that is owed is read within about a second;
// if it does not come the session is poisoned. ABOR is not used, as its replies come in an order that differs.
// Idempotent, nothing after Finish; a Finish under way fails. It blocks until the session's state is known.
func (d *Data) Abort() {
	d.mu.Lock()
	if d.cancel != nil {
		d.cancel()
	}
	d.mu.Unlock()
	d.once.Do(d.abort)
}

func (d *Data) abort() {
	d.cutOff()
	d.leave()
	if d.next {
		_ = d.s.Prepare(wire.Background(context.Background())) // behind the reply: before it the server may not read commands
	}
}

// cutOff resets the channel and brings the line in step, or poisons it.
func (d *Data) cutOff() {
	d.ch.discard()
	port := d.endAsking()
	last, err := d.lastReply()
	if err == nil && port != nil {
		err = d.inStep(last, port)
	}
	if err != nil {
		d.s.line.Poison(fmt.Errorf("transfer cut off: %w", err))
	}
}

// abortTimeout is how long a server may take to notice that a transfer was cut off.
const abortTimeout = time.Second

// lastReply reads the final reply of a transfer that was cut off.
func (d *Data) lastReply() (wire.Reply, error) {
	if d.final != nil || d.verb.Done() {
		return wire.Reply{}, nil
	}
	d.verb.Abandon()
	ctx, cancel := context.WithTimeout(wire.Background(context.Background()), abortTimeout)
	defer cancel()
	return d.verb.WaitFinal(ctx)
}
