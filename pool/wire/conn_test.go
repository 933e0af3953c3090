package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the server's end of a line, without buffers between: a write blocks until it is read.
type peer struct {
	net.Conn
	br *bufio.Reader
}

func newLine(t *testing.T, o Options) (*Conn, *peer) {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &peer{Conn: theirs, br: bufio.NewReader(theirs)}
	c, greeting, err := New(ours, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); _ = theirs.Close() })
	go p.say("220 hello\r\n")
	if r, err := greeting.WaitFinal(t.Context()); err != nil || r.Code != 220 {
		t.Fatalf("greeting: %v, %v", r, err)
	}
	return c, p
}

func (p *peer) say(s string) { _, _ = io.WriteString(p, s) }

// answer replies to each command with what f gives, until the line ends.
func (p *peer) answer(f func(cmd string) string) {
	for {
		cmd, err := p.br.ReadString('\n')
		if err != nil {
			return
		}
		p.say(f(strings.TrimRight(cmd, "\r\n")))
	}
}

func TestFlightKeepsOrderBeyondTheOutstandingLimit(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(cmd string) string { return "213 " + cmd + "\r\n" })
	var cmds []string
	for i := range 3 * maxOutstanding {
		cmds = append(cmds, fmt.Sprintf("SIZE %d", i))
	}
	replies, err := c.Flight(t.Context(), cmds...)
	if err != nil || len(replies) != len(cmds) {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
	for i, r := range replies {
		if r.Last() != cmds[i] {
			t.Fatalf("reply %d is %v", i, r)
		}
	}
	if n := c.Outstanding(); n != 0 {
		t.Errorf("%d commands outstanding", n)
	}
}

// TestGivenUp: a command without a reply is taken back from the kernel, by a reset; without one the end is in order.
func TestGivenUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, waiting := range []bool{false, true} {
		ours, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		p := &peer{Conn: theirs, br: bufio.NewReader(theirs)}
		c, greeting, err := New(ours, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		p.say("220 hello\r\n")
		if _, err := greeting.WaitFinal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waiting {
			ctx, cancel := context.WithCancel(t.Context())
			flight := make(chan error, 1)
			go func() { _, err := c.Flight(ctx, "DELE f"); flight <- err }()
			if cmd, err := p.br.ReadString('\n'); err != nil || cmd != "DELE f\r\n" {
				t.Fatal(cmd, err)
			}
			cancel()
			if err := <-flight; err == nil {
				t.Error("a reply that nobody gave")
			}
		}
		c.Close()
		if _, err := p.br.ReadByte(); errors.Is(err, io.EOF) == waiting || errors.Is(err, syscall.ECONNRESET) != waiting {
			t.Errorf("command waiting %v: the server reads %v", waiting, err)
		}
		theirs.Close()
	}
}

func TestRefusedCommandsLeaveTheLineAlone(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(string) string { return "200 ok\r\n" })
	for cmd, want := range map[string]error{"DELE a\nb": ErrName, "PASS x": ErrClear, "USER x": ErrClear, "ACCT x": ErrClear, "CWD " + strings.Repeat("a", 3000): ErrTooLong} {
		if _, err := c.Flight(t.Context(), "NOOP", cmd); !errors.Is(err, want) {
			t.Errorf("%.10q: %v, want %v", cmd, err, want)
		}
	}
	if _, err := c.Flight(t.Context(), "NOOP"); err != nil {
		t.Errorf("NOOP afterwards: %v", err)
	}
}

