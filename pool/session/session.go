package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// ErrClosed is the reason of sessions that were closed by their owner.
var ErrClosed = wire.ErrClosed

// Session is one logged-in control connection with at most one data channel in use and at most one prepared.
//
// It has one user at a time, or several that call nothing but Flight: their commands and replies do not mix. Close, Poisoned, Healthy, Info, HasSpare, LostSpare, SpareReady and Data.Abort may be called from any goroutine.
type Session struct {
	cfg    Config
	policy *trust.Policy
	tls    *trust.Channels
	line   *wire.Conn
	view   *wire.Library
	lib    *ftp.ServerConn
	remote *net.TCPAddr // the server, on the control connection

	mu     sync.Mutex
	info   Info     // guarded by mu
	spare  *channel // prepared or being prepared. guarded by mu
	busy   *Data    // transfer under way. guarded by mu
	epsv   bool     // EPSV was announced, or has worked. guarded by mu
	noEPRT bool     // EPRT was refused. guarded by mu
	closed bool     // guarded by mu

	wg sync.WaitGroup // goroutines that make spares
}

// Flight sends all commands, then gives the final reply of each, in order: one round trip. A refusal (4yz, 5yz) is a
// reply here. wire.ErrName and wire.ErrTooLong mean that nothing was sent; after any other error the session is
// poisoned.
func (s *Session) Flight(ctx context.Context, cmds ...string) ([]wire.Reply, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	replies, err := s.line.Flight(ctx, cmds...)
	return replies, s.explain(err)
}

// Command sends one command. A refusal is a *wire.ReplyError; the session goes on. For other errors see Flight.
func (s *Session) Command(ctx context.Context, cmd string) (wire.Reply, error) {
	replies, err := s.Flight(ctx, cmd)
	if err != nil {
		return wire.Reply{}, err
	}
	if replies[0].Refused() {
		return replies[0], s.refusal(cmd, replies[0])
	}
	return replies[0], nil
}

// errBusy is a mistake of the caller: a command during a transfer would be answered out of turn by some servers.
var errBusy = errors.New("a transfer is under way on this session")

func (s *Session) idle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy != nil {
		return errBusy
	}
	return nil
}

// KeepAlive sends a NOOP.
func (s *Session) KeepAlive(ctx context.Context) error {
	if err := s.idle(); err != nil {
		return err
	}
	s.view.SetContext(ctx)
	defer s.view.SetContext(context.Background())
	if err := s.lib.NoOp(); err != nil {
		if dead := s.Poisoned(); dead != nil {
			return dead
		}
		return err
	}
	return nil
}

// Healthy says that the session is usable as far as can be seen without asking: not poisoned, no 421, no end of the
// connection has arrived.
func (s *Session) Healthy() bool { return s.line.Err() == nil }

// Poisoned gives the reason why the session is not usable any more, nil while it is.
func (s *Session) Poisoned() error { return s.explain(s.line.Err()) }

// Poison makes the session unusable: its owner found that its state cannot be known.
func (s *Session) Poison(reason error) { s.line.Poison(reason) }

// Dead is closed when the session becomes unusable.
func (s *Session) Dead() <-chan struct{} { return s.line.Dead() }

// byeTimeout bounds the farewell. Nobody waits for it but the goroutine that says it.
const byeTimeout = 2 * time.Second

// Close says QUIT, waits for the answer aside and closes the connection. It returns at once. Idempotent.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	spare, busy := s.spare, s.busy
	s.spare = nil
	s.mu.Unlock()
	if busy != nil {
		s.line.Poison(ErrClosed)
		busy.conn.reset()
	}
	if spare != nil {
		spare.discard()
	}
	go func() {
		if s.Healthy() {
			ctx, cancel := context.WithTimeout(wire.Background(context.Background()), byeTimeout)
			_, _ = s.line.Flight(ctx, "QUIT")
			cancel()
		}
		s.line.Close()
		s.wg.Wait()
	}()
}

// giveUp ends a session whose login failed, and the data channel that it may have begun to make.
func (s *Session) giveUp() {
	s.mu.Lock()
	spare := s.spare
	s.spare, s.closed = nil, true
	s.mu.Unlock()
	if spare != nil {
		spare.discard()
	}
	s.line.Close()
}

// Info tells what is known of the server by now.
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.info
	i.Prot.Control = s.line.Secure()
	return i
}

// learn changes what is known.
func (s *Session) learn(change func(*Info)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.info)
}

// Quirks are what is known of the server by now, that a later session needs not learn again.
func (s *Session) Quirks() Quirks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info.Quirks
}

// errInClear is the end of a session, not a word about how the server protects it: vsftpd says its last words so when it dies.
var errInClear = errors.New("control connection: the server went on in clear")

// explain gives TLS failures on the line their meaning.
func (s *Session) explain(err error) error {
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &record) && s.established():
		return fmt.Errorf("%w (%q)", errInClear, record.RecordHeader[:])
	}
	return trust.Explain(err)
}

// established says that the login is over.
func (s *Session) established() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.info.Since.IsZero()
}

// refusal makes an error of a reply, with advice where there is some.
func (s *Session) refusal(cmd string, r wire.Reply) error {
	e := s.line.ReplyError(cmd, r)
	e.Advice = s.advice(wire.Verb(cmd), r)
	return e
}

// tolerate judges replies that came while nothing was asked: some servers say that they gave up waiting on a prepared
// data channel, which ends that channel and nothing else.
func (s *Session) tolerate(r wire.Reply) bool {
	text := strings.ToLower(r.Text())
	if r.Code != 421 || !strings.Contains(text, "data channel") && !strings.Contains(text, "passive") {
		return false
	}
	s.mu.Lock()
	spare := s.spare
	s.spare = nil
	s.mu.Unlock()
	if spare == nil {
		return false
	}
	spare.discard()
	return true
}
