package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// channel is a data channel before its transfer: being connected, connected, or with TLS under way. A channel whose
// transfer was refused goes on as the spare for the next one, with its TLS handshake where it is.
type channel struct {
	s    *Session
	late bool // the ClientHello goes out only behind the 1xx
	old  bool // was made ahead: the server may have given it up

	ctx    context.Context // ends with the channel
	cancel context.CancelFunc

	ready chan struct{} // closed when conn or err is set
	conn  *dataConn     // set before ready is closed
	err   error         // set before ready is closed

	once    sync.Once
	begun   atomic.Bool   // start was called
	secured chan struct{} // closed when the handshake has ended (at once without TLS)
	tls     *tls.Conn     // nil without TLS; set before secured is closed
	tlsErr  error         // set before secured is closed
}

func (s *Session) newChannel() *channel {
	ctx, cancel := context.WithCancel(wire.Background(context.Background()))
	return &channel{s: s, ctx: ctx, cancel: cancel, ready: make(chan struct{}), secured: make(chan struct{})}
}

// connected ends the first stage.
func (ch *channel) connected(nc net.Conn, err error) {
	if err == nil {
		ch.conn = newDataConn(nc, ch.s.cfg.Timeout)
		if ch.ctx.Err() != nil { // discarded in the meantime
			ch.conn.reset()
		}
	}
	ch.err = err
	close(ch.ready)
	if c := ch.s.cfg.Counter; c != nil && err == nil {
		c.DataChannel()
	}
}

// dial connects to the server's port. It blocks.
func (ch *channel) dial(ctx context.Context, address string) {
	ctx, cancel := context.WithTimeout(ctx, ch.s.cfg.ConnectTimeout)
	defer cancel()
	stop := context.AfterFunc(ch.ctx, cancel)
	defer stop()
	nc, err := ch.s.cfg.dialTCP(ctx, address)
	if err != nil {
		err = fmt.Errorf("data channel: %w", err)
	}
	ch.connected(nc, err)
}

// start begins the TLS handshake as soon as the channel is connected. The ClientHello leaves now, the rest goes on
// beside the control connection's replies. Idempotent. The goroutine ends with the handshake or with the channel.
func (ch *channel) start() {
	ch.once.Do(func() {
		ch.begun.Store(true)
		ch.s.wg.Add(1)
		go func() {
			defer ch.s.wg.Done()
			defer close(ch.secured)
			ch.tlsErr = ch.secure()
		}()
	})
}

func (ch *channel) secure() error {
	select {
	case <-ch.ready:
	case <-ch.ctx.Done():
		return ch.ctx.Err()
	}
	if ch.err != nil {
		return ch.err
	}
	if ch.s.cfg.ProtClear {
		return nil
	}
	config := ch.s.tls.Data()
	if ch.s.cfg.FreshData {
		config.ClientSessionCache = nil
	}
	ch.tls = tls.Client(ch.conn, config)
	return ch.tls.HandshakeContext(ch.ctx)
}

// discard closes the channel, whatever stage it is in.
func (ch *channel) discard() {
	ch.cancel()
	select {
	case <-ch.ready:
		if ch.conn != nil {
			ch.conn.reset()
		}
	default:
	}
}

// usable says whether a channel that was made ahead is still what it was. It is called with ready closed.
func (ch *channel) usable() bool {
	if ch.err != nil || ch.ctx.Err() != nil {
		return false
	}
	select {
	case <-ch.secured:
		return ch.tlsErr == nil
	default:
	}
	return alive(ch.conn.Conn, ch.begun.Load())
}

// gone says that a channel could not be made, or is not usable any more. One that is being made is not gone.
func (ch *channel) gone() bool {
	select {
	case <-ch.ready:
		return !ch.usable()
	default:
		return false
	}
}

// silent says that the channel is connected and the peer has not sent a byte on it.
func (ch *channel) silent() bool {
	select {
	case <-ch.ready:
		return ch.err == nil && !ch.conn.heard.Load()
	default:
		return false
	}
}

// Prepare begins to make the spare data channel: the command leaves now, the connection is made aside. It returns when
// the command was written, and does nothing when there is a spare or a transfer; one that the server has given up does not count.
// Other commands may follow at once.
func (s *Session) Prepare(ctx context.Context) error {
	s.mu.Lock()
	dead := s.spare
	skip := dead != nil && !dead.gone() || s.busy != nil || s.closed || s.cfg.Active
	if !skip {
		s.spare = nil
	}
	s.mu.Unlock()
	if skip {
		return nil
	}
	if dead != nil {
		dead.discard()
	}
	return s.prepare(ctx)
}

func (s *Session) prepare(ctx context.Context) error {
	cmd := s.passiveCommand()
	pending, err := s.line.Send(ctx, cmd)
	if err != nil {
		return s.explain(err)
	}
	return s.makeSpare(cmd, pending[0].WaitFinal)
}

// finalReply waits for a command's answer.
type finalReply func(context.Context) (wire.Reply, error)

