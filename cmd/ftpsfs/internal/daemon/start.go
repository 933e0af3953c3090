package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// Terminal answers the child's questions.
type Terminal interface {
	Ask(ctx context.Context, question string, secret bool) (string, error)
}

// Child is a process to start in the background.
type Child struct {
	Args     []string // with the program's name; no secrets
	Env      []string // no secrets
	Hello    any      // what it must know and nobody may see; JSON
	Terminal Terminal // nil: nobody to ask
	Stderr   io.Writer
}

// Start runs the child and waits until it is ready or has failed: nil when the mount works. When ctx ends first the child is
// told to give up, by the end of what comes from here, and has the last word: it may have become ready just then.
func (c Child) Start(ctx context.Context) error {
	hello, err := json.Marshal(c.Hello)
	if err != nil {
		return err
	}
	ours, cmd, err := c.spawn()
	if err != nil {
		return exitcode.NewSystem("the background process cannot be started", err, "use -f to stay in the foreground")
	}
	defer ours.Close()
	stop := context.AfterFunc(ctx, func() { _ = ours.CloseWrite() })
	defer stop()
	enc := json.NewEncoder(ours)
	if err := enc.Encode(message{Hello: hello}); err != nil {
		return c.ended(ctx, cmd)
	}
	return c.converse(ctx, ours, enc, cmd)
}

// spawn starts the child with one end of a socket pair and gives the other one.
func (c Child) spawn() (*net.UnixConn, *exec.Cmd, error) {
	exe, err := executable()
	if err != nil {
		return nil, nil, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	ours, theirs := os.NewFile(uintptr(fds[0]), "child"), os.NewFile(uintptr(fds[1]), "parent")
	defer ours.Close()
	defer theirs.Close()
	closeInherited()
	cmd := exec.Command(exe)
	cmd.Args = c.Args
	cmd.Env = append(c.Env, envChannel+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), cmd, nil
}

// converse answers the child until it tells the outcome.
func (c Child) converse(ctx context.Context, conn net.Conn, enc *json.Encoder, cmd *exec.Cmd) error {
	dec := json.NewDecoder(conn)
	for {
		var m message
		if dec.Decode(&m) != nil {
			return c.ended(ctx, cmd)
		}
		switch {
		case m.Ready:
			return cmd.Process.Release()
		case m.Fail != nil:
			_ = cmd.Wait() // it has told its status already
			return &exitcode.Error{Code: m.Fail.Code, What: m.Fail.Line}
		case m.Warn != "":
			fmt.Fprintln(c.Stderr, m.Warn)
		case m.Ask != nil:
			_ = enc.Encode(message{Answer: c.answer(ctx, m.Ask)}) // fails after ctx; the child knows then
		}
	}
}

func (c Child) answer(ctx context.Context, q *question) *answer {
	if c.Terminal == nil {
		return &answer{Err: "there is no terminal to ask on"}
	}
	text, err := c.Terminal.Ask(ctx, q.Text, q.Secret)
	if err != nil {
		return &answer{Err: err.Error()}
	}
	return &answer{Text: text}
}

// ended says how a child ended that did not say it itself.
func (c Child) ended(ctx context.Context, cmd *exec.Cmd) error {
	err := cmd.Wait()
	if ctx.Err() != nil {
		return exitcode.NewMount("interrupted", nil, "")
	}
	if err == nil {
		err = errors.New("it ended by itself")
	}
	return exitcode.NewMount("the background process died before the mount was ready", err, "run it again with -f to see why")
}
