package credentials

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// askpassTimeout bounds a program that shows a window nobody answers.
const askpassTimeout = 5 * time.Minute

func fromAskpass(ctx context.Context, r *Request) (Found, error) {
	if r.Askpass == "" {
		return Found{}, ErrNotFound
	}
	p, err := Askpass{Program: r.Askpass}.Ask(ctx, fmt.Sprintf("Password for %s: ", r.account()), true)
	if err != nil {
		return Found{}, err
	}
	return Found{Password: options.Secret(p), HasPassword: true, Source: "askpass " + r.Askpass}, nil
}

// Askpass is a Terminal that asks through a program, as SSH_ASKPASS does: the question is its argument, the first line that
// it prints is the answer.
type Askpass struct{ Program string }

// Ask runs the program.
func (a Askpass) Ask(ctx context.Context, question string, _ bool) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askpassTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.Program, question)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", exitcode.NewMount("askpass "+a.Program+" failed", cause(err), "")
	}
	line, err := firstLine(bytes.NewReader(out))
	if err != nil {
		return "", exitcode.NewMount("askpass "+a.Program+" printed no password", nil, "")
	}
	return line, nil
}

// TTY asks on the controlling terminal, whatever standard input and output are.
type TTY struct{ f *os.File }

// OpenTTY gives the controlling terminal, nil when the process has none.
func OpenTTY() *TTY {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return &TTY{f}
}

// Close closes the terminal.
func (t *TTY) Close() error { return t.f.Close() }

// Ask writes the question and reads one line. When ctx ends first the terminal gets its echo back; the reader that is then
// left behind in the kernel ends with the process.
func (t *TTY) Ask(ctx context.Context, question string, secret bool) (string, error) {
	restore := func() {}
	if secret {
		var err error
		if restore, err = hideInput(t.f); err != nil { // before the question: fast fingers
			return "", err
		}
	}
	defer restore()
	if _, err := io.WriteString(t.f, exitcode.OneLine(question)); err != nil {
		return "", err
	}
	type answer struct {
		s   string
		err error
	}
	got := make(chan answer, 1)
	go func() {
		s, err := bufio.NewReader(io.LimitReader(t.f, maxSecret)).ReadString('\n')
		got <- answer{strings.TrimRight(s, "\r\n"), err}
	}()
	select {
	case a := <-got:
		if secret {
			fmt.Fprintln(t.f) // the user's own line end was not shown
		}
		if errors.Is(a.err, io.EOF) {
			return "", errors.New("end of input")
		}
		return a.s, a.err
	case <-ctx.Done():
		fmt.Fprintln(t.f)
		return "", ctx.Err()
	}
}

// hideInput switches a terminal's echo off and gives what switches it on again.
func hideInput(f *os.File) (restore func(), err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, os.NewSyscallError("tcgetattr", err)
	}
	quiet := *before
	quiet.Lflag &^= unix.ECHO
	quiet.Lflag |= unix.ICANON | unix.ISIG
	quiet.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, setTermios, &quiet); err != nil {
		return nil, os.NewSyscallError("tcsetattr", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, nil // a terminal that is gone
}

// Confirm asks a question that is answered with yes or no; anything but a clear yes is a no.
func Confirm(ctx context.Context, t Terminal, question string) (bool, error) {
	s, err := t.Ask(ctx, question+" (yes/no) ", false)
	if err != nil {
		return false, err
	}
	s = strings.ToLower(strings.TrimSpace(s))
	return s == "yes" || s == "y", nil
}
