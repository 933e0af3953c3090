package pool

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/embedded"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// fake is an FTPS server that does what a test says: the test answers the commands that it cares about, the rest is answered
// as a small server would. It stores files in memory.
type fake struct {
	t    *testing.T
	ln   net.Listener
	tls  *tls.Config
	ca   string
	done sync.WaitGroup

	mu       sync.Mutex
	greet    func(n int) string                       // greeting of the n-th connection (from 1), "" hangs up. guarded by mu
	on       func(c *fakeConn, verb, arg string) bool // true: answered. guarded by mu
	accepted int                                      // guarded by mu
	files    map[string]string                        // guarded by mu
	log      []string                                 // commands after login. guarded by mu
	open     map[net.Conn]struct{}                    // guarded by mu
	closed   bool                                     // guarded by mu
}

// fakeConn is one control connection.
type fakeConn struct {
	net.Conn
	f    *fake
	n    int // which one, from 1
	br   *bufio.Reader
	pasv net.Listener
	rest int
	rnfr string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	ca, err := embedded.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		t: t, ln: ln, ca: ca.CertFile, files: map[string]string{}, open: map[net.Conn]struct{}{},
		tls: &tls.Config{Certificates: []tls.Certificate{ca.Server}},
	}
	f.done.Add(1)
	go f.accept()
	t.Cleanup(f.stop)
	return f
}

func (f *fake) stop() {
	f.mu.Lock()
	f.closed = true
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.ln.Close()
	f.done.Wait()
}

// script changes what the server does.
func (f *fake) script(on func(c *fakeConn, verb, arg string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// note puts a command into the log.
func (f *fake) note(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, strings.TrimRight(line, "\r\n"))
}

// lines gives the log.
func (f *fake) lines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log)
}

// sent counts a command in the log.
func (f *fake) sent(prefix string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.log {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

func (f *fake) file(name string) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.files[name]
	return s, ok
}

func (f *fake) put(name, content string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[name] = content
}

func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accepted
}

// track makes stop close c.
func (f *fake) track(c net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
	}
	f.open[c] = struct{}{}
}

func (f *fake) accept() {
	defer f.done.Done()
	for {
		nc, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.track(nc)
		f.mu.Lock()
		f.accepted++
		c := &fakeConn{Conn: nc, f: f, n: f.accepted}
		f.mu.Unlock()
		f.done.Add(1)
		go func() {
			defer f.done.Done()
			c.serve()
		}()
	}
}

func (c *fakeConn) say(format string, args ...any) { fmt.Fprintf(c.Conn, format+"\r\n", args...) }

func (c *fakeConn) serve() {
	defer func() {
		if c.pasv != nil {
			c.pasv.Close()
		}
		c.Conn.Close()
	}()
	c.f.mu.Lock()
	greet := c.f.greet
	c.f.mu.Unlock()
	text := "220 fake"
	if greet != nil {
		text = greet(c.n)
	}
	if text == "" {
		return
	}
	c.say("%s", text)
	if !strings.HasPrefix(text, "220") {
		return
	}
	c.br = bufio.NewReader(c.Conn)
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		c.f.note(line)
		c.f.mu.Lock()
		on := c.f.on
		c.f.mu.Unlock()
		if on != nil && on(c, verb, arg) {
			continue
		}
		if !c.answer(verb, arg) {
			return
		}
	}
}

// answer is what a small server says. It reports false at the end of the session.
func (c *fakeConn) answer(verb, arg string) bool {
	f := c.f
	content, there := f.file(arg)
	switch verb {
	case "AUTH":
		c.say("234 go on")
		tc := tls.Server(c.Conn, f.tls)
		if tc.Handshake() != nil {
			return false
		}
		c.Conn, c.br = tc, bufio.NewReader(tc)
	case "USER":
		c.say("331 password")
	case "PASS":
		c.say("230 in")
	case "FEAT":
		c.say("211-Features:\r\n MLST type*;size*;modify*;\r\n MFMT\r\n SIZE\r\n MDTM\r\n211 End")
	case "PWD":
		c.say(`257 "/" is it`)
	case "TYPE", "OPTS", "PBSZ", "PROT", "NOOP", "CWD":
		c.say("200 ok")
	case "EPSV":
		c.passive()
	case "MLST":
		if arg == "/" || strings.HasSuffix(arg, "dir") && there {
			c.say("250-Begin\r\n type=dir;modify=20200101000000; %s\r\n250 End", arg)
		} else if there {
			c.say("250-Begin\r\n type=file;size=%d;modify=20200101000000; %s\r\n250 End", len(content), arg)
		} else {
			c.say("550 %s: No such file or directory", arg)
		}
	case "SIZE":
		if there {
			c.say("213 %d", len(content))
		} else {
			c.say("550 %s: No such file or directory", arg)
		}
	case "MKD":
		f.put(arg, "")
		c.say("257 made")
	case "DELE", "RMD":
		c.remove(arg, there)
	case "RNFR":
		c.rnfr = arg
		c.say("350 and to")
	case "RNTO":
		s, _ := f.file(c.rnfr)
		c.f.mu.Lock()
		delete(c.f.files, c.rnfr)
		c.f.mu.Unlock()
		f.put(arg, s)
		c.say("250 renamed")
	case "REST":
		fmt.Sscan(arg, &c.rest)
		c.say("350 from there")
	case "RETR":
		if !there {
			c.say("550 %s: No such file or directory", arg)
			return true
		}
		c.send(content[min(c.rest, len(content)):])
		c.rest = 0
	case "STOR":
		s, ok := c.receive()
		f.put(arg, s)
		if ok {
			c.say("226 stored")
		} else {
			c.say("426 broken")
		}
	case "MLSD":
		if arg != "/" {
			c.send("")
			return true
		}
		c.send(f.listing())
	case "QUIT":
		c.say("221 bye")
		return false
	default:
		c.say("500 what?")
	}
	return true
}

