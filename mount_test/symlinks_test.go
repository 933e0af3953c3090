//go:build linux

package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestSymlinkModes: symlinks=contain, raw and off on a mount of a folder below the login folder. The server's own root is seen
// from the links, and Pure-FTPd's is the machine's.
func TestSymlinkModes(t *testing.T) {
	each(t, realServers, func(t *testing.T, c cell) {
		s := c.start(t)
		must(t, os.MkdirAll(s.Disk("sub", "d"), 0o755))
		must(t, os.WriteFile(s.Disk("sub", "f"), []byte("content"), 0o644))
		must(t, os.WriteFile(s.Disk("above"), []byte("not to be seen"), 0o644))
		own(t, s, s.Disk("sub"), s.Disk("sub", "d"))
		seen := "" // what the server calls the login folder
		if c.kind == lab.PureFTPd {
			seen = s.Root
		}
		links := map[string]string{
			"plain": "f", "d/up": "../f", "absolute": seen + "/sub/f", "d/absolute": seen + "/sub/d",
			"out": "../above", "d/out": "../../above", "outside": seen + "/above", "passwd": "/etc/passwd", "dotdot": "d/../../above",
		}
		for name, target := range links {
			must(t, os.Symlink(target, s.Disk("sub", name)))
		}
		contained := map[string]string{"plain": "f", "d/up": "../f", "absolute": "f", "d/absolute": "."} // others are refused
		url := s.URL + "sub"
		for _, mode := range []string{"contain", "raw", "off"} {
			t.Run(mode, func(t *testing.T) {
				m := mountURL(t, s, url, "symlinks="+mode)
				for name, target := range links {
					want, refusedBy := target, error(nil)
					if mode == "contain" {
						want = contained[name]
					}
					if mode == "off" || want == "" {
						want, refusedBy = "", syscall.EACCES
					}
					got, err := os.Readlink(m.path(name))
					if got != want || !errors.Is(err, refusedBy) {
						t.Errorf("%s leads to %q, %v; want %q, %v", name, got, err, want, refusedBy)
					}
					b, err := os.ReadFile(m.path(name))
					if mode != "raw" && (strings.HasPrefix(string(b), "root:") || string(b) == "not to be seen") {
						t.Errorf("%s shows %q, %v", name, b, err)
					}
				}
				if b, err := os.ReadFile(m.path("absolute")); mode == "contain" && (err != nil || string(b) != "content") {
					t.Errorf("absolute, contained: %q, %v", b, err)
				}
				if mode == "off" || c.kind != lab.ProFTPD {
					if err := os.Symlink("f", m.path("new")); !errors.Is(err, syscall.EPERM) {
						t.Errorf("symlink(2): %v", err)
					}
					return
				}
				for i, given := range []string{"f", "/f", "d/../f", "./f"} {
					name := m.path(fmt.Sprintf("new-%s-%d", mode, i))
					must(t, os.Symlink(given, name))
					if got, err := os.Readlink(name); got != given || err != nil {
						t.Errorf("made for %q, leads to %q, %v", given, got, err)
					}
					if _, err := os.Stat(s.Disk("sub", filepath.Base(name))); err != nil && !strings.HasPrefix(given, "/") {
						if on, _ := os.Readlink(s.Disk("sub", filepath.Base(name))); on != "/sub/f" { // as its users see it
							t.Errorf("on the server %s leads to %q", name, on)
						}
					}
				}
			})
		}
	})
}

// own gives folders to the server's account.
func own(t *testing.T, s *lab.Server, paths ...string) {
	t.Helper()
	for _, p := range paths {
		must(t, os.Chown(p, s.UID, s.GID))
	}
}
