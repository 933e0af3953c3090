//go:build linux

package mount_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// ordinary is the account of setup.sh that mounts without being root.
const ordinary = "ftpsfsuser"

// ftpsfs runs the binary to its end and gives its output and exit status.
func ftpsfs(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.Command(lab.Binary(t), args...)
	out, _ := output(cmd, time.Minute)
	return out, exitCode(cmd)
}

// background mounts as a user does: the command returns when the mount works. It gives the mount point and the process.
func background(t *testing.T, s *lab.Server, options ...string) (dir string, pid int) {
	t.Helper()
	dir = lab.Folder(t, "ftpsfs-mnt-")
	all := append(credentials(t, s, stateDir(t)), options...)
	if out, code := ftpsfs(t, "-o", strings.Join(all, ","), s.URL, dir); code != 0 || out != "" {
		t.Fatalf("exit status %d: %s", code, out)
	}
	t.Cleanup(func() {
		if isMounted(dir) {
			abort(dir)
		}
	})
	if !isMounted(dir) {
		t.Fatal("not mounted when the command returned")
	}
	return dir, processOf(t, dir)
}

// processOf asks the mount for its process.
func processOf(t *testing.T, dir string) int {
	t.Helper()
	out, code := ftpsfs(t, "status", dir, "--json")
	var s struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != 0 || s.PID == 0 {
		t.Fatalf("status: exit status %d, %v: %s", code, err, out)
	}
	return s.PID
}

// endsSoon waits for a process that is not our child.
func endsSoon(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(exitTimeout)
	for {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("process %d does not end", pid)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestMountInBackground(t *testing.T) {
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		dir, pid := background(t, s)
		if err := os.WriteFile(filepath.Join(dir, "f"), lines(100_000), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, code := ftpsfs(t, "status", dir); code != 0 || !strings.Contains(out, s.Host) {
			t.Errorf("status: %d %s", code, out)
		}
		if out, code := ftpsfs(t, "sync", dir); code != 0 {
			t.Errorf("sync: %d %s", code, out)
		}
		if got, err := os.ReadFile(s.Disk("f")); err != nil || string(got) != string(lines(100_000)) {
			t.Errorf("%d bytes on the server, %v", len(got), err)
		}
		if out, code := ftpsfs(t, "umount", dir); code != 0 {
			t.Errorf("umount: %d %s", code, out)
		}
		if isMounted(dir) {
			t.Error("still mounted")
		}
		endsSoon(t, pid)
		if _, code := ftpsfs(t, "umount", dir); code == 0 {
			t.Error("umount of what is not mounted succeeds")
		}
		if _, code := ftpsfs(t, "status", dir); code == 0 {
			t.Error("status of what is not mounted succeeds")
		}
	})
}

// TestWaysToEnd: umount(8), SIGTERM and SIGINT each end the mount cleanly, with everything on the server.
func TestWaysToEnd(t *testing.T) {
	content := randomBytes(3, 3<<20)
	ways := map[string]func(t *testing.T, dir string, pid int){
		"umount(8)":   func(t *testing.T, dir string, pid int) { runTool(t, "/", "umount", dir) },
		"SIGTERM":     func(t *testing.T, dir string, pid int) { must(t, syscall.Kill(pid, syscall.SIGTERM)) },
		"SIGINT":      func(t *testing.T, dir string, pid int) { must(t, syscall.Kill(pid, syscall.SIGINT)) },
		"fusermount3": func(t *testing.T, dir string, pid int) { runTool(t, "/", "fusermount3", "-u", dir) },
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) { // one by one: a program that another test starts holds our files for the moment between fork and exec
			s := cell{lab.ProFTPD, false, "1.3"}.start(t)
			dir, pid := background(t, s)
			must(t, os.WriteFile(filepath.Join(dir, "f"), content, 0o644))
			mapped := writeLate(t, filepath.Join(dir, "mapped"), content)
			end(t, dir, pid)
			endsSoon(t, pid)
			if isMounted(dir) {
				t.Error("still mounted")
			}
			for name, want := range map[string][]byte{"f": content, "mapped": mapped} {
				if got, err := os.ReadFile(s.Disk(name)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s: %d bytes on the server, %v", name, len(got), err)
				}
			}
		})
	}
}

