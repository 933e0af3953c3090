//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// promise is a sentence of docs/SEMANTICS.md and its test.
type promise struct {
	name string
	keep func(s *scene)
}

// promises are all of them, in the document's order.
var promises = slices.Concat(
	readPromises, writePromises, closePromises, replacePromises, renamePromises, unlinkPromises,
	folderPromises, attributePromises, exclusivePromises, linkPromises, coherencePromises,
)

// TestPromisesMatchDocument compares the names in the document with the names of the tests.
func TestPromisesMatchDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/SEMANTICS.md")
	if err != nil {
		t.Fatal(err)
	}
	var written, tested []string
	for _, m := range regexp.MustCompile(`(?m)^- \*\*([a-z.-]+)\*\* `).FindAllSubmatch(doc, -1) {
		written = append(written, string(m[1]))
	}
	for _, p := range promises {
		tested = append(tested, p.name)
	}
	for _, name := range written {
		if !slices.Contains(tested, name) {
			t.Errorf("%s is promised and not tested", name)
		}
	}
	for _, name := range tested {
		if !slices.Contains(written, name) {
			t.Errorf("%s is tested and not promised", name)
		}
	}
	slices.Sort(written)
	if twice := len(written) - len(slices.Compact(slices.Clone(written))); twice != 0 {
		t.Errorf("%d names are promised twice", twice)
	}
}

// TestConformance keeps every promise on every server. On one configuration of each server in a short run, on all of the
// matrix with FTPSFS_LONG=1; the other configurations get the first promises of each kind there too (TestSmoke).
func TestConformance(t *testing.T) {
	each(t, pick(anyServer, all), func(t *testing.T, c cell) {
		server := c.start(t)
		// Against the order of names: a mount lists ahead what a walk comes to next, and scenes put files before it looks.
		dirs := make([]string, len(promises))
		for i, p := range promises {
			dirs[i] = fmt.Sprintf("%03d-%s", len(promises)-i, p.name)
			makeServed(t, server, dirs[i])
		}
		m := mountServer(t, server)
		m.keeps = true // of files whose close failed
		m.limit(pick[time.Duration](8, 20) * budget)
		for i, p := range promises {
			t.Run(p.name, func(t *testing.T) {
				p.keep(&scene{T: t, m: m, c: c, server: server, dir: dirs[i]})
			})
		}
	})
}

// scene is where one promise is tested: a folder of its own on a server, and the mount of that server.
type scene struct {
	*testing.T
	m      *mnt
	c      cell
	server *lab.Server
	dir    string // from the mount's root
}

// path is a name in the scene's folder as the mount shows it, disk the same on the server's disk.
func (s *scene) path(name string) string { return s.m.path(s.dir, name) }
func (s *scene) disk(name string) string { return s.server.Disk(s.dir, name) }

// is says whether the scene plays on one of these servers.
func (s *scene) is(kinds ...lab.Kind) bool { return slices.Contains(kinds, s.c.kind) }

// mount mounts the scene's server once more, with other options; it belongs to the subtest.
func (s *scene) mount(options ...string) *mnt {
	s.Helper()
	return mountServer(s.T, s.server, options...)
}

// put makes a file on the server's disk behind the mount's back. Do so before the mount was asked about its folder.
func (s *scene) put(name string, content []byte) {
	s.Helper()
	s.ok(os.WriteFile(s.disk(name), content, 0o644))
	s.ok(os.Chown(s.disk(name), s.server.UID, s.server.GID))
}

// putDir makes a folder on the server's disk.
func (s *scene) putDir(name string) {
	s.Helper()
	makeServed(s.T, s.server, filepath.Join(s.dir, name))
}

func makeServed(t testing.TB, server *lab.Server, name string) {
	t.Helper()
	if err := os.Mkdir(server.Disk(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(server.Disk(name), server.UID, server.GID); err != nil {
		t.Fatal(err)
	}
}

// ok ends the test on an error.
func (s *scene) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// fails checks that err is one of the wanted errnos.
func (s *scene) fails(what string, err error, want ...syscall.Errno) {
	s.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	var got syscall.Errno
	if errors.As(err, &got) {
		s.Errorf("%s: %v (errno %d), want %v", what, err, int(got), want)
		return
	}
	s.Errorf("%s: %v, want %v", what, err, want)
}

// write writes a file through the mount.
func (s *scene) write(name string, content []byte) {
	s.Helper()
	s.ok(os.WriteFile(s.path(name), content, 0o644))
}

// open opens a file in the mount and closes it when the test ends, unless the test did.
func (s *scene) open(name string, flag int) *os.File {
	s.Helper()
	f, err := os.OpenFile(s.path(name), flag, 0o644)
	s.ok(err)
	s.Cleanup(func() { f.Close() })
	return f
}

// onDisk checks a file on the server's disk.
func (s *scene) onDisk(name string, want []byte) {
	s.Helper()
	got, err := os.ReadFile(s.disk(name))
	s.ok(err)
	s.same("on the server's disk", got, want)
}

// inMount checks a file through the mount.
func (s *scene) inMount(name string, want []byte) {
	s.Helper()
	got, err := os.ReadFile(s.path(name))
	s.ok(err)
	s.same("through the mount", got, want)
}

func (s *scene) same(where string, got, want []byte) {
	s.Helper()
	if bytes.Equal(got, want) {
		return
	}
	if len(got) < 100 && len(want) < 100 {
		s.Errorf("%s: %q, want %q", where, got, want)
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	s.Errorf("%s: %d bytes, want %d; they differ from byte %d on", where, len(got), len(want), at)
}

// missing checks that a name is neither on the server's disk nor in the mount.
func (s *scene) missing(name string) {
	s.Helper()
	for _, place := range []string{s.disk(name), s.path(name)} {
		if _, err := os.Lstat(place); !os.IsNotExist(err) {
			s.Errorf("%s: %v, want it to be gone", place, err)
		}
	}
}

// names lists the scene's folder, or one in it, through the mount.
func (s *scene) names(dir string) []string {
	s.Helper()
	entries, err := os.ReadDir(s.path(dir))
	s.ok(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// randomBytes gives the same n bytes for the same seed.
func randomBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	_, _ = rand.NewChaCha8(key).Read(b) // never fails
	return b
}

// lines gives recognisable text of about n bytes.
func lines(n int) []byte {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a file that is written and read in tests\n", i)
	}
	return []byte(b.String())
}
