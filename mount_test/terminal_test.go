//go:build linux

package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialog runs the binary on a terminal of its own: whenever it says the first of a pair it is told the second. It gives all
// that the terminal showed, and the exit status. A pair that never comes is an error.
func dialog(t *testing.T, cmd *exec.Cmd, pairs ...[2]string) (shown string, code int) {
	t.Helper()
	control, tty := pseudoTerminal(t)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	must(t, cmd.Start())
	must(t, tty.Close()) // with the last process that has it open, reading ends
	must(t, control.SetReadDeadline(time.Now().Add(time.Minute)))
	seen, b := 0, make([]byte, 4096)
	for {
		n, err := control.Read(b)
		shown += string(b[:n])
		for len(pairs) > 0 && strings.Contains(shown[seen:], pairs[0][0]) {
			seen = len(shown)
			if _, err := control.WriteString(pairs[0][1] + "\n"); err != nil {
				t.Fatal(err)
			}
			pairs = pairs[1:]
		}
		if err != nil { // EIO: nobody has the terminal any more
			break
		}
	}
	if err := cmd.Wait(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	if len(pairs) > 0 {
		t.Errorf("it never said %q: %s", pairs[0][0], shown)
	}
	return shown, exitCode(cmd)
}

// pseudoTerminal makes a terminal and what controls it.
func pseudoTerminal(t *testing.T) (control, tty *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	control = os.NewFile(uintptr(fd), "/dev/ptmx") // not blocking, so that it has deadlines
	t.Cleanup(func() { control.Close() })
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	return control, tty
}
