package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// counter counts for one session.
type counter struct{ commands, waits, channels, received, sent atomic.Int64 }

func (c *counter) Command(string) { c.commands.Add(1) }
func (c *counter) Wait(background bool) {
	if !background {
		c.waits.Add(1)
	}
}
func (c *counter) DataChannel() { c.channels.Add(1) }
func (c *counter) DataBytes(received, sent int) {
	c.received.Add(int64(received))
	c.sent.Add(int64(sent))
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

func config(s *lab.Server, count session.Counter) session.Config {
	c := session.Config{
		Host: s.Host, Port: s.Port, User: s.User, Counter: count,
		Password: func(context.Context) (string, error) { return s.Password, nil },
		Trust:    trust.Config{CACert: s.CAFile},
		Timeout:  10 * time.Second, ConnectTimeout: 10 * time.Second,
	}
	if s.Implicit {
		c.TLS = session.TLSImplicit
	}
	return c
}

func dial(t *testing.T, cfg session.Config) *session.Session {
	t.Helper()
	s, err := session.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func store(t *testing.T, s *session.Session, r session.TransferRequest, content []byte) *session.Data {
	t.Helper()
	d, err := s.Transfer(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.Verb, err)
	}
	if _, err := d.Write(content); err != nil && len(content) > 0 {
		t.Fatalf("%s: Write: %v", r.Verb, err)
	}
	if _, err := d.Finish(t.Context()); err != nil {
		t.Fatalf("%s: Finish (resumed: %v): %v", r.Verb, d.Resumed(), err)
	}
	return d
}

func fetch(t *testing.T, s *session.Session, r session.TransferRequest) ([]byte, *session.Data) {
	t.Helper()
	d, err := s.Transfer(t.Context(), r)
	if err != nil {
		t.Fatalf("%s: %v", r.Verb, err)
	}
	b, err := io.ReadAll(d)
	if err != nil {
		t.Fatalf("%s: Read: %v", r.Verb, err)
	}
	if !d.CloseNotify() {
		t.Errorf("%s: no close_notify", r.Verb)
	}
	if _, err := d.Finish(t.Context()); err != nil {
		t.Fatalf("%s: Finish: %v", r.Verb, err)
	}
	return b, d
}

func payload(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n)})
	_, _ = r.Read(b)
	return b
}

// eachServer runs f on every real server with every TLS version.
func eachServer(t *testing.T, f func(t *testing.T, srv *lab.Server, version string)) {
	for _, kind := range lab.Real {
		for version := range versions {
			t.Run(fmt.Sprintf("%s/%s", kind, version), func(t *testing.T) {
				t.Parallel()
				f(t, start(t, kind, version), version)
			})
		}
	}
}

// start runs a server with one TLS version. ProFTPD limited to TLS 1.2 gives no tickets by default, and Go resumes by
// tickets only.
func start(t *testing.T, kind lab.Kind, version string) *lab.Server {
	t.Helper()
	o := lab.Options{Kind: kind, Version: version}
	if kind == lab.ProFTPD && version == "1.2" {
		o.Extra = []string{"TLSSessionTickets on"}
	}
	return lab.Start(t, o)
}

func TestTransfersOnRealServers(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *lab.Server, version string) {
		s := dial(t, config(srv, nil))
		if got := s.Info().Control.Version; got != versions[version] {
			t.Fatalf("control connection has version %x", got)
		}
		home := s.Info().Home
		if home == "" {
			t.Fatal("no home folder")
		}
		for i, size := range []int{0, 1, 100_000, 4 << 20} {
			want := payload(size)
			path := fmt.Sprintf("%s/f%d", home, i)
			if home == "/" {
				path = path[1:]
			}
			up := store(t, s, session.TransferRequest{Verb: "STOR " + path, Next: i%2 == 0}, want)
			disk, err := os.ReadFile(srv.Disk(fmt.Sprintf("f%d", i)))
			if err != nil || !bytes.Equal(disk, want) {
				t.Fatalf("%d bytes stored, server has %d (%v)", size, len(disk), err)
			}
			got, down := fetch(t, s, session.TransferRequest{Verb: "RETR " + path, Next: i%2 == 0})
			if !bytes.Equal(got, want) {
				t.Fatalf("%d bytes fetched, want %d", len(got), size)
			}
			resumes := srv.Kind != lab.PureFTPd || version == "1.2"
			if resumes != up.Resumed() || resumes != down.Resumed() {
				t.Errorf("resumed: up %v, down %v, want %v", up.Resumed(), down.Resumed(), resumes)
			}
		}
		path := home + "/f2"
		if tail, _ := fetch(t, s, session.TransferRequest{Verb: "RETR " + path, Rest: 99_000}); !bytes.Equal(tail, payload(100_000)[99_000:]) {
			t.Errorf("tail behind REST differs, %d bytes", len(tail))
		}
		_, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR " + home + "/missing"})
		var refused *wire.ReplyError
		if !errors.As(err, &refused) || refused.Reply.Code != 550 {
			t.Fatalf("missing file: %v", err)
		}
		if got, _ := fetch(t, s, session.TransferRequest{Verb: "RETR " + path}); len(got) != 100_000 {
			t.Errorf("after a refusal: %d bytes", len(got))
		}
		if err := s.KeepAlive(t.Context()); err != nil {
			t.Errorf("NOOP: %v", err)
		}
		if !s.Healthy() {
			t.Errorf("not healthy: %v", s.Poisoned())
		}
	})
}

