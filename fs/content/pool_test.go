package content

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// realServer is a pool, and the folder on our disk that its server serves.
type realServer struct {
	*pool.Pool
	t    testing.TB
	root string
}

func (s *realServer) content(name string) string {
	b, err := os.ReadFile(filepath.Join(s.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

func (s *realServer) names() []string {
	var names []string
	err := filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, p[len(s.root):])
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// newReal starts a server and a pool for it.
func newReal(t *testing.T, o lab.Options, conns int) *realServer {
	t.Helper()
	srv := lab.Start(t, o)
	cfg := pool.Config{
		Session: session.Config{
			Host: srv.Host, Port: srv.Port, User: srv.User, Trust: trust.Config{CACert: srv.CAFile},
			Password: func(context.Context) (string, error) { return srv.Password, nil },
		},
		MaxConns: conns, Timeout: 20 * time.Second,
	}
	if o.Kind == lab.PureFTPd { // it does not lock its users in
		cfg.Root = srv.Root
	}
	p, err := pool.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if err := p.Connect(ctx); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/d", "/e"} {
		if err := p.Mkdir(ctx, dir); err != nil {
			t.Fatal(err)
		}
	}
	return &realServer{Pool: p, t: t, root: srv.Root}
}

func TestModelOnRealServers(t *testing.T) {
	for _, c := range []struct {
		name  string
		o     lab.Options
		conns int
		over  bool
	}{
		{"embedded", lab.Options{Kind: lab.Embedded}, 8, true},
		{"vsftpd", lab.Options{Kind: lab.VSFTPD}, 8, true},
		{"vsftpd, one connection", lab.Options{Kind: lab.VSFTPD}, 1, true},
		{"ProFTPD", lab.Options{Kind: lab.ProFTPD}, 8, true},
		{"ProFTPD, no overwrite", lab.Options{Kind: lab.ProFTPD, Extra: []string{"AllowOverwrite off", "AllowStoreRestart off"}}, 8, true},
		{"ProFTPD, no overwrite, one connection", lab.Options{Kind: lab.ProFTPD, Extra: []string{"AllowOverwrite off", "AllowStoreRestart off"}}, 1, true},
		{"Pure-FTPd", lab.Options{Kind: lab.PureFTPd}, 8, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ops, seeds := modelSize(150, 1)
			srv := newReal(t, c.o, c.conns)
			dir := t.TempDir()
			st, err := stage.Open(stage.Config{Dir: dir, Server: "real", Mount: "12345678", Limit: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			b := blocks.New(16 << 20)
			defer b.Close()
			s := New(Config{Remote: srv, Stage: st, Blocks: b, MountID: "12345678", ReplayBytes: 512 << 10})
			for seed := range seeds {
				newModel(t, s, srv, c.over, uint64(seed)).run(ops)
				for _, name := range srv.names() {
					if err := srv.Remove(bg, name); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.Close(bg); err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", s.Stats())
			if sum := s.Stats(); sum.Files != 0 || sum.Handles != 0 || sum.Streams != 0 || sum.Temps != 0 {
				t.Errorf("left behind: %+v", sum)
			}
		})
	}
}
