package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a line.
type Options struct {
	Timeout time.Duration // no progress for this long ends a wait or a write; 0: 30 s
	Log     *slog.Logger  // dialogue at debug level; nil: none
	Counter Counter       // nil: nobody counts
	// Tolerate is asked for a reply that came while no command was outstanding; true keeps the line usable. It is called
	// on the reading goroutine and must not block. nil: none is tolerated.
	Tolerate func(Reply) bool
}

// Conn is the control line: it owns a net.Conn, reads replies on a goroutine of its own (so that nothing that the server
// says while the line is idle goes unseen, and neither side can block the other) and hands each to the command that it
// answers, in order. A reply without a command, garbage, a 421, an end or an expired bound make the line unusable for
// ever.
//
// Methods may be called from any goroutine; commands of different callers keep the order of their calls of Send.
type Conn struct {
	o    Options
	cork *cork
	raw  net.Conn // what Close closes: never blocks on TLS

	wmu sync.Mutex // serialises commands; held across the network, under a write deadline
	nc  net.Conn   // where commands go: cork, or TLS above it. guarded by wmu

	mu     sync.Mutex
	queue  []*Pending // sent and not finally answered, oldest first. guarded by mu
	err    error      // why the line is unusable. guarded by mu
	secure bool       // TLS is on. guarded by mu
	redact []string   // guarded by mu

	dead   chan struct{} // closed when err is set
	slots  chan struct{} // one token per outstanding command
	reader chan struct{} // closed when the present reading goroutine has ended
	br     *bufio.Reader // owned by the reading goroutine, and by Upgrade while there is none

	arrived  atomic.Int64 // bytes received so far
	lastByte atomic.Int64 // when the latest of them came, Unix nanoseconds
	answered atomic.Int64 // when the latest final reply came, Unix nanoseconds
}

const (
	maxOutstanding = 1024
	// slowest is the rate below which a reply that keeps trickling in no longer counts as progress.
	slowest = 256 // bytes per second
)

// New takes over raw, which is a connection in clear. wrap, if it is not nil, puts TLS over it before anything is read
// (implicit TLS). The greeting is waited for as the reply to a command that nobody sent. On an error raw is closed.
func New(raw net.Conn, wrap func(below net.Conn) (net.Conn, error), o Options) (*Conn, *Pending, error) {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	c := &Conn{
		o: o, raw: raw, cork: &cork{Conn: raw},
		dead: make(chan struct{}), slots: make(chan struct{}, maxOutstanding),
	}
	c.nc = c.cork
	if wrap != nil {
		nc, err := wrap(c.cork)
		if err != nil {
			_ = raw.Close()
			return nil, nil, err
		}
		c.nc, c.secure = nc, true
	}
	greeting := c.newPending("", false)
	c.slots <- struct{}{}
	c.queue = append(c.queue, greeting)
	c.startReader(c.nc)
	return c, greeting, nil
}

// startReader begins to read from nc. No other reading goroutine may be left.
func (c *Conn) startReader(nc io.Reader) {
	c.br = bufio.NewReaderSize(&watchedReader{r: nc, c: c}, 4096)
	c.reader = make(chan struct{})
	go c.readLoop(c.br, c.reader)
}

// watchedReader notes progress.
type watchedReader struct {
	r io.Reader
	c *Conn
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.c.arrived.Add(int64(n))
	r.c.lastByte.Store(time.Now().UnixNano())
	return n, err
}

// readLoop ends with the line, or behind a reply that asked for it (Upgrade).
func (c *Conn) readLoop(br *bufio.Reader, done chan struct{}) {
	defer close(done)
	for {
		r, err := readReply(br)
		if err != nil {
			c.fail(lineError(err))
			return
		}
		if c.deliver(r) {
			return
		}
	}
}

func lineError(err error) error {
	switch {
	case errors.Is(err, ErrGarbage):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrEOF
	}
	return fmt.Errorf("control connection: %w", err)
}

