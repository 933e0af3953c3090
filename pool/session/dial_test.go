package session_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func fixed(s string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return s, nil }
}

// dialLoopback reaches the fake whatever "localhost" means here.
func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, _ := net.SplitHostPort(address)
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

type expectation struct {
	name   string
	server fake
	change func(*session.Config)
	cert   lab.CertSpec
	// want is a part of the message; code that of a *wire.ReplyError; "" and 0: Dial succeeds.
	want string
	code int
	// toldName: the user's name may be on the server, over TLS.
	toldName bool
}

// TestHostileServers: whatever a server does, no name and no password leaves in clear, nor before the certificate was
// checked.
func TestHostileServers(t *testing.T) {
	tests := []expectation{
		{name: "AUTH unknown", server: fake{replies: map[string]string{"AUTH": "502 unknown"}}, want: "tls=implicit", code: 502},
		{name: "AUTH refused for policy", server: fake{replies: map[string]string{"AUTH": "534 no"}}, want: "policy", code: 534},
		{name: "TLS not to be had now", server: fake{replies: map[string]string{"AUTH": "431 no"}}, want: "certificate", code: 431},
		{name: "injection behind 234", server: fake{replies: map[string]string{"AUTH": "234 go\r\n230 in"}}, want: "in clear"},
		{name: "closes at AUTH", server: fake{replies: map[string]string{"AUTH": ""}}, want: "closed"},
		{name: "wrong name", cert: lab.CertSpec{Hosts: []string{"other.test"}}, want: "not for \"localhost\""},
		{name: "expired", cert: lab.CertSpec{NotAfter: time.Now().Add(-time.Hour)}, want: "expired"},
		{name: "implicit, wrong name", server: fake{implicit: true}, cert: lab.CertSpec{Hosts: []string{"other.test"}}, want: "not for \"localhost\""},
		{name: "explicit only, asked implicitly", change: func(c *session.Config) { c.TLS = session.TLSImplicit }, want: "tls=explicit"},
		{name: "SSH", server: fake{greeting: "SSH-2.0-OpenSSH_9.2\r\n"}, want: "SSH server"},
		{name: "web server", server: fake{greeting: "HTTP/1.1 400 Bad Request\r\n"}, want: "web server"},
		{name: "mail server", server: fake{greeting: "* OK IMAP4rev1\r\n"}, want: "mail server"},
		{name: "binary", server: fake{greeting: "\x00\x01\x02\n"}, want: "not an FTP server"},
		{name: "TLS on the explicit port", server: fake{greeting: "\x15\x03\x01\x00\x02\x02\x46\n"}, want: "tls=implicit"},
		{name: "silent", server: fake{greeting: "silent"}, change: func(c *session.Config) { c.ConnectTimeout = 100 * time.Millisecond }, want: "does not greet"},
		{name: "full", server: fake{greeting: "421 too many users\r\n"}, want: "max_conns=", code: 421},
		{name: "PROT P refused", server: fake{replies: map[string]string{"PROT": "536 no"}}, want: "cannot protect", code: 536, toldName: true},
		{name: "PROT P not 200", server: fake{replies: map[string]string{"PROT": "502 unknown"}}, want: "refuses to protect", code: 502, toldName: true},
		{name: "wrong password", server: fake{replies: map[string]string{"PASS": "530 no"}}, want: "check user name", code: 530, toldName: true},
		{name: "password with echo", server: fake{replies: map[string]string{"PASS": "530 no open-sesame here"}}, want: "no *** here", code: 530, toldName: true},
		{name: "account wanted", server: fake{replies: map[string]string{"PASS": "332 account"}}, want: "account", code: 332, toldName: true},
		{name: "old TLS", server: fake{tls: &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}}, want: "tls_min="},
		{name: "wants a certificate", server: fake{tls: &tls.Config{ClientAuth: tls.RequireAnyClientCert}}, want: "cert=", toldName: true},
		{name: "password wanted", change: func(c *session.Config) { c.Password = nil }, want: "wants a password", code: 331, toldName: true},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ca := lab.NewAuthority(t)
			tt.server.start(t, ca.Issue(t, tt.cert))
			cfg := tt.server.config(ca)
			if tt.change != nil {
				tt.change(&cfg)
			}
			s, err := session.Dial(t.Context(), cfg)
			if err == nil {
				s.Close()
				t.Fatal("Dial succeeded")
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), password) {
				t.Errorf("message %q, want %q in it and no password", err, tt.want)
			}
			var refused *wire.ReplyError
			if errors.As(err, &refused) != (tt.code != 0) || refused != nil && refused.Reply.Code != tt.code {
				t.Errorf("error %#v, want code %d", err, tt.code)
			}
			for _, secret := range []string{user, password} {
				inClear, told := tt.server.seen(secret)
				if inClear || told && !tt.toldName {
					t.Errorf("%q: in clear %v, told %v", secret, inClear, told)
				}
			}
		})
	}
}

