package session_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// fake is a server that misbehaves as its fields say. Its zero value, with a certificate, is one that lets everybody in.
type fake struct {
	greeting string                     // "": 220; "silent": none
	replies  map[string]string          // by verb or whole command; "" closes the connection, "in clear: " says something beside TLS first; without an entry: the usual
	first    map[string]string          // the same, on the first connection only
	wait     map[string]<-chan struct{} // by verb: it is answered when that is closed
	implicit bool
	tls      *tls.Config
	data     func(f *fake, verb string, nc net.Conn) // serves the data connection of a transfer; nil: content, then close_notify
	nosy     bool                                    // reads commands in the middle of a transfer and answers them at once, as ProFTPD does
	early    func(nc net.Conn) bool                  // looks at the data connection before the command was handled; false: close it

	ln net.Listener
	wg sync.WaitGroup

	mu        sync.Mutex
	clear     bytes.Buffer // every byte that came in clear on control connections
	cmds      []string     // commands received
	conns     int
	dataConns int
	open      []io.Closer
	ended     bool
}

const content = "the content of a file"

func (f *fake) start(t *testing.T, cert lab.Cert) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.ln = ln
	if f.tls == nil {
		f.tls = &tls.Config{}
	}
	f.tls.Certificates = []tls.Certificate{cert.TLS}
	f.wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.track(nc)
			f.wg.Go(func() { f.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		f.mu.Lock()
		f.ended = true
		for _, c := range f.open {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
}

// track has c closed at the end of the test, which may be now: a command can be read from a buffer behind it.
func (f *fake) track(c io.Closer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		_ = c.Close()
	}
	f.open = append(f.open, c)
}

// tap records what comes in clear until TLS begins.
type tap struct {
	net.Conn
	f *fake
}

func (c tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.f.mu.Lock()
	c.f.clear.Write(p[:n])
	c.f.mu.Unlock()
	return n, err
}

// control is one control connection of the fake.
type control struct {
	f    *fake
	nth  int // connection
	raw  net.Conn
	nc   net.Conn
	br   *bufio.Reader
	peer chan net.Conn // accepted data connections
	prot string
}

func (f *fake) serve(raw net.Conn) {
	f.mu.Lock()
	f.conns++
	nth := f.conns
	f.mu.Unlock()
	c := &control{f: f, nth: nth, raw: raw, nc: tap{raw, f}}
	defer func() { _ = raw.Close() }()
	if f.implicit {
		c.prot = "P"
		if !c.secure() {
			return
		}
	}
	c.br = bufio.NewReader(c.nc)
	switch f.greeting {
	case "":
		c.say("220 fake ready")
	case "silent":
	default:
		_, _ = io.WriteString(c.nc, f.greeting)
	}
	for {
		line, err := c.br.ReadString('\n')
		if err != nil || !c.handle(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

func (c *control) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.nc, format+"\r\n", args...)
}

func (c *control) secure() bool {
	s := tls.Server(c.raw, c.f.tls)
	if s.Handshake() != nil {
		return false
	}
	c.nc, c.br = s, bufio.NewReader(s)
	return true
}

// handle answers one command; false ends the connection.
func (c *control) handle(cmd string) bool {
	verb, arg, _ := strings.Cut(cmd, " ")
	if until := c.f.wait[verb]; until != nil {
		<-until
	}
	c.f.mu.Lock()
	c.f.cmds = append(c.f.cmds, cmd)
	scripted, ok := c.f.replies[cmd]
	if !ok {
		scripted, ok = c.f.replies[verb]
	}
	if once, is := c.f.first[verb]; is && c.nth == 1 {
		scripted, ok = once, true
	}
	c.f.mu.Unlock()
	if ok {
		if scripted == "" {
			return false
		}
		if words, dying := strings.CutPrefix(scripted, "in clear: "); dying {
			_, _ = io.WriteString(c.raw, words+"\r\n")
			return false
		}
		_, _ = io.WriteString(c.nc, scripted+"\r\n")
		if strings.HasPrefix(scripted, "234") {
			return c.secure()
		}
		return true
	}
	return c.usual(verb, arg)
}

func (c *control) usual(verb, arg string) bool {
	switch verb {
	case "AUTH":
		c.say("234 go")
		return c.secure()
	case "USER":
		c.say("331 password")
	case "PASS":
		c.say("230 in")
	case "FEAT":
		c.say("211-Features:\r\n EPSV\r\n PRET\r\n UTF8\r\n MLST type*;size*;modify*;unix.mode;\r\n211 End")
	case "PWD":
		c.say(`257 "/ho""me" is here`)
	case "CCC":
		c.say("200 clear")
		if s, ok := c.nc.(*tls.Conn); ok {
			_, _ = io.Copy(io.Discard, s) // the client goes on in clear only after our close_notify
			_ = s.CloseWrite()
			_ = c.raw.SetDeadline(time.Time{})
			c.nc = tap{c.raw, c.f}
			c.br = bufio.NewReader(c.nc)
		}
	case "PROT":
		c.prot = arg
		c.say("200 ok")
	case "EPSV", "PASV":
		c.passive(verb)
	case "EPRT", "PORT":
		c.active(verb, arg)
	case "REST":
		c.say("350 from there")
	case "RETR", "STOR", "MLSD":
		c.transfer(verb)
	case "QUIT":
		c.say("221 bye")
		return false
	default:
		c.say("200 ok")
	}
	return true
}

func (c *control) passive(verb string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.say("425 %v", err)
		return
	}
	c.f.track(ln)
	c.peer = make(chan net.Conn, 1)
	peer := c.peer
	c.f.wg.Go(func() {
		defer func() { _ = ln.Close() }()
		if nc, err := ln.Accept(); err == nil {
			c.f.track(nc)
			c.f.mu.Lock()
			c.f.dataConns++
			c.f.mu.Unlock()
			if c.f.early != nil && !c.f.early(nc) {
				_ = nc.(*net.TCPConn).SetLinger(0)
				_ = nc.Close()
			}
			peer <- nc
		}
	})
	port := ln.Addr().(*net.TCPAddr).Port
	if verb == "EPSV" {
		c.say("229 Extended passive (|||%d|)", port)
		return
	}
	c.say("227 Passive (192,0,2,1,%d,%d).", port>>8, port&255) // an address that nobody should call
}

func (c *control) active(verb, arg string) {
	var port int
	if verb == "EPRT" {
		_, _ = fmt.Sscanf(arg, "|1|127.0.0.1|%d|", &port)
	} else {
		var hi, lo int
		_, _ = fmt.Sscanf(arg, "127,0,0,1,%d,%d", &hi, &lo)
		port = hi<<8 | lo
	}
	c.peer = make(chan net.Conn, 1)
	nc, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		c.say("425 %v", err)
		return
	}
	c.f.track(nc)
	c.peer <- nc
	c.say("200 ok")
}