func TestAbortLeavesSessionInStepOrPoisoned(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *lab.Server, _ string) {
		if err := os.WriteFile(srv.Disk("big"), payload(32<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		s := dial(t, config(srv, nil))
		for range 10 {
			d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR " + s.Info().Home + "/big"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(d, make([]byte, 70_000)); err != nil {
				t.Fatal(err)
			}
			d.Abort()
			if s.Poisoned() != nil {
				s = dial(t, config(srv, nil))
				continue
			}
			if r, err := s.Command(t.Context(), "SIZE "+s.Info().Home+"/big"); err != nil || r.Last() != fmt.Sprint(32<<20) {
				t.Fatalf("SIZE after Abort: %v, %v", r, err)
			}
		}
	})
}

// TestUploadsAreWhole looks for tails that a reset threw away: 100 uploads a server with FTPSFS_LONG=1, fewer otherwise.
func TestUploadsAreWhole(t *testing.T) {
	uploads := 10
	if os.Getenv("FTPSFS_LONG") == "1" {
		uploads = 100
	}
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			srv := lab.Start(t, lab.Options{Kind: kind, Version: "1.3"})
			s := dial(t, config(srv, nil))
			want := payload(4 << 20)
			sum := sha256.Sum256(want)
			for i := range uploads {
				store(t, s, session.TransferRequest{Verb: "STOR " + s.Info().Home + "/up", Next: i%2 == 0}, want)
				disk, err := os.ReadFile(srv.Disk("up"))
				if err != nil || sha256.Sum256(disk) != sum {
					t.Fatalf("upload %d: server has %d bytes (%v)", i, len(disk), err)
				}
			}
		})
	}
}

func TestRoundTrips(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *lab.Server, _ string) {
		count := &counter{}
		s := dial(t, config(srv, count))
		if n := count.waits.Load(); n > 5 { // connect, greeting, AUTH, TLS, login
			t.Errorf("login: %d waits", n)
		}
		path := s.Info().Home + "/f"
		transfers := int64(0)
		waits := func(name string, most int64, f func()) {
			t.Helper()
			before := count.waits.Load()
			f()
			transfers++
			if n := count.waits.Load() - before; n > most {
				t.Errorf("%s: %d waits, want at most %d", name, n, most)
			}
			// Each transfer leaves a channel for the next one behind.
			eventually(t, func() bool { return count.channels.Load() > transfers })
		}
		upload := func() { store(t, s, session.TransferRequest{Verb: "STOR " + path, Next: true}, payload(4096)) }
		waits("cold store", 5, upload)
		waits("store", 3, upload)
		waits("fetch", 3, func() { fetch(t, s, session.TransferRequest{Verb: "RETR " + path, Next: true}) })
		waits("store after fetch", 3, upload)
	})
}

func TestWaysToConnectToRealServers(t *testing.T) {
	tests := []struct {
		name    string
		options lab.Options
		change  func(*session.Config)
	}{
		{"implicit", lab.Options{Implicit: true}, nil},
		{"active", lab.Options{}, func(c *session.Config) { c.Active = true }},
		{"IPv6", lab.Options{Bind: "::1"}, nil},
		{"IPv6 of a server whose IPv4 needs PASV", lab.Options{Bind: "::1"}, func(c *session.Config) { c.Quirks.NoEPSV = true }},
		{"active, IPv6", lab.Options{Bind: "::1"}, func(c *session.Config) { c.Active = true }},
	}
	for _, kind := range lab.Real {
		for _, tt := range tests {
			if tt.options.Implicit && !lab.HasImplicit(kind) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", kind, tt.name), func(t *testing.T) {
				t.Parallel()
				tt.options.Kind = kind
				srv := lab.Start(t, tt.options)
				cfg := config(srv, nil)
				if tt.change != nil {
					tt.change(&cfg)
				}
				s := dial(t, cfg)
				for i := range 3 {
					path := fmt.Sprintf("%s/f%d", s.Info().Home, i)
					want := payload(200_000 + i)
					store(t, s, session.TransferRequest{Verb: "STOR " + path, Next: true}, want)
					if got, _ := fetch(t, s, session.TransferRequest{Verb: "RETR " + path}); !bytes.Equal(got, want) {
						t.Errorf("read %d bytes, want %d", len(got), len(want))
					}
				}
			})
		}
	}
}

// BenchmarkLargeFile moves 64 MiB on loopback: what is measured is our CPU and the server's.
func BenchmarkLargeFile(b *testing.B) {
	const size = 64 << 20
	srv := lab.Start(b, lab.Options{Kind: lab.VSFTPD})
	s, err := session.Dial(b.Context(), config(srv, nil))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	buf := payload(256 << 10)
	b.Run("store", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			d, err := s.Transfer(b.Context(), session.TransferRequest{Verb: "STOR /big"})
			if err != nil {
				b.Fatal(err)
			}
			for range size / len(buf) {
				if _, err := d.Write(buf); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := d.Finish(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fetch", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			d, err := s.Transfer(b.Context(), session.TransferRequest{Verb: "RETR /big"})
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = d.Read(buf)
			}
			if _, err := d.Finish(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
