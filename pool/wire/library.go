package wire

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Exchange is a command that was sent already and the reply that came.
type Exchange struct {
	Cmd   string
	Reply Reply
}

// Library is the line as an FTP library sees it: a net.Conn. What is written to it goes out as commands, one at a time;
// what is read from it are the replies to them, at most one line per Read, so that the library's own buffer is empty
// after each final reply and other commands may share the line between its calls.
//
// It is used by one goroutine at a time.
type Library struct {
	c         *Conn
	normalize func(cmd string, r Reply) Reply

	mu      sync.Mutex
	ctx     context.Context // of the present call. guarded by mu
	ahead   []Exchange
	in      []byte     // the start of a line that the library is writing
	out     []byte     // replies that it has not read yet
	pending []*Pending // sent for it and not answered yet
	cmds    []string   // their commands
}

var _ net.Conn = (*Library)(nil)

// Library gives the view. greeting is what the library reads first. normalize changes replies on their way to it; nil
// leaves them.
func (c *Conn) Library(greeting Reply, normalize func(cmd string, r Reply) Reply) *Library {
	if normalize == nil {
		normalize = func(_ string, r Reply) Reply { return r }
	}
	return &Library{c: c, normalize: normalize, ctx: context.Background(), out: render(greeting)}
}

// SetContext bounds the library's next calls.
func (l *Library) SetContext(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = ctx
}

// Ahead tells of commands that were sent and answered before the library thought of them. When it writes exactly such a
// command, the write is dropped and the reply is there. Commands that it skips are passed over; a command that is not
// among the rest makes the line unusable, as the two speakers disagree.
func (l *Library) Ahead(done []Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead = done
}

// Write takes commands.
func (l *Library) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = append(l.in, p...)
	for {
		i := bytes.IndexByte(l.in, '\n')
		if i < 0 {
			return len(p), nil
		}
		cmd := strings.TrimSuffix(string(l.in[:i]), "\r")
		l.in = l.in[i+1:]
		if err := l.command(cmd); err != nil {
			return 0, err
		}
	}
}

func (l *Library) command(cmd string) error {
	if len(l.ahead) > 0 {
		for i, x := range l.ahead {
			if x.Cmd == cmd {
				l.ahead = l.ahead[i+1:]
				l.out = append(l.out, render(l.normalize(cmd, x.Reply))...)
				return nil
			}
		}
		err := fmt.Errorf("library sent %q out of turn", l.c.shown(cmd))
		l.c.fail(err)
		return err
	}
	pending, err := l.c.Send(l.ctx, cmd)
	if err != nil {
		return err
	}
	l.pending, l.cmds = append(l.pending, pending...), append(l.cmds, cmd)
	return nil
}

// Read gives at most one line.
func (l *Library) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.out) == 0 {
		if len(l.pending) == 0 {
			return 0, ErrUnsolicited // it waits for what nobody asked for
		}
		r, err := l.pending[0].Wait(l.ctx)
		if err != nil {
			return 0, err
		}
		l.out = render(l.normalize(l.cmds[0], r))
		if l.pending[0].Done() {
			l.pending, l.cmds = l.pending[1:], l.cmds[1:]
		}
	}
	line := l.out
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i+1]
	}
	n := copy(p, line)
	l.out = l.out[n:]
	return n, nil
}

// render writes a reply in the form that every library reads, whatever form it came in.
func render(r Reply) []byte {
	var b bytes.Buffer
	last := len(r.Lines) - 1
	switch {
	case last <= 0:
		fmt.Fprintf(&b, "%03d %s\r\n", r.Code, r.Last())
	default:
		fmt.Fprintf(&b, "%03d-%s\r\n", r.Code, r.Lines[0])
		for _, l := range r.Lines[1:last] {
			b.WriteString(l + "\r\n")
		}
		fmt.Fprintf(&b, "%03d %s\r\n", r.Code, r.Lines[last])
	}
	return b.Bytes()
}

// Close ends the line.
func (l *Library) Close() error {
	l.c.Close()
	return nil
}

// LocalAddr is the address of the connection below.
func (l *Library) LocalAddr() net.Addr { return l.c.raw.LocalAddr() }

// RemoteAddr is the address of the connection below, always a *net.TCPAddr as libraries insist on one.
func (l *Library) RemoteAddr() net.Addr {
	if a, ok := l.c.raw.RemoteAddr().(*net.TCPAddr); ok {
		return a
	}
	return &net.TCPAddr{}
}

// SetDeadline does nothing: bounds are the line's own, and a deadline left behind would hit somebody else's command.
func (l *Library) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (l *Library) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, as SetDeadline.
func (l *Library) SetWriteDeadline(time.Time) error { return nil }
