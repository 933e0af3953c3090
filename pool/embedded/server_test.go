package embedded_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/embedded"
	"github.com/jlaffaye/ftp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves a new folder; edit changes the configuration first.
func start(t *testing.T, edit func(*embedded.Config)) (*embedded.Server, *embedded.CA, string) {
	t.Helper()
	ca, err := embedded.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	cfg := embedded.Config{Root: root, User: "u", Password: "p", Cert: ca.Server}
	if edit != nil {
		edit(&cfg)
	}
	s, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, ca, root
}

// login gives a client that a user of the server could be.
func login(t *testing.T, s *embedded.Server, ca *embedded.CA, implicit bool) *ftp.ServerConn {
	t.Helper()
	c := dial(t, s, ca, implicit)
	if err := c.Login("u", "p"); err != nil {
		t.Fatal(err)
	}
	return c
}

func dial(t *testing.T, s *embedded.Server, ca *embedded.CA, implicit bool) *ftp.ServerConn {
	t.Helper()
	how := ftp.DialWithExplicitTLS
	if implicit {
		how = ftp.DialWithTLS
	}
	conf := &tls.Config{
		RootCAs: ca.Pool, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(0),
		MaxVersion: tls.VersionTLS12, // the library's own Stor loses the tail with 1.3
	}
	c, err := ftp.Dial(s.Addr().String(), how(conf), ftp.DialWithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Quit() })
	return c
}

func TestServes(t *testing.T) {
	for name, edit := range map[string]func(*embedded.Config){
		"explicit": nil,
		"implicit": func(c *embedded.Config) { c.Implicit = true },
		"IPv6":     func(c *embedded.Config) { c.Addr = "[::1]:0" },
	} {
		t.Run(name, func(t *testing.T) {
			s, ca, root := start(t, edit)
			c := login(t, s, ca, name == "implicit")
			if err := c.MakeDir("/d"); err != nil {
				t.Fatal(err)
			}
			content := bytes.Repeat([]byte("0123456789"), 100_000)
			if err := c.Stor("/d/.dot file", bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
			when := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			if err := c.SetTime("/d/.dot file", when); err != nil {
				t.Fatal(err)
			}
			es, err := c.List("/d")
			if err != nil {
				t.Fatal(err)
			}
			if len(es) != 1 || es[0].Name != ".dot file" || es[0].Size != 1_000_000 || !es[0].Time.Equal(when) {
				t.Errorf("List = %+v", es)
			}
			if err := c.Stor("/d/x", strings.NewReader("old")); err != nil {
				t.Fatal(err)
			}
			if err := c.Rename("/d/.dot file", "/d/x"); err != nil {
				t.Errorf("rename over a file: %v", err)
			}
			if got, err := os.ReadFile(filepath.Join(root, "d", "x")); err != nil || !bytes.Equal(got, content) {
				t.Errorf("on disk: %d bytes, %v", len(got), err)
			}
			r, err := c.RetrFrom("/d/x", 999_990)
			if err != nil {
				t.Fatal(err)
			}
			if tail, err := io.ReadAll(r); err != nil || string(tail) != "0123456789" {
				t.Errorf("RetrFrom = %q, %v", tail, err)
			}
			r.Close()
		})
	}
}

func TestOnlyFilesOrFolders(t *testing.T) {
	s, ca, root := start(t, nil)
	c := login(t, s, ca, false)
	for _, d := range []string{"d", "full"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "full", "f"))
	write(t, filepath.Join(root, "f"))
	for what, err := range map[string]error{
		"DELE of a folder":      c.Delete("/d"),
		"RMD of a file":         c.RemoveDir("/f"),
		"RMD of a full folder":  c.RemoveDir("/full"),
		"MKD of what is there":  c.MakeDir("/d"),
		"DELE of nothing":       c.Delete("/nothing"),
		"rename onto a folder":  c.Rename("/f", "/full"),
		"DELE outside the root": c.Delete("/../../etc/hostname"),
	} {
		var te *textproto.Error
		if !errors.As(err, &te) || te.Code != 550 {
			t.Errorf("%s: %v, want 550", what, err)
		}
	}
	if err := c.RemoveDir("/d"); err != nil {
		t.Error(err)
	}
}

func TestSymlinks(t *testing.T) {
	s, ca, root := start(t, nil)
	write(t, filepath.Join(root, "f"))
	for name, target := range map[string]string{"in": "f", "dangling": "nowhere", "out": "/etc"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := login(t, s, ca, false)
	es, err := c.List("/")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name)
		if e.Name == "in" && e.Size != 7 {
			t.Errorf("a link shows size %d, want its target's", e.Size)
		}
	}
	slices.Sort(names)
	if want := []string{"dangling", "f", "in", "out"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if _, err := c.List("/out"); err == nil {
		t.Error("a link led out of the folder")
	}
}

func TestRefuses(t *testing.T) {
	s, ca, _ := start(t, func(c *embedded.Config) { c.MaxClients = 1 })
	c := dial(t, s, ca, false)
	if err := c.Login("u", "wrong"); err == nil {
		t.Error("a wrong password was accepted")
	}
	_ = c.Quit()
	// The server notices our end in its own time.
	for end := time.Now().Add(10 * time.Second); s.Conns() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the first client is still counted")
		}
	}
	login(t, s, ca, false)
	_, err := ftp.Dial(s.Addr().String())
	var te *textproto.Error
	if !errors.As(err, &te) || te.Code != 421 {
		t.Errorf("second client: %v, want 421", err)
	}
}

func TestPlainTextIsRefused(t *testing.T) {
	s, _, _ := start(t, nil)
	c, err := ftp.Dial(s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Quit()
	if err := c.Login("u", "p"); err == nil {
		t.Error("login without TLS was accepted")
	}
}

func TestCutGoesOn(t *testing.T) {
	s, ca, _ := start(t, nil)
	c := login(t, s, ca, false)
	s.Cut()
	if err := c.NoOp(); err == nil {
		t.Error("the connection survived Cut")
	}
	if err := login(t, s, ca, false).NoOp(); err != nil {
		t.Errorf("after Cut: %v", err)
	}
}

// Close must end clients that are logged in and a passive port that nobody dialed; TestMain looks for what is left.
func TestCloseEndsAll(t *testing.T) {
	s, ca, _ := start(t, nil)
	c := login(t, s, ca, false)
	if err := c.Stor("/f", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.NoOp(); err == nil {
		t.Error("the connection survived Close")
	}
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections open after Close", n)
	}
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
}
