package session_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

func startFake(t *testing.T, f *fake) (*lab.Authority, session.Config) {
	t.Helper()
	ca := lab.NewAuthority(t)
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	return ca, f.config(ca)
}

func TestWaysToADataChannel(t *testing.T) {
	feat := map[string]string{"FEAT": "211-Features\r\n EPSV\r\n211 End"}
	tests := []struct {
		name    string
		replies map[string]string
		change  func(*session.Config)
		used    string // the command that made the channel
	}{
		{"EPSV", nil, nil, "EPSV"},
		{"PASV, its address ignored", map[string]string{"EPSV": "500 unknown"}, nil, "PASV"},
		{"PASV, as asked for", feat, func(c *session.Config) { c.NoEPSV = true }, "PASV"},
		{"PASV, for its address", feat, func(c *session.Config) { c.TrustPASVAddress = true }, "PASV"},
		{"EPRT", nil, func(c *session.Config) { c.Active = true }, "EPRT"},
		{"PORT", map[string]string{"EPRT": "502 unknown"}, func(c *session.Config) { c.Active = true }, "PORT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fake{replies: tt.replies}
			_, cfg := startFake(t, f)
			if tt.change != nil {
				tt.change(&cfg)
			}
			s := dial(t, cfg)
			for i := range 3 {
				// The first finds no channel made ahead, nor do those behind one that makes none.
				if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f", Next: i > 0}); string(b) != content {
					t.Fatalf("read %q", b)
				}
				store(t, s, session.TransferRequest{Verb: "STOR /f", Rest: int64(i)}, payload(100_000))
			}
			if f.count(tt.used) < 3 {
				t.Errorf("%s was sent %d times", tt.used, f.count(tt.used))
			}
			if f.count("EPSV") > 0 && tt.replies["FEAT"] != "" {
				t.Errorf("EPSV was sent %d times", f.count("EPSV"))
			}
			if f.count("EPSV") > 1 && tt.used == "PASV" || f.count("EPRT") > 1 && tt.used == "PORT" {
				t.Error("a refused command was repeated")
			}
		})
	}
}

func TestStrangersAreNotServedInActiveMode(t *testing.T) {
	f := &fake{}
	_, cfg := startFake(t, f)
	cfg.Active = true
	cfg.Timeout = 300 * time.Millisecond
	f.replies = map[string]string{"EPRT": "200 ok", "RETR": "150 here it comes"}
	s := dial(t, cfg)
	result := make(chan error, 1)
	go func() {
		_, err := s.Transfer(context.Background(), session.TransferRequest{Verb: "RETR /f"})
		result <- err
	}()
	var stranger net.Conn
	for stranger == nil { // the port is known once EPRT was sent
		if p := s.Info().DataPort; p != 0 {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
			c, err := d.Dial("tcp", (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: p}).String())
			if err != nil {
				t.Fatal(err)
			}
			stranger = c
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	defer func() { _ = stranger.Close() }()
	if b, _ := io.ReadAll(stranger); len(b) != 0 {
		t.Errorf("a stranger was told %q", b)
	}
	if err := <-result; err == nil {
		t.Error("Transfer succeeded")
	}
}

func TestDataChannelWithAnotherCertificateIsRefused(t *testing.T) {
	ca := lab.NewAuthority(t)
	f := &fake{}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	s := dial(t, f.config(ca))
	f.tls.Certificates[0] = lab.NewAuthority(t).Issue(t, lab.CertSpec{}).TLS
	f.tls.SessionTicketsDisabled = true
	_, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
	var e *trust.Error
	if !errors.As(err, &e) || e.Reason != trust.ReasonUnknownCA {
		t.Errorf("Transfer: %v", err)
	}
}

func TestPlainDataChannelIsRefused(t *testing.T) {
	f := &fake{replies: map[string]string{"PROT": "200 of course"}} // and then it does not
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	_, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
	var e *trust.Error
	if !errors.As(err, &e) || e.Reason != trust.ReasonNotTLS {
		t.Errorf("Transfer: %v", err)
	}
}

func TestClientHelloThatComesTooEarlyIsLearned(t *testing.T) {
	f := &fake{early: func(nc net.Conn) bool {
		_ = nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _ := nc.Read(make([]byte, 1))
		_ = nc.SetReadDeadline(time.Time{})
		return n == 0
	}}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
		t.Errorf("read %q", b)
	}
	if !s.Info().Quirks.LateClientHello {
		t.Error("not remembered")
	}
}

