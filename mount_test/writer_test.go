//go:build linux

package mount_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// writerVariable makes the test binary a writer: it opens the file that the variable names, truncated, and writes as many
// bytes as each line of its input says.
const writerVariable = "FTPSFS_TEST_WRITER"

// writer is a program that holds a file open for writing. The test itself cannot: whenever it starts a program, the
// new process closes the inherited descriptors, and each such close is a FLUSH to the file system, which publishes what
// was written so far.
type writer struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Reader
	sent  int
}

// writerBytes are what writers write, from their first byte on.
func writerBytes(n int) []byte { return randomBytes(77, n) }

// startWriter opens path with O_WRONLY|O_TRUNC in another program.
func startWriter(t *testing.T, path string) *writer {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), writerVariable+"="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	w := &writer{t: t, cmd: cmd, in: in, lines: bufio.NewReader(out)}
	t.Cleanup(func() {
		if w.cmd.ProcessState == nil {
			_ = w.cmd.Process.Kill()
			_ = w.cmd.Wait()
		}
	})
	must(t, w.answer())
	return w
}

func (w *writer) answer() error {
	line, err := w.lines.ReadString('\n')
	if err != nil {
		return fmt.Errorf("writer: %w", err)
	}
	if line = strings.TrimSpace(line); line != "ok" {
		return errors.New(line)
	}
	return nil
}

// write lets the program write the next n bytes.
func (w *writer) write(n int) {
	w.t.Helper()
	_, err := fmt.Fprintln(w.in, n)
	must(w.t, err)
	must(w.t, w.answer())
	w.sent += n
}

// close closes the file and gives close's error.
func (w *writer) close() error {
	w.in.Close()
	err := w.answer()
	if e := w.cmd.Wait(); err == nil {
		err = e
	}
	return err
}

// runWriter is the program.
func runWriter(path string) int {
	say := func(err error) bool {
		if err != nil {
			fmt.Println(err)
			return false
		}
		fmt.Println("ok")
		return true
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if !say(err) {
		return 1
	}
	done := 0
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, err := strconv.Atoi(in.Text())
		if err == nil {
			_, err = f.Write(writerBytes(done + n)[done:])
		}
		if !say(err) {
			return 1
		}
		done += n
	}
	if !say(f.Close()) {
		return 1
	}
	return 0
}