func TestLineIsUnusableAfter(t *testing.T) {
	tests := []struct {
		name string
		say  string // while idle; "" closes
		want error
	}{
		{"unsolicited reply", "226 done\r\n", ErrUnsolicited},
		{"garbage", "what?\r\n", ErrGarbage},
		{"end", "", ErrEOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := newLine(t, Options{})
			if tt.say == "" {
				_ = p.Close()
			} else {
				p.say(tt.say)
			}
			<-c.Dead()
			if err := c.Err(); !errors.Is(err, tt.want) {
				t.Errorf("Err() = %v, want %v", err, tt.want)
			}
			if _, err := c.Flight(t.Context(), "NOOP"); !errors.Is(err, tt.want) {
				t.Errorf("NOOP: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestIdle421IsSeenBeforeTheNextCommand(t *testing.T) {
	c, p := newLine(t, Options{})
	p.say("421 Timeout.\r\n")
	<-c.Dead()
	var refused *ReplyError
	if err := c.Err(); !errors.As(err, &refused) || refused.Reply.Code != 421 {
		t.Errorf("Err() = %v", err)
	}
}

func TestToleratedReply(t *testing.T) {
	seen := make(chan Reply, 1)
	c, p := newLine(t, Options{Tolerate: func(r Reply) bool { seen <- r; return true }})
	p.say("421 Passive data channel timed out.\r\n")
	<-seen
	go p.answer(func(string) string { return "200 ok\r\n" })
	if _, err := c.Flight(t.Context(), "NOOP"); err != nil {
		t.Errorf("NOOP: %v", err)
	}
}

func TestPreliminaryThenFinal(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(string) string { return "150 opening\r\n226 done\r\n" })
	pending, err := c.Send(t.Context(), "RETR x")
	if err != nil {
		t.Fatal(err)
	}
	first, err := pending[0].Wait(t.Context())
	if err != nil || first.Code != 150 || pending[0].Done() {
		t.Fatalf("%v, %v, done %v", first, err, pending[0].Done())
	}
	if last, err := pending[0].Wait(t.Context()); err != nil || last.Code != 226 || !pending[0].Done() {
		t.Fatalf("%v, %v", last, err)
	}
}

func TestAbandonedCommandEndsWithAnyReply(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(string) string { return "150 opening\r\n" })
	pending, err := c.Send(t.Context(), "RETR x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pending[0].Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	pending[0].Abandon()
	go p.say("150 0.001 seconds\r\n")
	if r, err := pending[0].WaitFinal(t.Context()); err != nil || r.Code != 150 {
		t.Fatalf("%v, %v", r, err)
	}
	if n := c.Outstanding(); n != 0 {
		t.Errorf("%d outstanding", n)
	}
}

func TestEndlessPreliminaryReplies(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(string) string { return strings.Repeat("150 still\r\n", 10*maxPreliminary) })
	if _, err := c.Flight(t.Context(), "RETR x"); !errors.Is(err, ErrGarbage) {
		t.Errorf("Flight: %v", err)
	}
}

func TestNoProgressBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newLine(t, Options{Timeout: 30 * time.Second})
		go func() { _, _ = io.Copy(io.Discard, p) }()
		start := time.Now()
		_, err := c.Flight(t.Context(), "NOOP")
		var n net.Error
		if !errors.Is(err, ErrTimeout) || !errors.As(err, &n) || !n.Timeout() {
			t.Errorf("Flight: %v", err)
		}
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("gave up after %v", d)
		}
	})
}

func TestProgressExtendsTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newLine(t, Options{Timeout: 30 * time.Second})
		go func() {
			_, _ = p.br.ReadString('\n')
			p.say("213-x\r\n")
			for range 10 {
				time.Sleep(20 * time.Second)
				p.say(strings.Repeat("x", 8192) + "\r\n")
			}
			p.say("213 x\r\n")
		}()
		if _, err := c.Flight(t.Context(), "STAT /"); err != nil {
			t.Errorf("Flight: %v", err)
		}
	})
}

func TestTricklingReplyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newLine(t, Options{Timeout: 30 * time.Second})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = p.br.ReadString('\n')
			p.say("213-x\r\n")
			for c.Err() == nil {
				time.Sleep(10 * time.Second)
				p.say("x\r\n")
			}
		}()
		if _, err := c.Flight(t.Context(), "STAT /"); !errors.Is(err, ErrTimeout) {
			t.Errorf("Flight: %v", err)
		}
		<-ended
	})
}

func TestPeerThatDoesNotReadEndsInTime(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	c, greeting, err := New(nc, nil, Options{Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(theirs, "220 x\r\n")
	if _, err := greeting.WaitFinal(t.Context()); err != nil {
		t.Fatal(err)
	}
	cmds := make([]string, 10*maxOutstanding)
	for i := range cmds {
		cmds[i] = "MLST " + strings.Repeat("x", 1900)
	}
	if _, err := c.Flight(t.Context(), cmds...); err == nil {
		t.Error("Flight succeeded")
	}
}

func TestCanceledWaitPoisons(t *testing.T) {
	c, p := newLine(t, Options{})
	go func() { _, _ = io.Copy(io.Discard, p) }()
	ctx, cancel := context.WithCancel(t.Context())
	pending, err := c.Send(ctx, "NOOP")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := pending[0].Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait: %v", err)
	}
	if c.Err() == nil {
		t.Error("the line owes a reply and is believed to be usable")
	}
}

// A context that ends while the last byte is sent fails the line at once or not at all: afterwards it may be another's.
func TestContextOverBehindSend(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // what cancel starts runs when we wait, not before
	for range 50 {
		c, _ := newLine(t, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		unwatch := c.watch(ctx)
		cancel()
		unwatch()
		before := c.Err()
		time.Sleep(time.Millisecond)
		if after := c.Err(); after != nil && before == nil {
			t.Fatalf("failed later: %v", after)
		}
	}
}

func TestUpgradeRefusesInjectedBytes(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(string) string { return "234 go\r\n230 you are logged in\r\n" })
	_, err := c.Upgrade(t.Context(), "AUTH TLS", func(below, _ net.Conn) (net.Conn, bool, error) {
		t.Error("TLS was begun")
		return below, true, nil
	})
	if !errors.Is(err, ErrInjected) || !errors.Is(c.Err(), ErrInjected) {
		t.Errorf("Upgrade: %v", err)
	}
}

func TestRefusedUpgradeLeavesTheLineAlone(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(cmd string) string {
		if cmd == "NOOP" {
			return "200 ok\r\n"
		}
		return "502 no\r\n"
	})
	r, err := c.Upgrade(t.Context(), "AUTH TLS", nil)
	if err != nil || r.Code != 502 {
		t.Fatalf("Upgrade: %v, %v", r, err)
	}
	if _, err := c.Flight(t.Context(), "NOOP"); err != nil {
		t.Errorf("NOOP: %v", err)
	}
}