func TestFriendlyServers(t *testing.T) {
	tests := []expectation{
		{name: "explicit"},
		{name: "implicit", server: fake{implicit: true}},
		{name: "implicit without PROT", server: fake{implicit: true, replies: map[string]string{"PROT": "502 unknown", "PBSZ": "502 unknown"}}},
		{name: "AUTH SSL as a name", server: fake{replies: map[string]string{"AUTH TLS": "504 unknown"}}},
		{name: "no FEAT", server: fake{replies: map[string]string{"FEAT": "502 unknown"}}},
		{name: "no UTF8", server: fake{replies: map[string]string{"OPTS": "550 no"}}},
		{name: "no PWD", server: fake{replies: map[string]string{"PWD": "502 no"}}},
		{name: "multi-line greeting", server: fake{greeting: "220-hello\r\n  220 not yet\r\n220 now\r\n"}},
		{name: "bare codes", server: fake{replies: map[string]string{"TYPE": "200", "PASS": "230"}}},
		{name: "logged in by certificate", server: fake{replies: map[string]string{"USER": "232 welcome", "PASS": "503 why"}}},
		{name: "no password needed", server: fake{replies: map[string]string{"USER": "230 welcome"}}, change: func(c *session.Config) { c.Password = nil }},
		{name: "account given", server: fake{replies: map[string]string{"PASS": "332 account", "ACCT acme": "230 in"}}, change: func(c *session.Config) { c.Account = "acme" }},
		{name: "account needless", server: fake{replies: map[string]string{"ACCT": "503 why"}}, change: func(c *session.Config) { c.Account = "acme" }},
	}
	for i := range tests {
		tt := &tests[i]
		for _, serial := range []bool{false, true} {
			name := tt.name
			if serial {
				name += ", one by one"
			}
			server := &fake{implicit: tt.server.implicit, replies: tt.server.replies, greeting: tt.server.greeting}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				ca := lab.NewAuthority(t)
				server.start(t, ca.Issue(t, tt.cert))
				cfg := server.config(ca)
				cfg.Quirks.SerialLogin = serial
				if tt.change != nil {
					tt.change(&cfg)
				}
				s := dial(t, cfg)
				b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"})
				if string(b) != content {
					t.Errorf("read %q", b)
				}
				info := s.Info()
				if !info.Prot.Control || !info.Prot.Data {
					t.Errorf("protection %+v", info.Prot)
				}
				if _, hasPWD := server.replies["PWD"]; !hasPWD && info.Home != `/ho"me` {
					t.Errorf("home %q", info.Home)
				}
				if err := s.KeepAlive(t.Context()); err != nil {
					t.Errorf("NOOP: %v", err)
				}
			})
		}
	}
}

func TestLoginTakesOneFlightAndAFactsSwitchIsRemembered(t *testing.T) {
	ca := lab.NewAuthority(t)
	f := &fake{}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	cfg := f.config(ca)
	first := &counter{}
	cfg.Counter = first
	s := dial(t, cfg)
	q := s.Info().Quirks
	if q.MLSTFacts != "type;size;modify;unix.mode;" {
		t.Errorf("facts %q", q.MLSTFacts)
	}
	if _, ok := s.Info().Features["MLST"]; !ok || !s.Info().HasFEAT {
		t.Errorf("features %v", s.Info().Features)
	}
	cfg.Quirks = q
	second := &counter{}
	cfg.Counter = second
	dial(t, cfg)
	// Connect, greeting, AUTH, handshake, login.
	if n := second.waits.Load(); n > 5 {
		t.Errorf("%d waits", n)
	}
	if n := f.count("OPTS MLST"); n != 2 {
		t.Errorf("OPTS MLST was sent %d times", n)
	}
	if n := f.count("PRET"); n != 0 {
		t.Errorf("PRET was sent")
	}
}

