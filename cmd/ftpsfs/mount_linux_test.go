package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
)

// secretFree reads what other users and root may see of a process and looks for the password.
func secretFree(t *testing.T, pid int) {
	t.Helper()
	for _, name := range []string{"cmdline", "environ"} {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil || len(b) == 0 {
			t.Fatalf("%s: %q, %v", name, b, err)
		}
		if bytes.Contains(b, []byte(testPassword)) {
			t.Errorf("%s shows the password: %q", name, b)
		}
	}
	st, err := os.Stat(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil || os.Geteuid() != 0 && st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("memory of the process: %+v, %v", st, err)
	}
}

// TestBackground: the command returns when the mount works, and umount when everything is on the server and the process
// has ended. However the password came, nobody can see it.
func TestBackground(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		name, url, env, options, source string
	}{
		{"URL", l.url(testUser + ":" + testPassword), "", "cacert=" + l.ca, "the URL"},
		{"environment", l.url(testUser), "FTPSFS_PASSWORD=" + testPassword, "cacert=" + l.ca, "FTPSFS_PASSWORD"},
		{"file", l.url(testUser), "", l.options(), "password_file " + l.passwordFile()},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			cmd := l.command("-v", c.url, l.mnt, "-o", c.options)
			if c.env != "" {
				cmd.Env = append(cmd.Env, c.env)
			}
			r := finish(t, cmd)
			if r.code != 0 || r.out != l.url(testUser)+" mounted on "+l.mnt+"\n" {
				t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
			}
			if warned := strings.Contains(r.err, "password in the URL"); warned != (c.source == "the URL") || strings.Contains(r.err, testPassword) {
				t.Errorf("said %q", r.err)
			}
			s := l.status()
			if s.URL != l.url(testUser) || s.Mountpoint != l.mnt || s.State != "mounted" || s.PasswordFrom != c.source || s.User != testUser ||
				s.Pool.Connections.Open < 1 || s.Process.RSSBytes <= 0 || s.Process.OpenFDs <= 0 || s.Process.Goroutines <= 0 || s.Uptime <= 0 || s.FS.Mountpoint != l.mnt {
				t.Errorf("%+v", s)
			}
			secretFree(t, s.PID)
			log, err := os.ReadFile(s.Log)
			if err != nil || !strings.Contains(string(log), "password_from") || strings.Contains(string(log), testPassword) {
				t.Errorf("log: %s, %v", log, err)
			}
			l.write("a", "text")
			l.must("sync", l.mnt)
			l.must("umount", l.mnt)
			if l.onServer("a") != "text" {
				t.Error("the file is not on the server")
			}
			if err := syscall.Kill(s.PID, 0); err == nil {
				l.gone(s.PID) // umount waits for the end of its socket, the process follows at once
			}
			deadline := time.Now().Add(time.Minute) // the server sees the end of a connection a moment after it came
			for l.server.Conns() != 0 && time.Now().Before(deadline) {
				time.Sleep(5 * time.Millisecond)
			}
			if n := l.server.Conns(); n != 0 {
				t.Errorf("%d connections left", n)
			}
			if left, _ := filepath.Glob(filepath.Join(l.dir, "run", "ftpsfs", "*")); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestForegroundHidesSecrets: the same without a background process.
func TestForegroundHidesSecrets(t *testing.T) {
	l := newLab(t)
	l.env = append(l.env, "FTPSFS_PASSWORD="+testPassword)
	f := l.startForeground("-f", l.url(testUser), l.mnt, "-o", "cacert="+l.ca)
	secretFree(t, f.cmd.Process.Pid)
	l.must("umount", l.mnt)
	if code := f.end(t); code != 0 || strings.Contains(f.log.String(), testPassword) {
		t.Errorf("exit %d: %s", code, f.log)
	}
}

// TestMountFails: each cause has one line on standard error that says what to do, and exit status 32.
func TestMountFails(t *testing.T) {
	l := newLab(t)
	ssh := fakeServer(t, "SSH-2.0-OpenSSH_9.2\r\n")
	plain := fakeServer(t, "220 hello\r\n", "530 no TLS here\r\n")
	closed := closedPort(t)
	file := filepath.Join(l.dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l.passwordFile()
	good := l.options()
	cases := []struct {
		name, url, mnt, options string
		code                    int
		want                    string
	}{
		{"wrong password", l.url("joe:wrong"), l.mnt, "cacert=" + l.ca, 32, "login refused"},
		{"unknown CA", l.url(testUser), l.mnt, "password_file=" + l.dir + "/password", 32, "pin=sha256:"},
		{"wrong host name", strings.Replace(l.url(testUser), "127.0.0.1", "127.0.0.2", 1), l.mnt, good, 32, ""},
		{"SSH server", "ftps://joe@" + ssh + "/", l.mnt, good, 32, "SSH"},
		{"no AUTH TLS", "ftps://joe@" + plain + "/", l.mnt, good, 32, "no protected connection"},
		{"nobody there", "ftps://joe@" + closed + "/", l.mnt, good, 32, "check the host"},
		{"no such folder", l.url(testUser) + "none", l.mnt, good, 32, "no folder on the server"},
		{"mount point missing", l.url(testUser), filepath.Join(l.dir, "none"), good, 32, "mkdir -p"},
		{"mount point is a file", l.url(testUser), file, good, 32, "is no folder"},
		{"state inside the mount", l.url(testUser), l.mnt, good + ",state_dir=" + l.mnt + "/x/y", 1, "lies inside the mount point"},
		{"state is a file", l.url(testUser), l.mnt, good + ",state_dir=" + file, 32, "-o ro"},
		{"no password", l.url(testUser), l.mnt, "cacert=" + l.ca, 32, "password_file=FILE"},
		{"CA file missing", l.url(testUser), l.mnt, good + ",cacert=/none/ca.pem", 1, "option cacert"},
		{"CA file is none", l.url(testUser), l.mnt, good + ",cacert=/etc/passwd", 1, "no certificate found"},
		{"open password file", l.url(testUser), l.mnt, good + ",password_file=/etc/passwd", 1, "chmod 600"},
	}
	for _, c := range cases {
		for _, mode := range [][]string{nil, {"-f"}} {
			r := l.run(append(mode, c.url, c.mnt, "-o", c.options)...)
			line := strings.TrimPrefix(r.err, "ftpsfs: warning: a password in the URL can be seen by other users while ftpsfs starts, and stays in the shell's history; better use -o password_file=FILE\n")
			if r.code != c.code || !strings.Contains(line, c.want) || strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "ftpsfs: ") {
				t.Errorf("%s %v: exit %d, %q; want %d, %q", c.name, mode, r.code, r.err, c.code, c.want)
			}
			if _, mounted := mountpoint.At(l.mnt); mounted {
				t.Fatalf("%s %v: mounted", c.name, mode)
			}
		}
	}
}

// fakeServer greets, and answers each further line with the next text.
func fakeServer(t *testing.T, texts ...string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 4096)
			for _, text := range texts {
				_, _ = c.Write([]byte(text))
				if n, err := c.Read(b); err != nil || bytes.Contains(b[:n], []byte("PASS")) {
					break
				}
			}
			c.Close()
		}
	}()
	return ln.Addr().String()
}