func (c *fakeConn) remove(name string, there bool) {
	if !there {
		c.say("550 %s: No such file or directory", name)
		return
	}
	c.f.mu.Lock()
	delete(c.f.files, name)
	c.f.mu.Unlock()
	c.say("250 gone")
}

func (f *fake) listing() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for name, content := range f.files {
		fmt.Fprintf(&b, "type=file;size=%d;modify=20200101000000; %s\r\n", len(content), strings.TrimPrefix(name, "/"))
	}
	return b.String()
}

// passive answers EPSV.
func (c *fakeConn) passive() { c.say("229 ok (|||%d|)", c.listen()) }

// passivePASV answers PASV.
func (c *fakeConn) passivePASV() {
	port := c.listen()
	c.say("227 ok (127,0,0,1,%d,%d)", port>>8, port&255)
}

// listen waits for a data connection at the port.
func (c *fakeConn) listen() (port int) {
	if c.pasv != nil {
		c.pasv.Close()
	}
	var err error
	if c.pasv, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		c.f.t.Error(err)
		return 0
	}
	return c.pasv.Addr().(*net.TCPAddr).Port
}

// data says 150 and opens the data connection. nil: the client did not come.
func (c *fakeConn) data() *tls.Conn {
	if c.pasv == nil {
		c.say("425 no port")
		return nil
	}
	_ = c.pasv.(*net.TCPListener).SetDeadline(time.Now().Add(5 * time.Second))
	nc, err := c.pasv.Accept()
	c.pasv.Close()
	c.pasv = nil
	if err != nil {
		return nil
	}
	c.f.track(nc)
	c.say("150 here")
	tc := tls.Server(nc, c.f.tls)
	if tc.Handshake() != nil {
		nc.Close()
		return nil
	}
	return tc
}

// send is a download.
func (c *fakeConn) send(content string) {
	d := c.data()
	if d == nil {
		return
	}
	_, err := io.WriteString(d, content)
	d.Close()
	if err != nil {
		c.say("426 broken")
		return
	}
	c.say("226 sent")
}

// receive is an upload; the caller sends the final reply.
func (c *fakeConn) receive() (string, bool) {
	d := c.data()
	if d == nil {
		return "", false
	}
	b, err := io.ReadAll(d)
	d.Close()
	return string(b), err == nil
}

// cut ends the session without a word.
func (c *fakeConn) cut() bool {
	c.Conn.Close()
	return true
}

// newFakePool gives a pool, not connected yet, to the server.
func newFakePool(t *testing.T, f *fake, options ...func(*Config)) *env {
	t.Helper()
	cfg := Config{
		Session: session.Config{
			Host: "127.0.0.1", Port: f.ln.Addr().(*net.TCPAddr).Port, User: "u",
			Password: func(context.Context) (string, error) { return "sesame", nil },
			Trust:    trust.Config{CACert: f.ca},
		},
		Timeout: 10 * time.Second,
	}
	for _, o := range options {
		o(&cfg)
	}
	e := &env{}
	var err error
	if e.Pool, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	var cancel context.CancelFunc
	e.ctx, cancel = context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return e
}

// connectFake connects, which most tests want.
func connectFake(t *testing.T, f *fake, options ...func(*Config)) *env {
	t.Helper()
	e := newFakePool(t, f, options...)
	if err := e.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	return e
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// useClock gives a pool that is not in use yet a clock of the test's.
func useClock(p *Pool) *clock {
	c := &clock{t: time.Now().Round(0)}
	p.now = c.now
	return c
}

// discard is a connection whose writes go nowhere: the server does what it was told, and nobody hears of it.
type discard struct{ net.Conn }

func (d discard) Write(p []byte) (int, error) { return len(p), nil }

// greeting changes how connections are greeted.
func (f *fake) greeting(greet func(n int) string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.greet = greet
}
