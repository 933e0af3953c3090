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

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/embedded"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env is a server with a folder, and a pool that is connected to it.
type env struct {
	*Pool
	srv      *embedded.Server // nil on a real server
	kind     lab.Kind
	root     string // the server's folder on our disk
	uid, gid int    // who must own what is in it
	ctx      context.Context
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
	for _, o := range options {
		o(&sc, &pc)
	}
	e := &env{root: sc.Root, kind: lab.Embedded, uid: os.Getuid(), gid: os.Getgid()}
	if e.srv, err = embedded.Start(sc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.srv.Close() })
	pc.Session.Host, pc.Session.Port = "127.0.0.1", e.srv.Addr().Port
	if sc.Implicit {
		pc.Session.TLS = session.TLSImplicit
	}
	e.connect(t, pc)
	return e
}

// newReal is newEnv with one of the servers that users meet.
func newReal(t *testing.T, o lab.Options, options ...option) *env {
	t.Helper()
	srv := lab.Start(t, o)
	pc := Config{
		Session: session.Config{
			Host: srv.Host, Port: srv.Port, User: srv.User, Trust: trust.Config{CACert: srv.CAFile},
			Password: func(context.Context) (string, error) { return srv.Password, nil },
		},
		Timeout: 20 * time.Second,
	}
	if o.Kind == lab.PureFTPd { // it does not lock its users in
		pc.Root = srv.Root
	}
	if o.Implicit {
		pc.Session.TLS = session.TLSImplicit
	}
	for _, opt := range options {
		opt(&embedded.Config{}, &pc)
	}
	e := &env{root: srv.Root, kind: o.Kind, uid: srv.UID, gid: srv.GID}
	e.connect(t, pc)
	return e
}

// connect makes the pool. It ends with the test, before the server does.
func (e *env) connect(t *testing.T, pc Config) {
	t.Helper()
	if os.Getenv("FTP_DEBUG") != "" {
		pc.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	var err error
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
}

func listOnly(sc *embedded.Config, _ *Config) { sc.ListOnly = true }

func tls12(sc *embedded.Config, _ *Config) { sc.MaxVersion = tls.VersionTLS12 }

// conns limits both sides: the server to served, the pool to most.
func conns(served, most int) option {
	return func(sc *embedded.Config, pc *Config) { sc.MaxClients, pc.MaxConns = served, most }
}

type embeddedConfig = embedded.Config

// write puts a file into the server's folder.
func write(t *testing.T, e *env, name, content string) {
	t.Helper()
	full := filepath.Join(e.root, name)
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	own(t, e, full)
}

// mkdir puts a folder into the server's folder.
func mkdir(t *testing.T, e *env, name string) {
	t.Helper()
	full := filepath.Join(e.root, name)
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	own(t, e, full)
}

// link puts a symlink into the server's folder.
func link(t *testing.T, e *env, target, name string) {
	t.Helper()
	full := filepath.Join(e.root, name)
	if err := os.Symlink(target, full); err != nil {
		t.Fatal(err)
	}
	own(t, e, full)
}

func own(t *testing.T, e *env, full string) {
	t.Helper()
	if err := os.Lchown(full, e.uid, e.gid); err != nil {
		t.Fatal(err)
	}
}

func sha256Of(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