func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// TestSignals: one ends the mount in good order although it is used; the file that was being written is on the server.
func TestSignals(t *testing.T) {
	l := newLab(t)
	f := l.startForeground("-f", l.url(testUser), l.mnt, "-o", l.options())
	open, err := os.Create(filepath.Join(l.mnt, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.WriteString("not closed yet"); err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := f.end(t); code != 0 {
		t.Errorf("exit %d: %s", code, f.log)
	}
	if got := l.onServer("open"); got != "not closed yet" {
		t.Errorf("on the server: %q", got)
	}
}

// TestKilled: the dead end point of a mount that was killed does not keep the next one from working.
func TestKilled(t *testing.T) {
	l := newLab(t)
	l.must(l.url(testUser), l.mnt, "-o", l.options())
	pid := l.status().PID
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.gone(pid)
	if _, err := os.ReadDir(l.mnt); err == nil { // not Stat: the kernel may still know the attributes
		t.Fatal("the mount point is not dead")
	}
	if r := l.run("status", l.mnt); r.code != 32 || !strings.Contains(r.err, "ftpsfs umount") {
		t.Errorf("status: exit %d, %s", r.code, r.err)
	}
	l.must(l.url(testUser), l.mnt, "-o", l.options())
	if r := l.run(l.url(testUser), l.mnt, "-o", l.options()); r.code != 32 || !strings.Contains(r.err, "is mounted on "+l.mnt+" already") {
		t.Errorf("second mount: exit %d, %s", r.code, r.err)
	}
	if err := syscall.Kill(l.status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.must("umount", l.mnt)
	if r := l.run("umount", l.mnt); r.code != 32 || !strings.Contains(r.err, "nothing of ftpsfs is mounted") {
		t.Errorf("umount of nothing: exit %d, %s", r.code, r.err)
	}
}

// TestUmountInUse: a mount that is used stays; a plain umount(8) of the system makes the process end by itself.
func TestUmountInUse(t *testing.T) {
	l := newLab(t)
	l.must(l.url(testUser), l.mnt, "-o", l.options())
	s := l.status()
	l.write("f", "x")
	open, err := os.Open(filepath.Join(l.mnt, "f"))
	if err != nil {
		t.Fatal(err)
	}
	r := l.run("umount", l.mnt)
	if r.code != 32 || !strings.Contains(r.err, "is in use") || !strings.Contains(r.err, "or use -l") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	if st := l.status(); st.State != "mounted" || st.FS.OpenHandles != 1 {
		t.Errorf("%+v", st)
	}
	open.Close()
	if exec.Command("umount", l.mnt).Run() != nil {
		if out, err := exec.Command("fusermount3", "-u", l.mnt).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	l.gone(s.PID)
}

// TestNothingInherited: who waits for the end of a pipe that the mount command had open does not wait for the mount.
func TestNothingInherited(t *testing.T) {
	l := newLab(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := l.command(l.url(testUser), l.mnt, "-o", l.options())
	cmd.ExtraFiles = []*os.File{w, w, w}
	cmd.Stdout = w
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the pipe is still open: %v", err)
	}
	l.must("umount", l.mnt)
}

// TestServerGone: a status is told and an umount ends although the server is no more; what is lost is said.
func TestServerGone(t *testing.T) {
	l := newLab(t)
	l.must(l.url(testUser), l.mnt, "-o", l.options()+",timeout=5s")
	if err := l.server.Close(); err != nil {
		t.Fatal(err)
	}
	l.server = nil
	if s := l.status(); s.State != "mounted" {
		t.Errorf("%+v", s)
	}
	l.must("umount", l.mnt)
}
