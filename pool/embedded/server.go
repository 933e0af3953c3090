package embedded

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
)

// Config says what to serve and to whom.
type Config struct {
	Addr       string // where to listen; "" is 127.0.0.1:0. Data ports are on the same address
	Root       string // folder to serve, must exist
	User       string
	Password   string
	Cert       tls.Certificate
	Implicit   bool           // TLS from the first byte, in place of AUTH TLS
	MinVersion uint16         // 0: TLS 1.2
	MaxVersion uint16         // 0: newest
	ClientCAs  *x509.CertPool // clients must show a certificate of these; nil: none is asked for
	// MaxClients greets further clients with 421; 0: no limit.
	MaxClients int
	FoldCase   bool         // names that differ in the case of letters alone are one, as on Windows
	ListOnly   bool         // neither MLSD nor MLST, as on servers that know LIST alone
	Log        *slog.Logger // nil: none
}

// Server is a running server. Its methods may be called from any goroutine.
type Server struct {
	cfg  Config
	tls  *tls.Config // one for control and data, so that tickets of the one open the other
	root *os.Root
	addr *net.TCPAddr
	ctrl net.Listener // what the library accepts from

	served  chan struct{} // closed when the accept loop has ended
	clients sync.WaitGroup

	mu     sync.Mutex
	open   map[io.Closer]struct{} // listeners and connections; guarded by mu
	conns  int                    // control connections among them; guarded by mu
	closed bool                   // guarded by mu
}

// Start listens and serves until Close.
func Start(cfg Config) (*Server, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS12
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	tcp, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	s := &Server{
		cfg: cfg, root: root, addr: tcp.Addr().(*net.TCPAddr),
		tls: &tls.Config{
			Certificates: []tls.Certificate{cfg.Cert},
			MinVersion:   cfg.MinVersion, MaxVersion: cfg.MaxVersion,
		},
		served: make(chan struct{}),
		open:   map[io.Closer]struct{}{},
	}
	if cfg.ClientCAs != nil {
		s.tls.ClientAuth, s.tls.ClientCAs = tls.RequireAndVerifyClientCert, cfg.ClientCAs
	}
	s.ctrl = &control{Listener: tcp, s: s}
	s.track(tcp)
	if cfg.Implicit {
		s.ctrl = tls.NewListener(s.ctrl, s.tls)
	}
	return s, s.serve()
}

// serve hands the listener to the library and starts its accept loop.
func (s *Server) serve() error {
	lib := ftpserver.NewFtpServer(&driver{s})
	if s.cfg.Log != nil {
		lib.Logger = s.cfg.Log
	}
	if err := lib.Listen(); err != nil {
		close(s.served)
		return errors.Join(fmt.Errorf("embedded server: %w", err), s.Close())
	}
	go func() {
		defer close(s.served)
		if err := lib.Serve(); err != nil {
			lib.Logger.Error("embedded server stopped", "err", err)
		}
	}()
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() *net.TCPAddr { return s.addr }

// Conns is the number of control connections that are open now.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// Cut resets all connections, control and data, and goes on accepting new ones: the network fails for a moment.
func (s *Server) Cut() {
	s.mu.Lock()
	var conns []*conn
	for c := range s.open {
		if c, ok := c.(*conn); ok {
			conns = append(conns, c)
		}
	}
	s.mu.Unlock()
	for _, c := range conns {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		c.Close()
	}
}

// Close stops listening, cuts all connections and waits until their goroutines have ended. Idempotent.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	var open []io.Closer
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
	<-s.served
	s.clients.Wait()
	if !first {
		return nil
	}
	return s.root.Close()
}

// track registers what Close must close. It reports false, and closes c, when the server is already closing.
func (s *Server) track(c io.Closer) bool {
	s.mu.Lock()
	if !s.closed {
		s.open[c] = struct{}{}
		s.mu.Unlock()
		return true
	}
	s.mu.Unlock()
	c.Close()
	return false
}

func (s *Server) forget(c io.Closer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[c]; !ok {
		return
	}
	delete(s.open, c)
	if c, ok := c.(*conn); ok && c.control {
		s.conns--
	}
}

// control is the listener for control connections: it counts them and turns away those over the limit.
type control struct {
	net.Listener
	s *Server
}

func (l *control) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if !l.s.admit() {
			l.s.refuse(raw)
			continue
		}
		c := &conn{Conn: raw, s: l.s, control: true}
		l.s.clients.Add(1) // ends in ClientDisconnected
		l.s.track(c)       // a connection closed at once still runs through the library
		return c, nil
	}
}

// admit counts one more control connection if there is room.
func (s *Server) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.MaxClients > 0 && s.conns >= s.cfg.MaxClients {
		return false
	}
	s.conns++
	return true
}

// refuse says why and hangs up. With implicit TLS nothing can be said before the handshake.
func (s *Server) refuse(c net.Conn) {
	defer c.Close()
	if s.cfg.Implicit {
		return
	}
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(c, "421 Too many connected users, sorry.\r\n")
}

// conn is a connection that Close and Cut know of.
type conn struct {
	net.Conn
	s       *Server
	control bool
}

func (c *conn) Close() error {
	c.s.forget(c)
	return c.Conn.Close()
}

// passive replaces the library's listener by one on the server's own address. Both are closed together: the library sets
// deadlines on its own one, which must therefore stay open.
func (s *Server) passive(lib net.Listener) (net.Listener, error) {
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: s.addr.IP, Zone: s.addr.Zone})
	if err != nil {
		lib.Close()
		return nil, err
	}
	l := &passiveListener{TCPListener: tcp, lib: lib, s: s}
	s.track(l)
	return l, nil
}

type passiveListener struct {
	*net.TCPListener
	lib net.Listener
	s   *Server
}

func (l *passiveListener) Accept() (net.Conn, error) {
	if err := l.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return nil, err
	}
	raw, err := l.TCPListener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, s: l.s}
	l.s.track(c)
	return c, nil
}

func (l *passiveListener) Close() error {
	l.s.forget(l)
	return errors.Join(l.TCPListener.Close(), l.lib.Close())
}