// deliver hands a reply to the oldest command. stop asks the reading goroutine to end.
func (c *Conn) deliver(r Reply) (stop bool) {
	c.logReply(r)
	c.mu.Lock()
	if len(c.queue) == 0 {
		c.mu.Unlock()
		return c.unsolicited(r)
	}
	p := c.queue[0]
	p.got = append(p.got, r)
	final := !r.Preliminary() || (p.anyFinal && len(p.got) > 1)
	if !final && len(p.got) > maxPreliminary {
		c.mu.Unlock()
		c.fail(&GarbageError{Line: r.String(), Reason: "too many preliminary replies"})
		return true
	}
	if final {
		c.finishLocked(p)
		stop = p.stop && r.OK()
	}
	c.mu.Unlock()
	p.wake()
	if r.Code == 421 { // the server closes behind it (RFC 959 section 4.2.2)
		c.fail(c.ReplyError(p.cmd, r))
		return true
	}
	return stop
}

// finishLocked takes the oldest command off the queue.
func (c *Conn) finishLocked(p *Pending) {
	p.final = true
	c.answered.Store(time.Now().UnixNano())
	c.queue = c.queue[1:]
	<-c.slots
}

// unsolicited judges a reply that nobody asked for.
func (c *Conn) unsolicited(r Reply) (stop bool) {
	if c.o.Tolerate != nil && c.o.Tolerate(r) {
		return false
	}
	if r.Code == 421 {
		c.fail(c.ReplyError("", r))
	} else {
		c.fail(fmt.Errorf("%w: %s", ErrUnsolicited, c.Redact(r.String())))
	}
	return true
}

// fail makes the line unusable. Only the first reason counts.
func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	given := len(c.queue) > 0
	close(c.dead)
	c.mu.Unlock()
	if t, ok := c.raw.(*net.TCPConn); ok && given {
		// What was given up must not arrive any more: after a close in order the kernel goes on sending it to a peer that
		// is out of reach, and when that is back it would undo what was done on another connection meanwhile.
		_ = t.SetLinger(0)
	}
	_ = c.raw.Close() // wakes the reader and a blocked writer
}

// Poison makes the line unusable for the reason given. It may be called from any goroutine, more than once.
func (c *Conn) Poison(reason error) { c.fail(reason) }

// Err gives the reason why the line is unusable, nil while it is usable.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Dead is closed when the line becomes unusable.
func (c *Conn) Dead() <-chan struct{} { return c.dead }

// Outstanding is the number of commands whose final reply has not come yet.
func (c *Conn) Outstanding() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// Secure says whether TLS is on.
func (c *Conn) Secure() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.secure
}

// Close ends the line and its goroutine.
func (c *Conn) Close() {
	c.fail(ErrClosed)
	c.wmu.Lock()
	reader := c.reader
	c.wmu.Unlock()
	<-reader
}

// AddSecret makes s unreadable in logs and errors from now on. What PASS and ACCT carry is added by itself.
func (c *Conn) AddSecret(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s != "" && !slices.Contains(c.redact, s) {
		c.redact = append(c.redact, s)
	}
}

// Redact hides the secrets in s.
func (c *Conn) Redact(s string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Redact(s, c.redact...)
}

// ReplyError makes an error of a refusal, secrets redacted.
func (c *Conn) ReplyError(cmd string, r Reply) *ReplyError {
	lines := make([]string, len(r.Lines))
	for i, l := range r.Lines {
		lines[i] = c.Redact(l)
	}
	return &ReplyError{Cmd: c.shown(cmd), Reply: Reply{Code: r.Code, Lines: lines}, original: r}
}

// shown gives a command as it may be logged.
func (c *Conn) shown(cmd string) string {
	if v := Verb(cmd); secret(v) {
		return v + " ***"
	}
	return c.Redact(cmd)
}

func (c *Conn) logReply(r Reply) {
	if c.o.Log == nil || !c.o.Log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	c.o.Log.Debug("ftp <", "reply", c.Redact(r.String()), "lines", len(r.Lines))
}

func (c *Conn) logCommand(shown string) {
	if c.o.Log == nil || !c.o.Log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	c.o.Log.Debug("ftp >", "command", printable(shown))
}