// A data channel that the server gives up while nobody uses it is noticed, and another one made ahead: the next transfer is as short as ever.
// Where it is noticed by the transfer only, that is not what fails.
func TestStaleSpareIsReplacedUnseen(t *testing.T) {
	for _, noticed := range []bool{true, false} {
		f := &fake{}
		_, cfg := startFake(t, f)
		count := &counter{}
		cfg.Counter = count
		s := dial(t, cfg)
		if err := s.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		eventually(t, s.SpareReady)
		eventually(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return f.dataConns == 1 })
		f.mu.Lock()
		_ = f.open[len(f.open)-1].Close() // the server has lost patience
		f.mu.Unlock()
		eventually(t, s.LostSpare)
		if s.HasSpare() || s.SpareReady() {
			t.Error("a lost data channel counts as one that is there")
		}
		if noticed {
			if err := s.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			eventually(t, s.SpareReady)
		}
		before := count.waits.Load()
		if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
			t.Errorf("read %q", b)
		}
		if n := count.waits.Load() - before; noticed && n > 3 { // the last one is for the 226
			t.Errorf("%d waits", n)
		}
		if s.Info().Quirks.LateClientHello {
			t.Error("a wrong lesson was learned")
		}
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("did not happen")
		}
	}
}

func TestPreparedChannelSavesRoundTrips(t *testing.T) {
	f := &fake{}
	_, cfg := startFake(t, f)
	count := &counter{}
	cfg.Counter = count
	s := dial(t, cfg)
	if err := s.Prepare(wire.Background(t.Context())); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return count.channels.Load() == 1 })
	before := count.waits.Load()
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if n := count.waits.Load() - before; n > 2 {
		t.Errorf("first byte after %d waits", n)
	}
	d.Abort()
}

func TestRefusalsKeepTheSession(t *testing.T) {
	f := &fake{replies: map[string]string{"RETR /missing": "550 no such file", "STOR /full": "452 disk full", "REST 7": "501 no"}}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	for range 2 { // cold and pipelined
		for verb, want := range map[string]int{"RETR /missing": 550, "STOR /full": 452} {
			_, err := s.Transfer(t.Context(), session.TransferRequest{Verb: verb})
			var refused *wire.ReplyError
			if !errors.As(err, &refused) || refused.Reply.Code != want {
				t.Fatalf("%s: %v", verb, err)
			}
		}
		var refused *wire.ReplyError
		if _, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f", Rest: 7}); !errors.As(err, &refused) || refused.Reply.Code != 501 {
			t.Fatalf("refused REST: %v", err)
		}
		if n := f.count("STOR /f"); n != 0 {
			t.Fatal("STOR behind a refused REST truncates the file")
		}
		if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
			t.Errorf("read %q", b)
		}
	}
}

func TestBareEndOfDataIsTold(t *testing.T) {
	f := &fake{}
	f.data = func(_ *fake, _ string, nc net.Conn) {
		_, _ = io.WriteString(nc, content)
		_ = nc.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).CloseWrite()
	}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(d); string(b) != content || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	if d.CloseNotify() {
		t.Error("close_notify was not sent, and is said to have come")
	}
	if _, err := d.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNothingIsAskedBeforeTheLastWord: data that somebody on the way has ended say nothing of the server, which may be in the
// middle of the transfer. One that answers commands there would make the answers change places.
func TestNothingIsAskedBeforeTheLastWord(t *testing.T) {
	for name, end := range map[string]func(*net.TCPConn){
		"end of the connection": func(nc *net.TCPConn) { _ = nc.CloseWrite() },
		"reset":                 func(nc *net.TCPConn) { _ = nc.SetLinger(0); _ = nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{nosy: true}
			f.data = func(_ *fake, _ string, nc net.Conn) {
				_, _ = io.WriteString(nc, content)
				end(nc.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn))
			}
			_, cfg := startFake(t, f)
			s := dial(t, cfg)
			d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "MLSD /d", Next: true})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.ReadAll(d) // how it ends is not the question
			if r, _ := d.Finish(t.Context()); r.Code != 226 {
				t.Errorf("the last word on the transfer: %v", r)
			}
			if r, err := s.Command(t.Context(), "NOOP"); err != nil || r.Code != 200 {
				t.Errorf("the answer to what was asked next: %v, %v", r, err)
			}
		})
	}
}

// TestLastWordsInClear: what a dying session says beside TLS is its end, and no reason to think that the server does not protect.
func TestLastWordsInClear(t *testing.T) {
	f := &fake{replies: map[string]string{"NOOP": "in clear: 500 OOPS: child died"}}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	_, err := s.Command(t.Context(), "NOOP")
	var untrusted *trust.Error
	if err == nil || errors.As(err, &untrusted) || s.Poisoned() == nil {
		t.Errorf("%v, then %v", err, s.Poisoned())
	}
}

