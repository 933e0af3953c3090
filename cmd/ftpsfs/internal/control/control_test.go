package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs/content"
)

// fakeMount waits in Sync and Unmount until it is released.
type fakeMount struct {
	release chan struct{}
	err     error
	lazy    chan bool
}

func (m *fakeMount) Status() any { return map[string]int{"pid": 7} }
func (m *fakeMount) Pending() []content.Status {
	return []content.Status{{Path: "/a", State: "uploading", Pending: 5}}
}
func (m *fakeMount) Sync(ctx context.Context) error {
	select {
	case <-m.release:
		return m.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
func (m *fakeMount) Unmount(ctx context.Context, lazy bool) error {
	m.lazy <- lazy
	return m.Sync(ctx)
}

func serve(t *testing.T, mountpoint string, m Mount) *Server {
	t.Helper()
	s, err := Listen(mountpoint, m, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func only(t *testing.T, mountpoint string) *Client {
	t.Helper()
	list := Find(mountpoint, os.Geteuid())
	if len(list) != 1 {
		t.Fatalf("%d mounts on %s", len(list), mountpoint)
	}
	return list[0]
}

func runtimeDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "run") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	return dir
}

func TestControl(t *testing.T) {
	dir := runtimeDir(t)
	m := &fakeMount{release: make(chan struct{}), lazy: make(chan bool, 1)}
	s := serve(t, "/m", m)
	if st, err := os.Stat(filepath.Join(dir, "ftpsfs")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", st, err)
	}
	if st, err := os.Stat(s.name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", st, err)
	}
	c := only(t, "/m")
	if b, err := c.Status(t.Context()); err != nil || string(b) != `{"pid":7}` {
		t.Errorf("status %s, %v", b, err)
	}
	err := c.Sync(t.Context(), func(w []content.Status) {
		if len(w) != 1 || w[0].Path != "/a" || w[0].Pending != 5 {
			t.Errorf("waiting for %+v", w)
		}
		close(m.release)
	})
	if err != nil {
		t.Error(err)
	}
	m.err = exitcode.NewMount("in use", nil, "close it")
	if err := c.Sync(t.Context(), func([]content.Status) {}); exitcode.Of(err) != exitcode.Mount || err.Error() != "in use; close it" {
		t.Errorf("sync: %v", err)
	}
	if err := c.Unmount(t.Context(), true, func([]content.Status) {}); err == nil || !<-m.lazy {
		t.Errorf("umount: %v", err)
	}
	m.err, m.release = nil, make(chan struct{})
	gone := make(chan error, 1)
	go func() { gone <- c.Unmount(t.Context(), false, func([]content.Status) {}) }()
	<-m.lazy
	close(m.release) // the mount is gone: the process ends while the client has not been told yet
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if list := Find("/m", os.Geteuid()); len(list) != 0 {
		t.Errorf("%d left", len(list))
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "ftpsfs", "*")); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

// TestClientGone: a client that gives up ends its own waiting, and nothing else.
func TestClientGone(t *testing.T) {
	runtimeDir(t)
	m := &fakeMount{release: make(chan struct{})}
	s := serve(t, "/m", m)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	if err := only(t, "/m").Sync(ctx, func([]content.Status) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := only(t, "/m").Status(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSeveralMountsAndDeadSockets(t *testing.T) {
	dir := runtimeDir(t)
	for _, mp := range []string{"/a", "/a", "/b"} { // two on /a: one of them is still sending
		defer serve(t, mp, &fakeMount{}).Close()
	}
	dead := filepath.Join(dir, "ftpsfs", state.Digest("/a")+".dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if n := len(Find("/a", os.Geteuid())); n != 2 {
		t.Errorf("%d on /a", n)
	}
	if n := len(Find("", os.Geteuid())); n < 3 {
		t.Errorf("%d in all", n)
	}
	if _, err := os.Lstat(dead); err == nil {
		t.Error("the dead socket is still there")
	}
}

// TestUnsafeFolder: a runtime folder that somebody prepared for us is not used.
func TestUnsafeFolder(t *testing.T) {
	dir := runtimeDir(t)
	t.Setenv("XDG_STATE_HOME", filepath.Join(dir, "state"))
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "ftpsfs")); err != nil {
		t.Fatal(err)
	}
	got, err := state.MakeRuntimeDir()
	if err != nil || strings.HasPrefix(got, filepath.Join(dir, "ftpsfs")) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestAllowed(t *testing.T) {
	for uid, want := range map[int]bool{0: true, os.Geteuid(): true, os.Geteuid() + 4711: false, -1: false} {
		if allowed(uid) != want {
			t.Errorf("uid %d: %v", uid, !want)
		}
	}
}

// TestAskedWhileStarting: clients that look for mounts at the moment when a socket is made do not take it for a dead one.
func TestAskedWhileStarting(t *testing.T) {
	runtimeDir(t)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					Find("", os.Geteuid())
				}
			}
		})
	}
	for range 50 {
		s := serve(t, "/m", &fakeMount{})
		only(t, "/m")
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(s.name); !os.IsNotExist(err) {
			t.Errorf("the socket is left behind: %v", err)
		}
	}
	close(stop)
	all.Wait()
}
