package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// nobody is the id of an ordinary user that every system has.
const nobody = 65534

// TestOrdinaryUser mounts through fusermount3; what is in the mount belongs to the user, and root can look at it.
func TestOrdinaryUser(t *testing.T) {
	needsRoot(t)
	needsFuse3(t, "fusermount3")
	l := newLab(t)
	opts := l.options()
	if err := filepath.Walk(l.dir, func(name string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, nobody, nobody)
	}); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(l.dir, "ftpsfs") // go test builds where only root may look
	if out, err := exec.Command("cp", os.Args[0], program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	as := func(args ...string) result {
		cmd := l.command(args...)
		cmd.Path = program
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		return finish(t, cmd)
	}
	if r := as(l.url(testUser), l.mnt, "-o", opts); r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	if r := as("status", l.mnt, "--json"); r.code != 0 || !strings.Contains(r.out, `"state":"mounted"`) {
		t.Errorf("status: exit %d, %s%s", r.code, r.out, r.err)
	}
	if r := as(l.url(testUser), "/", "-o", opts); r.code != 32 || !strings.Contains(r.err, "is not yours") {
		t.Errorf("on /: exit %d, %s", r.code, r.err)
	}
	if r := as("umount", l.mnt); r.code != 0 {
		t.Errorf("umount: exit %d, %s", r.code, r.err)
	}
}

// terminal is a pseudo-terminal.
func pseudoTerminal(t *testing.T) (control *os.File, tty *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	if err := unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return control, tty
}

// expect reads the terminal until it shows text.
func expect(t *testing.T, control io.Reader, text string) string {
	t.Helper()
	var all []byte
	b := make([]byte, 256)
	for !strings.Contains(string(all), text) {
		n, err := control.Read(b)
		if err != nil {
			t.Fatalf("%q: %v", all, err)
		}
		all = append(all, b[:n]...)
	}
	return string(all)
}

// TestPrompt: on a terminal the password is asked for, not shown, and not seen in the process that goes to the background.
// `trust=ask` puts its question from there.
func TestPrompt(t *testing.T) {
	l := newLab(t)
	control, tty := pseudoTerminal(t)
	cmd := l.command(l.url(testUser), l.mnt, "-o", "trust=ask")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill(); control.Close() })
	defer kill.Stop()
	expect(t, control, "Password for joe@"+l.server.Addr().String()+": ")
	if _, err := control.WriteString(testPassword + "\n"); err != nil {
		t.Fatal(err)
	}
	if shown := expect(t, control, "(yes/no) "); strings.Contains(shown, testPassword) || !strings.Contains(shown, "sha256:") {
		t.Errorf("the terminal shows %q", shown)
	}
	if _, err := control.WriteString("yes\n"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	s := l.status()
	secretFree(t, s.PID)
	if s.PasswordFrom != "the terminal" {
		t.Errorf("password from %s", s.PasswordFrom)
	}
	l.must("umount", l.mnt)
}

// TestPromptInterrupted: Ctrl-C at the question leaves a terminal that shows again what is typed.
func TestPromptInterrupted(t *testing.T) {
	l := newLab(t)
	control, tty := pseudoTerminal(t)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd := l.command(l.url(testUser), l.mnt, "-o", "cacert="+l.ca)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	expect(t, control, "Password for ")
	if _, err := control.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || cmd.ProcessState.ExitCode() != 32 || after.Lflag != before.Lflag {
		t.Errorf("%v, flags %x, before %x, %v", cmd.ProcessState, after.Lflag, before.Lflag, err)
	}
}
