package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Defaults of a Config.
const (
	defaultConnectTimeout = 10 * time.Second
	defaultTimeout        = 30 * time.Second
)

// Dial makes one session: TCP, TLS, login. cfg.ConnectTimeout bounds each attempt; a server that is found to dislike
// the login commands in one flight gets a second, and one whose certificate the user was asked about.
//
// No name and no password leaves before the certificate was checked. Errors: *trust.Error, *GreetingError,
// *wire.ReplyError (login or protection refused), and what the transport gave.
func Dial(ctx context.Context, cfg Config) (*Session, error) {
	if cfg.ConnectTimeout <= 0 {
		cfg.ConnectTimeout = defaultConnectTimeout
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Policy == nil {
		p, err := trust.NewPolicy(cfg.Trust, cfg.Host, cfg.Port)
		if err != nil {
			return nil, err
		}
		cfg.Policy = p
	}
	cred, err := askPassword(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	s, err := attempt(ctx, cfg, cred)
	if again, asked := cfg.Policy.Confirm(err); err != nil && again {
		s, err = attempt(ctx, cfg, cred)
	} else if err != nil {
		err = asked
	}
	if errors.Is(err, errSerial) {
		cfg.Quirks.SerialLogin = true
		s, err = attempt(ctx, cfg, cred)
	}
	return s, err
}

// attempt is one connection.
func attempt(ctx context.Context, cfg Config, cred credentials) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	s := &Session{cfg: cfg, policy: cfg.Policy, tls: cfg.Policy.Channels()}
	s.info.Quirks = cfg.Quirks
	s.countWait(ctx)
	raw, err := cfg.dialTCP(ctx, net.JoinHostPort(cfg.Host, strconv.Itoa(cfg.Port)))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	s.info.RemoteAddr, s.info.LocalAddr = raw.RemoteAddr(), raw.LocalAddr()
	s.remote = tcpAddr(raw.RemoteAddr())
	if err := s.open(ctx, raw); err != nil {
		_ = raw.Close()
		return nil, err
	}
	if err := s.login(ctx, cred); err != nil {
		s.giveUp()
		return nil, err
	}
	s.learn(func(i *Info) { i.Since = time.Now() })
	return s, nil
}

// open brings the line up to where a name may be sent: greeting and TLS, in the order of cfg.TLS.
func (s *Session) open(ctx context.Context, raw net.Conn) error {
	o := wire.Options{Timeout: s.cfg.Timeout, Log: s.cfg.Log, Counter: s.cfg.Counter, Tolerate: s.tolerate}
	if s.cfg.Log != nil && s.cfg.Name != "" {
		o.Log = s.cfg.Log.With("session", s.cfg.Name)
	}
	var wrap func(net.Conn) (net.Conn, error)
	if s.cfg.TLS == TLSImplicit {
		wrap = func(below net.Conn) (net.Conn, error) { return s.handshake(ctx, below) }
	}
	line, greeting, err := wire.New(raw, wrap, o)
	if err != nil {
		return err
	}
	s.line = line
	r, err := greeting.WaitFinal(ctx)
	if err != nil {
		line.Close()
		return explainGreeting(s.explain(err), s.cfg.TLS)
	}
	s.info.Greeting, s.info.Greeted = line.Redact(r.Text()), time.Now()
	if !r.OK() {
		line.Close()
		return s.refusal("", r)
	}
	if s.cfg.Greeted != nil {
		s.cfg.Greeted()
	}
	if s.cfg.TLS == TLSExplicit {
		if err := s.auth(ctx); err != nil {
			line.Close()
			return err
		}
	}
	return nil
}

// auth starts TLS on a line in clear (RFC 4217 section 4). After a failed negotiation the state of the line is unknown,
// so the caller drops it.
func (s *Session) auth(ctx context.Context) error {
	wrap := func(below, _ net.Conn) (net.Conn, bool, error) {
		nc, err := s.handshake(ctx, below)
		return nc, true, err
	}
	r, err := s.line.Upgrade(ctx, "AUTH TLS", wrap)
	if err == nil && (r.Code == 500 || r.Code == 502 || r.Code == 504) {
		// An old name for the same thing: what is spoken afterwards is TLS.
		r, err = s.line.Upgrade(ctx, "AUTH SSL", wrap)
	}
	switch {
	case err != nil:
		return s.explain(err)
	case !r.OK():
		return s.refusal("AUTH TLS", r)
	}
	return nil
}

// handshake does TLS on the control connection and checks the certificate.
func (s *Session) handshake(ctx context.Context, below net.Conn) (net.Conn, error) {
	if s.cfg.CCC {
		below = &recordConn{Conn: below}
	}
	c := tls.Client(below, s.tls.Control())
	s.countWait(ctx)
	if err := c.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("TLS handshake: %w", ctx.Err())
		}
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	state := c.ConnectionState()
	s.tls.Established(state)
	s.learn(func(i *Info) { i.Control = state })
	return c, nil
}

// countWait counts a round trip that is none of the line's.
func (s *Session) countWait(ctx context.Context) {
	if s.cfg.Counter != nil {
		s.cfg.Counter.Wait(wire.IsBackground(ctx))
	}
}

// tcpAddr gives an address as TCP has it; connections that are none have an empty one.
func tcpAddr(a net.Addr) *net.TCPAddr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t
	}
	return &net.TCPAddr{}
}
