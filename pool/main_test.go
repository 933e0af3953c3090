package pool

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ftpsfs/ftpsfs/pool/embedded"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a server with a folder, and a pool that is connected to it.
type env struct {
	*Pool
	srv  *embedded.Server
	root string // the server's folder on our disk
	ctx  context.Context
}

// option changes how an env is made.
type option func(*embedded.Config, *Config)

// newEnv starts a server and a pool that end with the test.
func newEnv(t *testing.T, options ...option) *env {
	t.Helper()
	ca, err := embedded.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	sc := embedded.Config{Root: t.TempDir(), User: "u", Password: "p", Cert: ca.Server}
	pc := Config{
		Session: session.Config{
			User: "u", Password: func(context.Context) (string, error) { return "p", nil },
			Trust: trust.Config{CACert: ca.CertFile},
		},
		Timeout: 10 * time.Second,
	}
	if os.Getenv("FTP_DEBUG") != "" {
		pc.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, o := range options {
		o(&sc, &pc)
	}
	e := &env{root: sc.Root}
	if e.srv, err = embedded.Start(sc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.srv.Close() })
	pc.Session.Host, pc.Session.Port = "127.0.0.1", e.srv.Addr().Port
	if sc.Implicit {
		pc.Session.TLS = session.TLSImplicit
	}
	if e.Pool, err = New(pc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	var cancel context.CancelFunc
	e.ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

func listOnly(sc *embedded.Config, _ *Config) { sc.ListOnly = true }

func tls12(sc *embedded.Config, _ *Config) { sc.MaxVersion = tls.VersionTLS12 }

// conns limits both sides: the server to served, the pool to most.
func conns(served, most int) option {
	return func(sc *embedded.Config, pc *Config) { sc.MaxClients, pc.MaxConns = served, most }
}

type embeddedConfig = embedded.Config

func write(t *testing.T, e *env, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.root, name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sha256Of(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