func TestUploadIntoAResetFailsThoughTheServerSays226(t *testing.T) {
	f := &fake{}
	f.data = func(_ *fake, _ string, nc net.Conn) {
		_, _ = io.ReadFull(nc, make([]byte, 10))
		_ = nc.(interface{ NetConn() net.Conn }).NetConn().(*net.TCPConn).SetLinger(0)
		_ = nc.(interface{ NetConn() net.Conn }).NetConn().Close()
	}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err = d.Write(payload(100_000)); err != nil {
			break
		}
	}
	_, err = d.Finish(t.Context())
	var broken *session.DataError
	if !errors.As(err, &broken) || broken.Reply.Code != 226 {
		t.Errorf("Finish: %v", err)
	}
	if s.Poisoned() != nil {
		t.Errorf("the line is in step: %v", s.Poisoned())
	}
}

func TestFrozenServerEndsWithinTheBound(t *testing.T) {
	f := &fake{}
	release := make(chan struct{})
	f.data = func(*fake, string, net.Conn) { <-release }
	_, cfg := startFake(t, f)
	t.Cleanup(func() { close(release) })
	cfg.Timeout = 200 * time.Millisecond
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
	if err != nil {
		t.Fatal(err)
	}
	var n net.Error
	if _, err := d.Read(make([]byte, 1)); !errors.As(err, &n) || !n.Timeout() {
		t.Errorf("Read: %v", err)
	}
	d.Abort()
	if s.Poisoned() == nil {
		t.Error("no final reply came, and the session is believed to be usable")
	}
	s = dial(t, cfg)
	if d, err = s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Finish(t.Context()); err == nil {
		t.Error("Finish succeeded")
	}
}

func TestAbortEndsAFinishUnderWay(t *testing.T) {
	f := &fake{}
	release, begun := make(chan struct{}), make(chan struct{})
	f.data = func(_ *fake, _ string, nc net.Conn) { _, _ = io.Copy(io.Discard, nc); close(begun); <-release }
	_, cfg := startFake(t, f)
	t.Cleanup(func() { close(release) })
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-begun; d.Abort() }()
	if _, err := d.Finish(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish: %v", err)
	}
}

func TestCanceledFinish(t *testing.T) {
	f := &fake{}
	release := make(chan struct{})
	f.data = func(*fake, string, net.Conn) { <-release }
	_, cfg := startFake(t, f)
	t.Cleanup(func() { close(release) })
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Finish: %v", err)
	}
	if s.Poisoned() == nil {
		t.Error("a reply is owed")
	}
}

func TestCommandDuringTransferIsRefused(t *testing.T) {
	f := &fake{}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Flight(t.Context(), "NOOP"); err == nil {
		t.Error("a command went out during a transfer")
	}
	d.Abort()
}

func TestCloseEndsEverything(t *testing.T) {
	f := &fake{}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR /f"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if _, err := d.Finish(t.Context()); err == nil {
		t.Error("Finish succeeded after Close")
	}
	if _, err := s.Flight(t.Context(), "NOOP"); err == nil {
		t.Error("NOOP succeeded after Close")
	}
}

// TestStrictResumption: the newest ticket only, and each but once.
func TestStrictResumption(t *testing.T) {
	var mu sync.Mutex
	var issued [][]byte // by WrapSession, oldest first; nil once used
	server := &tls.Config{
		WrapSession: func(_ tls.ConnectionState, s *tls.SessionState) ([]byte, error) {
			b, err := s.Bytes()
			mu.Lock()
			defer mu.Unlock()
			issued = append(issued, b)
			return []byte{byte(len(issued))}, err
		},
		UnwrapSession: func(id []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
			mu.Lock()
			defer mu.Unlock()
			n := int(id[0])
			if n != len(issued) || issued[n-1] == nil {
				return nil, nil
			}
			b := issued[n-1]
			issued[n-1] = nil
			return tls.ParseSessionState(b)
		},
	}
	f := &fake{tls: server}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	for i := range 5 {
		up := store(t, s, session.TransferRequest{Verb: "STOR /f", Next: i%2 == 0}, payload(i*10_000))
		_, down := fetch(t, s, session.TransferRequest{Verb: "RETR /f", Next: i%2 == 1})
		if !up.Resumed() || !down.Resumed() {
			t.Errorf("round %d: resumed: up %v, down %v", i, up.Resumed(), down.Resumed())
		}
	}
	if !s.Info().DataResumed {
		t.Error("Info does not tell")
	}
}
