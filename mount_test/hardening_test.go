//go:build linux

package mount_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestHostileNames: a server whose listing holds names that would lead out of the folder, or that no file system has, shows
// the others and nothing of these.
func TestHostileNames(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	f := startFake(t, script{cert: &cert, serves: true, replies: goodSession()})
	hostile := []string{"..", ".", "../evil", "/etc/passwd", "a/../../evil", "sub/file", "nul\x00byte", strings.Repeat("n", 300), "tab\tbed", "fine"}
	for _, name := range hostile {
		f.files[name] = []byte("hostile")
	}
	m := mountURL(t, &lab.Server{CAFile: ca.File, Password: secretPassword}, "ftps://someone@"+f.addr+"/", "max_conns=1")
	entries, err := os.ReadDir(m.dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
		if e.IsDir() {
			t.Errorf("%q is shown as a folder", e.Name())
		}
	}
	if !slices.Equal(names, []string{"fine", "tab\tbed"}) {
		t.Errorf("shown: %q", names)
	}
	if b, err := os.ReadFile(m.path("fine")); err != nil || string(b) != "hostile" {
		t.Errorf("the good one: %q, %v", b, err)
	}
	for _, name := range []string{"evil", "sub", "a", "etc", "nul"} {
		if _, err := os.Lstat(m.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
}

// TestSetuidIsDropped: neither shown nor set nor honoured, whatever is asked for.
func TestSetuidIsDropped(t *testing.T) {
	each(t, realServers, func(t *testing.T, c cell) {
		s := c.start(t)
		for name, mode := range map[string]os.FileMode{"u": 0o755 | os.ModeSetuid, "g": 0o755 | os.ModeSetgid, "s": 0o755 | os.ModeSticky} {
			must(t, os.WriteFile(s.Disk(name), []byte("#!/bin/sh\nid -u\n"), 0o755))
			must(t, os.Chown(s.Disk(name), s.UID, s.GID))
			must(t, os.Chmod(s.Disk(name), mode))
		}
		m := mountServer(t, s, "suid", "dev")
		for _, name := range []string{"u", "g", "s"} {
			if fi, err := os.Stat(m.path(name)); err != nil || fi.Mode() != 0o755 {
				t.Errorf("%s: %v, %v", name, fi.Mode(), err)
			}
		}
		must(t, os.WriteFile(m.path("new"), nil, 0o644))
		_ = os.Chmod(m.path("new"), 0o755|os.ModeSetuid|os.ModeSetgid) // refused, or done without the bits
		if fi, err := os.Stat(s.Disk("new")); err != nil || fi.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
			t.Errorf("on the server: %v, %v", fi.Mode(), err)
		}
		table, err := os.ReadFile("/proc/self/mounts")
		must(t, err)
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); f[1] == m.dir && (!strings.Contains(f[3], "nosuid") || !strings.Contains(f[3], "nodev")) {
				t.Errorf("in the kernel's table: %s", line)
			}
		}
	})
}

// TestPrivatePlaces: what a mount keeps on this machine is for its user alone, whatever the umask; another user cannot talk
// to it, and nobody but root can look into its memory.
func TestPrivatePlaces(t *testing.T) {
	account, err := user.Lookup(ordinary)
	if err != nil {
		lab.Unavailable(t, "%v: run mount_test/setup.sh", err)
	}
	s := cell{lab.ProFTPD, false, "1.3"}.start(t)
	home := lab.Folder(t, "ftpsfs-home-")
	as := func(umask, script string, args ...string) (string, error) {
		cmd := exec.Command("setsid", append([]string{"-w", "setpriv", "--reuid", account.Uid, "--regid", account.Gid, "--init-groups",
			"sh", "-c", "umask " + umask + "; " + script, "sh"}, args...)...)
		cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}, "/"
		return output(cmd, time.Minute)
	}
	password := filepath.Join(home, "password")
	must(t, os.WriteFile(password, []byte(s.Password+"\n"), 0o600))
	runTool(t, "/", "chown", "-R", account.Uid+":"+account.Gid, home)
	if out, err := as("0", `mkdir "$1/mnt" && exec "$2" -o "$3" "$4" "$1/mnt"`, home, lab.Binary(t), "cacert="+s.CAFile+",password_file="+password, s.URL); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	dir := filepath.Join(home, "mnt")
	t.Cleanup(func() { abort(dir) })
	// An update in the middle goes to a staging file.
	if out, err := as("0", `cd "$1/mnt" && seq 100000 > f && sync f && dd if=/dev/zero of=f bs=1 seek=100 count=10 conv=notrunc 2>/dev/null; exec 3<>f; echo x >&3; find "$1/.local" -type f`, home); err != nil {
		t.Errorf("%v %s", err, out)
	}
	state := filepath.Join(home, ".local", "state", "ftpsfs")
	found := 0
	for _, top := range []string{state, "/tmp/ftpsfs-" + account.Uid, "/run/user/" + account.Uid + "/ftpsfs"} {
		err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			found++
			open := fi.Mode().Perm()&0o077 != 0
			if open && fi.Mode()&os.ModeSocket == 0 { // a socket is as private as its folder
				t.Errorf("%s can be used by others: %v", name, fi.Mode())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if found < 5 {
		t.Errorf("only %d files and folders looked at", found)
	}
	status, err := as("022", `exec "$2" status --json "$1/mnt"`, home, lab.Binary(t))
	must(t, err)
	pid := field(t, status, "pid")
	st, err := os.Stat(fmt.Sprintf("/proc/%s/mem", pid))
	if err != nil || st.Sys().(*syscall.Stat_t).Uid != 0 { // the kernel gives those that may not be dumped to root
		t.Errorf("memory: %+v, %v", st, err)
	}
	noCores(t, pid)
	other := exec.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", lab.Binary(t), "status", dir)
	if out, err := output(other, time.Minute); err == nil || strings.Contains(out, s.User+"@") {
		t.Errorf("another user is told: %s", out)
	}
	if out, err := as("022", `exec "$2" umount "$1/mnt"`, home, lab.Binary(t)); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