func TestSecretsAreNotLogged(t *testing.T) {
	var log bytes.Buffer
	c, p := newLine(t, Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	c.secure = true
	go p.answer(func(cmd string) string { return "530 no such password: " + cmd + "\r\n" })
	replies, err := c.Flight(t.Context(), "USER joe", "PASS hunter2", "ACCT other", "CWD /hunter2")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	text := log.String() + c.ReplyError("PASS hunter2", replies[1]).Error() + c.ReplyError("CWD /hunter2", replies[3]).Error()
	if strings.Contains(text, "hunter2") || strings.Contains(text, "other") {
		t.Errorf("secret in %s", text)
	}
	if !strings.Contains(text, "USER joe") || !strings.Contains(text, "PASS ***") {
		t.Errorf("dialogue is missing in %s", text)
	}
}

type counts struct {
	commands []string
	waits    [2]int
}

func (c *counts) Command(name string) { c.commands = append(c.commands, name) }
func (c *counts) Wait(background bool) {
	if background {
		c.waits[1]++
	} else {
		c.waits[0]++
	}
}

func TestCounter(t *testing.T) {
	n := &counts{}
	c, p := newLine(t, Options{Counter: n})
	n.waits = [2]int{}
	hold := make(chan struct{})
	go p.answer(func(string) string { <-hold; return "200 ok\r\n" })
	go close(hold)
	if _, err := c.Flight(t.Context(), "NOOP", "site chmod 644 x"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Flight(Background(t.Context()), "NOOP"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(n.commands, ","); got != "NOOP,SITE CHMOD,NOOP" {
		t.Errorf("commands %s", got)
	}
	if n.waits[0] > 1 || n.waits[1] > 1 {
		t.Errorf("waits %v, at most one per flight", n.waits)
	}
}

func TestLibrarySharesTheLine(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(cmd string) string { return "211-" + cmd + "\r\n inner\r\n211 end\r\n" })
	l := c.Library(Reply{220, []string{"hi"}}, nil)
	tp := textproto.NewConn(l)
	if code, _, err := tp.ReadResponse(220); err != nil {
		t.Fatalf("greeting: %d, %v", code, err)
	}
	for i := range 3 {
		if _, err := tp.Cmd("STAT %d", i); err != nil {
			t.Fatal(err)
		}
		if _, msg, err := tp.ReadResponse(211); err != nil || msg != fmt.Sprintf("STAT %d\n inner\nend", i) {
			t.Fatalf("library read %q, %v", msg, err)
		}
		if r, err := c.Flight(t.Context(), "NOOP"); err != nil || r[0].Lines[0] != "NOOP" {
			t.Fatalf("between its calls: %v, %v", r, err)
		}
	}
}

func TestLibraryAhead(t *testing.T) {
	c, p := newLine(t, Options{})
	go p.answer(func(cmd string) string { return "200 really " + cmd + "\r\n" })
	l := c.Library(Reply{220, []string{"hi"}}, nil)
	tp := textproto.NewConn(l)
	if _, _, err := tp.ReadResponse(220); err != nil {
		t.Fatal(err)
	}
	l.Ahead([]Exchange{{"A", Reply{200, []string{"a"}}}, {"B", Reply{200, []string{"b"}}}, {"C", Reply{226, nil}}})
	for cmd, want := range map[string]string{"B": "b"} { // A is passed over
		if _, err := tp.Cmd("%s", cmd); err != nil {
			t.Fatal(err)
		}
		if _, msg, err := tp.ReadResponse(200); err != nil || msg != want {
			t.Fatalf("%s: %q, %v", cmd, msg, err)
		}
	}
	if _, err := tp.Cmd("A"); err == nil {
		t.Error("a command out of turn was taken")
	}
	if c.Err() == nil {
		t.Error("the speakers disagree and the line is believed to be usable")
	}
}