// TestFeaturesOfSeveralLines: none of them overwrites another.
func TestFeaturesOfSeveralLines(t *testing.T) {
	f := &fake{replies: map[string]string{"FEAT": "211-Features\r\n SITE UTIME\r\n SITE SYMLINK\r\n SITE UTIME\r\n AUTH TLS\r\n AUTH SSL\r\n AUTH\r\n TVFS\r\n TVFS\r\n211 End"}}
	_, cfg := startFake(t, f)
	got := dial(t, cfg).Info().Features
	for name, want := range map[string]string{"SITE": "UTIME;SYMLINK;UTIME", "AUTH": "TLS;SSL", "TVFS": ""} {
		if params, ok := got[name]; !ok || params != want {
			t.Errorf("%s: %q, %v", name, params, ok)
		}
	}
}

// TestServersThatDislikeTheFlight fail in the middle of it; one by one it works, and that is remembered.
func TestServersThatDislikeTheFlight(t *testing.T) {
	for name, first := range map[string]map[string]string{
		"refuses": {"TYPE": "503 slowly"}, "closes": {"FEAT": ""}, "bad sequence": {"PROT": "503 PBSZ first"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{first: first}
			_, cfg := startFake(t, f)
			s := dial(t, cfg)
			if !s.Info().Quirks.SerialLogin {
				t.Error("not remembered")
			}
			if n := f.count("PASS"); n != 2 {
				t.Errorf("%d attempts to log in, want 2", n)
			}
		})
	}
}

func TestRefusedLoginIsNotRepeated(t *testing.T) {
	ca := lab.NewAuthority(t)
	f := &fake{replies: map[string]string{"PASS": "530 no"}}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	if _, err := session.Dial(t.Context(), f.config(ca)); err == nil {
		t.Fatal("Dial succeeded")
	}
	if n := f.count("PASS"); n != 1 {
		t.Errorf("password sent %d times", n)
	}
}

func TestAskedUserMakesADialSucceed(t *testing.T) {
	ca := lab.NewAuthority(t)
	f := &fake{}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	cfg := f.config(ca)
	questions := 0
	cfg.Trust = trust.Config{Mode: trust.ModeAsk, KnownHosts: t.TempDir() + "/known",
		Ask: func(string) (bool, error) { questions++; return true, nil }}
	for range 2 {
		s := dial(t, cfg)
		fetch(t, s, session.TransferRequest{Verb: "RETR /f"})
	}
	if questions != 1 {
		t.Errorf("asked %d times", questions)
	}
}

func TestClearOnlyInWords(t *testing.T) {
	ca := lab.NewAuthority(t)
	f := &fake{}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	cfg := f.config(ca)
	cfg.ProtClear = true
	s := dial(t, cfg)
	if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
		t.Errorf("PROT C: read %q", b)
	}
	if p := s.Info().Prot; !p.Control || p.Data {
		t.Errorf("PROT C: protection %+v", p)
	}
	cfg = f.config(ca)
	cfg.CCC = true
	s = dial(t, cfg)
	if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /seen-in-clear"}); string(b) != content {
		t.Errorf("CCC: read %q", b)
	}
	if p := s.Info().Prot; p.Control || !p.Data {
		t.Errorf("CCC: protection %+v", p)
	}
	if inClear, _ := f.seen("seen-in-clear"); !inClear {
		t.Error("CCC: the line is not in clear")
	}
	for _, cmd := range []string{"PASS x", "USER x", "ACCT x"} {
		if _, err := s.Flight(t.Context(), cmd); !errors.Is(err, wire.ErrClear) {
			t.Errorf("%s after CCC: %v", cmd, err)
		}
	}
	if inClear, _ := f.seen(password); inClear {
		t.Error("password in clear")
	}
}

func TestLoginByClientCertificate(t *testing.T) {
	ca := lab.NewAuthority(t)
	client := ca.Issue(t, lab.CertSpec{Client: true})
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	f := &fake{tls: &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, replies: map[string]string{"USER": "232 welcome"}}
	f.start(t, ca.Issue(t, lab.CertSpec{}))
	cfg := f.config(ca)
	cfg.Password = nil
	cfg.Trust.CertFile, cfg.Trust.KeyFile = client.File, client.KeyFile
	s := dial(t, cfg)
	fetch(t, s, session.TransferRequest{Verb: "RETR /f"})
}
