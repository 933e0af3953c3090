//go:build linux

package mount_test

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestServerThatFoldsCase: where names that differ in case alone are one, the mount takes them for one as well, from the first
// two that meet: nothing is overwritten, nothing that is there looks absent, nothing that is gone looks present.
func TestServerThatFoldsCase(t *testing.T) {
	for name, extra := range map[string][]string{"facts": {"--fold-case"}, "listings": {"--fold-case", "--list-only"}} {
		t.Run(name, func(t *testing.T) {
			s := lab.Start(t, lab.Options{Kind: lab.Embedded, Extra: extra})
			must(t, os.WriteFile(s.Disk("Readme"), []byte("old"), 0o644))
			m := mountServer(t, s, "attr_ttl=1m", "dir_ttl=1m", "neg_ttl=1m")
			for _, scene := range []func(*testing.T, *mnt){foldedReplace, foldedAbsence, foldedFolder, foldedOpen, foldedRename} {
				scene(t, m)
			}
			if st := m.status(); st["pool.capabilities.folds_case"] != 1 {
				t.Errorf("status does not say that the server folds case: %v", st)
			}
			if out, code := ftpsfs(t, "status", m.dir); code != 0 || !strings.Contains(out, "server can") || !strings.Contains(out, "folds_case") {
				t.Errorf("status for people: %d\n%s", code, out)
			}
			m.end()
			r := check(t, s, []string{"state_dir=" + m.stateDir}) // which writes nothing: it is remembered
			if folds, known := r.Capabilities["folds_case"]; !folds || !known || !r.says("are one name to the server") {
				t.Errorf("check: folds %v, known %v, %v", folds, known, r.Problems)
			}
		})
	}
}

// TestServerThatFoldsCaseReadOnly: there nothing may be tried out, and the server is asked about the name itself.
func TestServerThatFoldsCaseReadOnly(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.Embedded, Extra: []string{"--fold-case"}})
	must(t, os.WriteFile(s.Disk("Readme"), []byte("text"), 0o644))
	m := mountServer(t, s, "ro")
	for _, name := range []string{"README", "readme", "Readme"} {
		reads(t, m, name, "text")
	}
	isAbsent(t, m, "READ")
	st := m.status()
	for _, verb := range []string{"STOR", "MKD", "DELE", "RMD"} {
		if st[commands+verb] > 0 {
			t.Errorf("%s was sent on a read-only mount", verb)
		}
	}
}

// reads checks what a file in the mount holds.
func reads(t *testing.T, m *mnt, name, want string) {
	t.Helper()
	if b, err := os.ReadFile(m.path(name)); err != nil || string(b) != want {
		t.Errorf("%s: %q, %v, want %q", name, b, err, want)
	}
}

// isAbsent checks that a file is not there.
func isAbsent(t *testing.T, m *mnt, name string) {
	t.Helper()
	if _, err := os.Lstat(m.path(name)); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%s: %v", name, err)
	}
}

func foldedReplace(t *testing.T, m *mnt) {
	if _, err := os.OpenFile(m.path("README"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("O_EXCL of a name that is taken in another case: %v", err)
	}
	reads(t, m, "readme", "old")
	must(t, os.WriteFile(m.path("README"), []byte("new content"), 0o644))
	for _, name := range []string{"Readme", "readme", "README"} {
		reads(t, m, name, "new content")
	}
	if names := served(t, m.server); !slices.Equal(names, []string{"Readme"}) {
		t.Errorf("on the server: %q", names)
	}
}

func foldedAbsence(t *testing.T, m *mnt) {
	for _, name := range []string{"lock", "LOCK"} {
		isAbsent(t, m, name)
	}
	f, err := os.OpenFile(m.path("Lock"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	must(t, err)
	if _, err := os.OpenFile(m.path("LOCK"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("O_EXCL beside a file that the server does not have yet: %v", err)
	}
	must(t, f.Close())
	reads(t, m, "LOCK", "")
	must(t, os.Remove(m.path("lock")))
	for _, name := range []string{"Lock", "LOCK", "lock"} {
		isAbsent(t, m, name)
	}
}

func foldedFolder(t *testing.T, m *mnt) {
	must(t, os.Mkdir(m.path("Dir"), 0o755))
	if err := os.Mkdir(m.path("DIR"), 0o755); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("mkdir of a name that is taken in another case: %v", err)
	}
	must(t, os.WriteFile(m.path("dir", "File"), []byte("x"), 0o644))
	reads(t, m, "DIR/FILE", "x")
	must(t, os.Remove(m.path("DiR", "file")))
	must(t, os.Remove(m.path("dIR")))
	isAbsent(t, m, "Dir")
}

func foldedOpen(t *testing.T, m *mnt) {
	w, err := os.Create(m.path("Shared"))
	must(t, err)
	defer w.Close()
	_, err = w.WriteString("written")
	must(t, err)
	r, err := os.Open(m.path("SHARED"))
	must(t, err)
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "written" {
		t.Errorf("a file that is being written, under its name in another case: %q, %v", b, err)
	}
	must(t, w.Close())
	must(t, os.Remove(m.path("shared")))
}

func foldedRename(t *testing.T, m *mnt) {
	must(t, os.Rename(m.path("README"), m.path("ReadMe"))) // two names of one object: nothing is done
	reads(t, m, "Readme", "new content")
	must(t, os.Rename(m.path("README"), m.path("between")))
	must(t, os.Rename(m.path("BETWEEN"), m.path("ReadMe")))
	if names := served(t, m.server); !slices.Equal(names, []string{"ReadMe"}) {
		t.Errorf("after two renames: %q", names)
	}
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	if len(entries) != 1 || entries[0].Name() != "ReadMe" {
		t.Errorf("listed: %v", entries)
	}
	must(t, os.WriteFile(m.path("other"), []byte("other"), 0o644))
	must(t, os.Rename(m.path("OTHER"), m.path("readme")))
	reads(t, m, "ReadMe", "other")
	isAbsent(t, m, "Other")
	if names := served(t, m.server); len(names) != 1 {
		t.Errorf("after a rename over a name in another case: %q", names)
	}
}

// TestReadingTriesNothingOut: a mount that may write writes nothing of its own as long as nobody else does.
func TestReadingTriesNothingOut(t *testing.T) {
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		must(t, os.WriteFile(s.Disk("Readme"), []byte("text"), 0o644))
		m := mountServer(t, s)
		reads(t, m, "Readme", "text")
		isAbsent(t, m, "other")
		st := m.status()
		for _, verb := range []string{"STOR", "APPE", "MKD", "RNFR", "DELE", "RMD"} {
			if st[commands+verb] > 0 {
				t.Errorf("%s was sent", verb)
			}
		}
	})
}