// writeLate makes a file and changes it through a mapping after its last close, so that the mount still has to send it when it
// is taken away. It gives what is in the file then.
func writeLate(t *testing.T, path string, content []byte) []byte {
	t.Helper()
	must(t, os.WriteFile(path, content, 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	p, err := syscall.Mmap(int(f.Fd()), 0, len(content), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	want := bytes.Clone(content)
	for at := 0; at < len(want); at += 4096 {
		p[at]++
		want[at]++
	}
	must(t, syscall.Munmap(p))
	return want
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestMountHelper: mount(8) with a type, and a line of an fstab.
func TestMountHelper(t *testing.T) {
	s := cell{lab.VSFTPD, false, "1.3"}.start(t)
	for _, helper := range []string{"mount.ftpsfs", "mount.fuse.ftpsfs"} {
		path := "/usr/sbin/" + helper
		if _, err := os.Lstat(path); err == nil {
			must(t, os.Rename(path, path+".test"))
			t.Cleanup(func() { os.Rename(path+".test", path) })
		}
		must(t, os.Symlink(lab.Binary(t), path))
		t.Cleanup(func() { os.Remove(path) })
	}
	options := strings.Join(append(credentials(t, s, stateDir(t)), "noexec", "_netdev", "allow_other"), ",")
	used := func(t *testing.T, dir string) {
		t.Cleanup(func() { abort(dir) })
		must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("by mount(8)"), 0o644))
		if got, err := os.ReadFile(s.Disk("f")); err != nil || string(got) != "by mount(8)" {
			t.Errorf("%q, %v", got, err)
		}
		table, err := os.ReadFile("/proc/self/mounts")
		must(t, err)
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); f[1] == dir && (f[2] != "fuse.ftpsfs" || !strings.Contains(f[3], "noexec")) {
				t.Errorf("in the kernel's table: %s", line)
			}
		}
		pid := processOf(t, dir)
		runTool(t, "/", "umount", dir)
		endsSoon(t, pid)
		must(t, os.Remove(s.Disk("f")))
	}
	for _, fstype := range []string{"fuse.ftpsfs", "ftpsfs"} {
		t.Run(fstype, func(t *testing.T) {
			dir := lab.Folder(t, "ftpsfs-mnt-")
			runTool(t, "/", "mount", "-t", fstype, "-o", options, s.URL, dir)
			used(t, dir)
		})
	}
	t.Run("fstab", func(t *testing.T) {
		dir := lab.Folder(t, "ftpsfs-mnt-")
		fstab := filepath.Join(lab.Folder(t, "ftpsfs-fstab-"), "fstab")
		line := fmt.Sprintf("%s %s fuse.ftpsfs %s,noauto,nofail,user,exec,noexec 0 0\n", s.URL, dir, options)
		must(t, os.WriteFile(fstab, []byte(line), 0o644))
		runTool(t, "/", "mount", "-T", fstab, dir)
		used(t, dir)
	})
	t.Run("fake", func(t *testing.T) {
		dir := lab.Folder(t, "ftpsfs-mnt-")
		runTool(t, "/", "mount", "-f", "-t", "fuse.ftpsfs", "-o", options, s.URL, dir)
		if isMounted(dir) {
			abort(dir)
			t.Error("mounted by a fake mount")
		}
	})
}

// TestOrdinaryUser mounts without being root, through fusermount3. Nobody else sees the mount, unless asked for.
func TestOrdinaryUser(t *testing.T) {
	account, err := user.Lookup(ordinary)
	if err != nil {
		lab.Unavailable(t, "%v: run mount_test/setup.sh", err)
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	asUser := func(t *testing.T, name string, args ...string) (string, error) {
		t.Helper()
		cmd := exec.Command("setpriv", append([]string{"--reuid", account.Uid, "--regid", account.Gid, "--init-groups", name}, args...)...)
		cmd.Env = []string{"HOME=" + account.HomeDir, "PATH=/usr/local/bin:/usr/bin:/bin", "USER=" + ordinary}
		cmd.Dir = "/"
		return output(cmd, time.Minute)
	}
	for _, others := range []bool{false, true} {
		t.Run(fmt.Sprintf("allow_other=%v", others), func(t *testing.T) {
			s := cell{lab.ProFTPD, false, "1.3"}.start(t)
			home := lab.Folder(t, "ftpsfs-home-")
			dir, state, password := filepath.Join(home, "mnt"), filepath.Join(home, "state"), filepath.Join(home, "password")
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(password, []byte(s.Password+"\n"), 0o600))
			for _, path := range []string{home, dir, password} {
				must(t, os.Chown(path, uid, gid))
			}
			options := "cacert=" + s.CAFile + ",password_file=" + password + ",state_dir=" + state
			if others {
				options += ",allow_other"
			}
			if out, err := asUser(t, lab.Binary(t), "-o", options, s.URL, dir); err != nil {
				t.Fatalf("mount: %v %s", err, out)
			}
			t.Cleanup(func() { abort(dir) })
			if out, err := asUser(t, "sh", "-c", `cd "$1" && echo hello > f && mkdir d && mv f d/g && cat d/g`, "sh", dir); err != nil || out != "hello\n" {
				t.Errorf("%q, %v", out, err)
			}
			if got, err := os.ReadFile(s.Disk("d/g")); err != nil || string(got) != "hello\n" {
				t.Errorf("on the server: %q, %v", got, err)
			}
			if _, err := os.ReadFile(filepath.Join(dir, "d/g")); (err == nil) != others {
				t.Errorf("another user reads: %v", err)
			}
			if fi, err := os.Stat(state); err != nil || fi.Mode().Perm() != 0o700 {
				t.Errorf("state folder: %v, %v", fi, err)
			}
			pid := processOf(t, dir)
			if out, err := asUser(t, lab.Binary(t), "umount", dir); err != nil {
				t.Errorf("umount: %v %s", err, out)
			}
			endsSoon(t, pid)
		})
	}
}

// TestUsage: mistakes of the command line have exit status 1, say what is wrong and mount nothing.
func TestUsage(t *testing.T) {
	dir := lab.Folder(t, "ftpsfs-mnt-")
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "usage"},
		{[]string{"ftps://host.invalid/"}, "mount"},
		{[]string{"-o", "no_such_option", "ftps://host.invalid/", dir}, "no_such_option"},
		{[]string{"-o", "timeout=abc", "ftps://host.invalid/", dir}, "timeout"},
		{[]string{"sftp://host.invalid/", dir}, "sftp"},
		{[]string{"ftp://host.invalid/", dir}, "ftp"},
		{[]string{"no-such-command-or-site", dir}, "no-such-command-or-site"},
	} {
		out, code := ftpsfs(t, c.args...)
		if code != 1 || !strings.Contains(strings.ToLower(out), c.says) {
			t.Errorf("%q: exit status %d, %q does not say %q", c.args, code, out, c.says)
		}
	}
	if out, code := ftpsfs(t, "version"); code != 0 || !strings.Contains(out, "ftpsfs") {
		t.Errorf("version: %d %q", code, out)
	}
}