// makeSpare connects aside to the port that the reply to cmd tells.
func (s *Session) makeSpare(cmd string, reply finalReply) error {
	ch := s.newChannel()
	ch.old = true
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		ch.cancel()
		return ErrClosed
	}
	s.spare = ch
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		address, err := s.passiveReply(ch.ctx, cmd, reply)
		if err != nil {
			ch.connected(nil, err)
			return
		}
		ch.dial(ch.ctx, address)
	}()
	return nil
}

// HasSpare says whether a data channel is prepared, as far as can be seen without asking, or on its way.
func (s *Session) HasSpare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spare != nil && !s.spare.gone()
}

// LostSpare says whether a data channel was prepared in vain: it could not be made, or the server has given it up since.
func (s *Session) LostSpare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spare != nil && s.spare.gone()
}

// SpareReady says whether a data channel is prepared and connected, as far as can be seen without asking.
func (s *Session) SpareReady() bool {
	s.mu.Lock()
	ch := s.spare
	s.mu.Unlock()
	if ch == nil {
		return false
	}
	select {
	case <-ch.ready:
		return ch.usable()
	default:
		return false
	}
}

// takeSpare gives the prepared channel if it is usable.
func (s *Session) takeSpare(ctx context.Context) *channel {
	s.mu.Lock()
	ch := s.spare
	s.spare = nil
	s.mu.Unlock()
	if ch == nil {
		return nil
	}
	select {
	case <-ch.ready:
	default:
		s.line.CountWait(ctx)
	}
	select {
	case <-ch.ready:
	case <-ctx.Done():
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			ch.discard()
		} else {
			s.keepSpare(ch) // not wanted any more, and good for the next one; to discard it now would cost the session, which owes its port
		}
		return nil
	}
	if !ch.usable() {
		ch.discard()
		return nil
	}
	return ch
}

// keepSpare makes ch, whose transfer was refused, the spare for the next one.
func (s *Session) keepSpare(ch *channel) {
	s.mu.Lock()
	keep := s.spare == nil && !s.closed && !s.cfg.Active
	if keep {
		ch.old = true
		s.spare = ch
	}
	s.mu.Unlock()
	if !keep {
		ch.discard()
	}
}

// openChannel makes a channel and waits for it; in active mode, for the server to know where to call.
func (s *Session) openChannel(ctx context.Context) (*channel, error) {
	if s.cfg.Active {
		return s.listen(ctx)
	}
	cmd := s.passiveCommand()
	pending, err := s.line.Send(ctx, cmd)
	if err != nil {
		return nil, s.explain(err)
	}
	address, err := s.passiveReply(ctx, cmd, pending[0].WaitFinal)
	if err != nil {
		return nil, err
	}
	return s.connect(ctx, address)
}

func (s *Session) connect(ctx context.Context, address string) (*channel, error) {
	ch := s.newChannel()
	s.line.CountWait(ctx)
	ch.dial(ctx, address)
	if ch.err != nil {
		return nil, ch.err
	}
	return ch, nil
}

// passiveCommand gives the command that asks for a port.
func (s *Session) passiveCommand() string {
	if s.remote.IP.To4() != nil && (s.cfg.TrustPASVAddress || s.cfg.NoEPSV || s.Quirks().NoEPSV) {
		return "PASV"
	}
	return "EPSV"
}

// passiveReply waits for the answer to cmd and gives the address to connect to. Where EPSV is not known, PASV is asked
// once and remembered.
func (s *Session) passiveReply(ctx context.Context, cmd string, reply finalReply) (string, error) {
	r, err := reply(ctx)
	if err == nil && cmd == "EPSV" && r.Code >= 500 && s.remote.IP.To4() != nil {
		s.learn(func(i *Info) { i.Quirks.NoEPSV = true })
		if pending, err := s.line.Send(ctx, "PASV"); err == nil {
			return s.passiveReply(ctx, "PASV", pending[0].WaitFinal)
		}
	}
	if err != nil {
		return "", s.explain(err)
	}
	if !r.OK() {
		if cmd == "PASV" && r.Code >= 500 { // what was said of EPSV was no word about EPSV
			s.learn(func(i *Info) { i.Quirks.NoEPSV = false })
		}
		return "", s.refusal(cmd, r)
	}
	return s.passiveAddress(cmd, r)
}

func (s *Session) passiveAddress(cmd string, r wire.Reply) (string, error) {
	peer := *s.remote
	var err error
	if cmd == "EPSV" {
		peer.Port, err = parseEPSV(r.Last())
	} else {
		given, perr := parsePASV(r.Last())
		peer.Port, err = int(given.Port()), perr
		if s.cfg.TrustPASVAddress && err == nil {
			peer.IP, peer.Zone = given.Addr().AsSlice(), ""
		}
	}
	if err != nil {
		e := s.line.ReplyError(cmd, r)
		return "", fmt.Errorf("%w: %w", err, e)
	}
	s.mu.Lock()
	s.epsv = s.epsv || cmd == "EPSV"
	s.info.sawPort(peer.Port)
	s.mu.Unlock()
	return peer.String(), nil
}

// errPeer says that nobody but strangers called.
var errPeer = errors.New("no data connection from the server")
