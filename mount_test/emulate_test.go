//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestEmulateFallocate: fallocate(2) succeeds only where it was asked for, and what it made longer is zeros on the server.
func TestEmulateFallocate(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
	m := mountServer(t, s, "emulate=fallocate")
	f, err := os.Create(m.path("f"))
	must(t, err)
	_, err = f.WriteString("content")
	must(t, err)
	fd := int(f.Fd())
	must(t, syscall.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<20))
	must(t, syscall.Fallocate(fd, 0, 2, 3)) // within the file
	if fi, err := f.Stat(); err != nil || fi.Size() != 7 {
		t.Errorf("the size changed: %d, %v", fi.Size(), err)
	}
	must(t, syscall.Fallocate(fd, 0, 5, 95))
	if err := syscall.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Errorf("a hole: %v", err)
	}
	must(t, f.Close())
	want := append([]byte("content"), make([]byte, 93)...)
	if got, err := os.ReadFile(s.Disk("f")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("on the server: %q, %v", got, err)
	}
	if out, _ := ftpsfs(t, "status", m.dir); !strings.Contains(out, "emulate=fallocate") {
		t.Errorf("status says nothing of it:\n%s", out)
	}
}

// TestEmulate: what the server cannot set is kept here, across mounts, and only when it is asked for.
func TestEmulate(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.VSFTPD, Extra: []string{"chmod_enable=NO", "mdtm_write=NO"}})
	then := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	plain := mountServer(t, s)
	must(t, os.WriteFile(plain.path("f"), []byte("content"), 0o644))
	must(t, os.Mkdir(plain.path("d"), 0o755))
	for what, err := range map[string]error{
		"chmod":  os.Chmod(plain.path("f"), 0o600),
		"utimes": os.Chtimes(plain.path("f"), then, then),
		"folder": os.Chtimes(plain.path("d"), then, then),
	} {
		if !errors.Is(err, syscall.EOPNOTSUPP) && !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
			t.Errorf("%s on a server that cannot: %v", what, err)
		}
	}
	plain.unmount()

	state := stateDir(t)
	m := mountServer(t, s, "emulate=mode+mtime", "state_dir="+state)
	must(t, os.Chmod(m.path("f"), 0o600))
	must(t, os.Chtimes(m.path("f"), then, then))
	must(t, os.Chtimes(m.path("d"), then, then))
	f, err := os.OpenFile(m.path("written"), os.O_CREATE|os.O_WRONLY, 0o640)
	must(t, err)
	_, err = f.WriteString("new")
	must(t, err)
	must(t, os.Chtimes(m.path("written"), then, then)) // as rsync does, before the close
	must(t, f.Close())
	must(t, os.Rename(m.path("written"), m.path("d", "moved")))
	check := func(m *mnt) {
		t.Helper()
		for name, mode := range map[string]os.FileMode{"f": 0o600, "d/moved": 0o640} {
			fi, err := os.Stat(m.path(name))
			must(t, err)
			if fi.Mode().Perm() != mode || !fi.ModTime().Equal(then) {
				t.Errorf("%s has mode %v and time %v", name, fi.Mode(), fi.ModTime().UTC())
			}
		}
	}
	check(m)
	if out, _ := ftpsfs(t, "status", m.dir); !strings.Contains(out, "emulate=mode+mtime") {
		t.Errorf("status says nothing of it:\n%s", out)
	}
	m.unmount()
	if log := m.output(); !strings.Contains(log, "emulate=mode+mtime") {
		t.Errorf("the mount said nothing of it:\n%s", log)
	}
	again := mountServer(t, s, "emulate=mode+mtime", "state_dir="+state)
	check(again)
	must(t, os.WriteFile(s.Disk("f"), []byte("changed by another host"), 0o644))
	again.unmount()
	last := mountServer(t, s, "emulate=mode+mtime", "state_dir="+state)
	if fi, err := os.Stat(last.path("f")); err != nil || fi.ModTime().Equal(then) {
		t.Errorf("a file that another host changed still has the time that was kept: %v, %v", fi.ModTime(), err)
	}
}
