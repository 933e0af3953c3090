//go:build linux

package mount_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// fake is a server that follows a script and keeps what it is told, so that a test can prove that a client stopped in
// time. What the script leaves out of a session with one flat folder, it does as FTP has it.
type fake struct {
	t    *testing.T
	addr string
	data *dataPort

	mu       sync.Mutex
	script   script            // guarded by mu
	received strings.Builder   // all lines of all sessions; guarded by mu
	files    map[string][]byte // guarded by mu
	open     map[net.Conn]bool // control connections; guarded by mu
}

// script is how a fake server behaves.
type script struct {
	greeting string            // "" is FTP's
	replies  map[string]string // by verb; others get 500
	cert     *lab.Cert         // for AUTH TLS
	implicit bool
	silent   bool // accepts and says nothing
	serves   bool // goes on after the login: commands without a reply above do what they are for
	// plainAuth goes on in clear behind 234.
	plainAuth bool
	plain     string // verbs whose data channels it does not protect, though it said that it would
	// strict demands that data channels resume the TLS session of their control connection, with its newest ticket alone.
	strict *strict
	// apart gives each session a port of its own for data, so that one that was cut off takes none of the next one's.
	apart bool
	// list writes what MLSD gives, in place of the files' lines.
	list func(w io.Writer)
}

// become changes how the fake behaves from the next connection on.
func (f *fake) become(s script) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = s
}

// cut ends all sessions.
func (f *fake) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		c.Close()
	}
}

// startFake runs a fake server until the test ends.
func startFake(t *testing.T, s script) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, addr: l.Addr().String(), script: s, data: newDataPort(t), files: map[string][]byte{}, open: map[net.Conn]bool{}}
	var all sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		f.cut()
		all.Wait()
	})
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.open[conn] = true
			s := f.script
			f.mu.Unlock()
			all.Go(func() {
				f.serve(conn, s)
				conn.Close()
				f.mu.Lock()
				delete(f.open, conn)
				f.mu.Unlock()
			})
		}
	})
	return f
}

func (f *fake) serve(conn net.Conn, s script) {
	config := &tls.Config{}
	if s.cert != nil {
		config.Certificates = []tls.Certificate{s.cert.TLS}
	}
	data := f.data
	if s.strict != nil {
		config, data = s.strict.session(config), newDataPort(f.t)
	}
	if s.apart {
		data = newDataPort(f.t)
	}
	if s.implicit {
		conn = tls.Server(conn, config)
	}
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = conn.Write([]byte(line + "\r\n")) } // the client may be gone: then reading ends
	if !s.silent {
		if s.greeting != "" {
			say(s.greeting)
		} else {
			say("220 ready")
		}
	}
	for {
		line, err := in.ReadString('\n')
		f.mu.Lock()
		f.received.WriteString(line)
		f.mu.Unlock()
		if err != nil {
			return
		}
		if s.silent {
			continue
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		reply, known := s.replies[verb]
		if !known && s.serves {
			say(f.answer(strings.TrimSpace(line), say, s, config, data))
			if c, ok := conn.(*tls.Conn); ok && verb == "CCC" {
				conn = takeOff(c)
				in = bufio.NewReader(conn)
			}
			continue
		}
		if !known {
			reply = "500 not known"
		}
		say(reply)
		if verb == "AUTH" && s.plainAuth {
			_, _ = in.Peek(1) // the client's first words, or its end
			say("220 no need for that")
			continue
		}
		if verb == "AUTH" && strings.HasPrefix(reply, "234") {
			conn = tls.Server(conn, config)
			in = bufio.NewReader(conn)
		}
	}
}

// takeOff ends TLS and gives what is below. The client says nothing in clear until it has our close_notify, so nothing of that
// is read here.
func takeOff(c *tls.Conn) net.Conn {
	_, _ = c.Read(make([]byte, 1)) // its close_notify
	_ = c.CloseWrite()
	below := c.NetConn()
	_ = below.SetDeadline(time.Time{}) // CloseWrite leaves one in the past
	return below
}

// heard is everything that clients sent, as it was after decryption.
func (f *fake) heard() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.received.String()
}