func (c *control) transfer(verb string) {
	if c.peer == nil {
		c.say("425 say EPSV first")
		return
	}
	var nc net.Conn
	peer := c.peer
	c.peer = nil
	select {
	case nc = <-peer:
	case <-time.After(5 * time.Second):
		c.say("425 no data connection")
		return
	}
	c.say("150 here it comes")
	if c.prot == "P" {
		s := tls.Server(nc, c.f.tls)
		if s.Handshake() != nil {
			_ = nc.Close()
			c.say("425 TLS failed")
			return
		}
		nc = s
	}
	switch {
	case c.f.data != nil:
		c.f.data(c.f, verb, nc)
	case verb == "STOR":
		_, _ = io.Copy(io.Discard, nc)
	default:
		_, _ = io.WriteString(nc, content)
	}
	_ = nc.Close()
	if c.f.nosy {
		c.interrupted()
	}
	c.say("226 done")
}

// interrupted answers a command that comes within a moment.
func (c *control) interrupted() {
	_ = c.nc.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if line, err := c.br.ReadString('\n'); err == nil {
		c.say("450 %s: data transfer in progress", strings.TrimSpace(line))
	}
	_ = c.nc.SetReadDeadline(time.Time{})
}

// seen gives the commands received so far, and whether s stands in any of them or in what came in clear.
func (f *fake) seen(s string) (inClear, inCommands bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Contains(f.clear.Bytes(), []byte(s)), strings.Contains(strings.Join(f.cmds, "\n"), s)
}

func (f *fake) count(cmd string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.cmds {
		if c == cmd || strings.HasPrefix(c, cmd+" ") {
			n++
		}
	}
	return n
}

const user, password = "joe-the-user", "open-sesame"

func (f *fake) config(ca *lab.Authority) session.Config {
	a := f.ln.Addr().(*net.TCPAddr)
	c := session.Config{
		Host: "localhost", Port: a.Port, User: user, Trust: trust.Config{CACert: ca.File},
		Password: fixed(password), Timeout: 5 * time.Second, ConnectTimeout: 5 * time.Second,
		Dial: dialLoopback,
	}
	if f.implicit {
		c.TLS = session.TLSImplicit
	}
	return c
}
