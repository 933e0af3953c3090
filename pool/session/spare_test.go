package session_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// order gives where the commands stand that were received first, -1 for those that were not.
func (f *fake) order(cmds ...string) []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	var at []int
	for _, cmd := range cmds {
		at = append(at, slices.Index(f.cmds, cmd))
	}
	return at
}

// TestSpareWithTheLogin: the first data channel is asked for in the login's own flight, where EPSV is what is used.
func TestSpareWithTheLogin(t *testing.T) {
	tests := []struct {
		name   string
		server fake
		change func(*session.Config)
		early  bool
	}{
		{name: "EPSV", early: true},
		{name: "not wanted", change: func(c *session.Config) { c.Spare = false }},
		{name: "PASV learned", change: func(c *session.Config) { c.Quirks.NoEPSV = true }},
		{name: "PASV asked for", change: func(c *session.Config) { c.NoEPSV = true }},
		{name: "active", change: func(c *session.Config) { c.Active = true }},
		{name: "one by one", change: func(c *session.Config) { c.Quirks.SerialLogin = true }},
		{name: "CCC", change: func(c *session.Config) { c.CCC = true }},
		{name: "dislikes the flight", server: fake{first: map[string]string{"TYPE": "503 slowly"}}, early: true}, // then one by one
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			_, cfg := startFake(t, &tt.server)
			count := &counter{}
			cfg.Spare, cfg.Counter = true, count
			if tt.change != nil {
				tt.change(&cfg)
			}
			s := dial(t, cfg)
			again := s.Info().Quirks.SerialLogin || !tt.early
			// OPTS MLST is sent when the login's flight was answered. What a server reads of a flight that it refused is its own affair.
			at := tt.server.order("PWD", "EPSV", "OPTS MLST type;size;modify;unix.mode;")
			if inFlight := at[1] == at[0]+1 && at[1] < at[2]; tt.server.first == nil && inFlight != tt.early {
				t.Errorf("PWD, EPSV and OPTS MLST stand at %v", at)
			}
			if s.HasSpare() == again {
				t.Errorf("spare %v", s.HasSpare())
			}
			for range 2 {
				if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
					t.Errorf("read %q", b)
				}
			}
			if n := count.channels.Load(); n != 2 && !cfg.Active {
				t.Errorf("%d data channels for two transfers", n)
			}
			if n := tt.server.count("EPSV") + tt.server.count("PASV"); tt.early && !again && n != 2 {
				t.Errorf("asked for %d data channels", n)
			}
		})
	}
}

// TestSpareRefused: what a server says to EPSV in the login's flight counts as what it says behind it.
func TestSpareRefused(t *testing.T) {
	for reply, works := range map[string]bool{
		"500 unknown":             true, // PASV it is
		"502 not implemented":     true,
		"522 not IPv6":            true,
		"425 not now":             false, // for this session; another command is tried with the transfer
		"229 here you are (oops)": false,
	} {
		t.Run(reply, func(t *testing.T) {
			f := &fake{first: map[string]string{"EPSV": reply}}
			_, cfg := startFake(t, f)
			cfg.Spare = true
			s := dial(t, cfg)
			eventually(t, func() bool { return works && s.SpareReady() || !works && f.count("EPSV") == 1 })
			_, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR /f"})
			if works != (err == nil) {
				t.Fatalf("transfer: %v", err)
			}
			if works != s.Info().Quirks.NoEPSV {
				t.Errorf("PASV is remembered: %v", s.Info().Quirks.NoEPSV)
			}
			if n := f.count("PASV"); works != (n == 1) {
				t.Errorf("PASV was sent %d times", n)
			}
		})
	}
}

// TestSpareOfARefusedLogin: the answer to the login counts, and nothing is left behind.
func TestSpareOfARefusedLogin(t *testing.T) {
	f := &fake{replies: map[string]string{"PASS": "530 no", "EPSV": "530 log in first"}}
	_, cfg := startFake(t, f)
	cfg.Spare = true
	if _, err := session.Dial(t.Context(), cfg); err == nil || errors.Is(err, session.ErrClosed) {
		t.Fatal(err)
	}
	if n := f.count("PASS"); n != 1 {
		t.Errorf("password sent %d times", n)
	}
}

// TestSpareIsMadeBesideFEAT: the answer to FEAT, which is long, is not waited for; and where it does not come, nothing is left behind.
func TestSpareIsMadeBesideFEAT(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		t.Run(fmt.Sprintf("breaks %v", breaks), func(t *testing.T) {
			made, conn, first := make(chan struct{}), make(chan net.Conn, 1), sync.Once{}
			f := &fake{wait: map[string]<-chan struct{}{"FEAT": made}, early: func(nc net.Conn) bool {
				first.Do(func() {
					conn <- nc
					close(made)
				})
				return true
			}}
			if breaks {
				f.first = map[string]string{"FEAT": ""}
			}
			_, cfg := startFake(t, f)
			cfg.Spare = true
			s := dial(t, cfg)
			if s.Info().Quirks.SerialLogin != breaks || s.HasSpare() == breaks {
				t.Errorf("one by one: %v; spare: %v", s.Info().Quirks.SerialLogin, s.HasSpare())
			}
			if breaks {
				nc := <-conn
				_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the data channel of a login that failed: %v", err)
				}
			}
			if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
				t.Errorf("read %q", b)
			}
		})
	}
}

// TestSpareOnRealServers: none of them minds, and one transfer of each kind finds its data channel.
func TestSpareOnRealServers(t *testing.T) {
	eachServer(t, func(t *testing.T, srv *lab.Server, _ string) {
		cfg := config(srv, nil)
		cfg.Spare = true
		for i := range 3 {
			s := dial(t, cfg)
			if !s.HasSpare() {
				t.Error("no spare")
			}
			path := fmt.Sprintf("%s/f%d", s.Info().Home, i)
			store(t, s, session.TransferRequest{Verb: "STOR " + path}, payload(10_000))
			if got, _ := fetch(t, s, session.TransferRequest{Verb: "RETR " + path}); len(got) != 10_000 {
				t.Errorf("%d bytes", len(got))
			}
			s.Close()
		}
	})
}

// TestSpareOfATransferThatIsNotWanted: who is given up while it waits for the data channel leaves it to the next one, and the session with it.
func TestSpareOfATransferThatIsNotWanted(t *testing.T) {
	told := make(chan struct{})
	f := &fake{wait: map[string]<-chan struct{}{"EPSV": told}}
	_, cfg := startFake(t, f)
	s := dial(t, cfg)
	if err := s.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Transfer(ctx, session.TransferRequest{Verb: "RETR /f"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(told)
	if b, _ := fetch(t, s, session.TransferRequest{Verb: "RETR /f"}); string(b) != content {
		t.Errorf("read %q", b)
	}
	if s.Poisoned() != nil || f.count("EPSV") != 1 || f.count("RETR") != 1 {
		t.Errorf("%v; asked for %d data channels, %d files", s.Poisoned(), f.count("EPSV"), f.count("RETR"))
	}
}
