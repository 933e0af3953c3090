//go:build linux

package mount_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path"
	"strings"
	"testing"
	"time"
)

// dataPort is where all data connections of a fake come in, so that a relay can stand before it. One client connection at
// a time can use it: mounts take max_conns=1.
type dataPort struct {
	port int
	came chan net.Conn
}

func newDataPort(t *testing.T) *dataPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dataPort{port: l.Addr().(*net.TCPAddr).Port, came: make(chan net.Conn, 64)}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
		d.forget()
	})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.came <- conn
		}
	}()
	return d
}

// forget drops connections that no transfer followed.
func (d *dataPort) forget() {
	for {
		select {
		case c := <-d.came:
			c.Close()
		default:
			return
		}
	}
}

const factsTime = "type=file;size=%d;modify=20200102030405; %s"

// answer does one command of a session and gives the final reply.
func (f *fake) answer(line string, say func(string), s script, config *tls.Config, data *dataPort) string {
	verb, arg, _ := strings.Cut(line, " ")
	name := path.Base(arg)
	f.mu.Lock()
	content, there := f.files[name]
	f.mu.Unlock()
	switch verb {
	case "FEAT":
		return "211-Features\r\n EPSV\r\n SIZE\r\n MLST type*;size*;modify*;\r\n MLSD\r\n211 End"
	case "EPSV":
		data.forget()
		return fmt.Sprintf("229 here (|||%d|)", data.port)
	case "SIZE":
		if there {
			return fmt.Sprintf("213 %d", len(content))
		}
		return "550 no such file"
	case "MLST":
		switch {
		case arg == "" || arg == "/":
			return "250-\r\n type=dir;modify=20200102030405; /\r\n250 End"
		case there:
			return "250-\r\n " + fmt.Sprintf(factsTime, len(content), arg) + "\r\n250 End"
		}
		return "550 no such file"
	case "MLSD", "RETR", "STOR":
		return f.transfer(verb, name, say, s, config, data)
	case "CWD", "NOOP", "CCC":
		return "250 ok"
	}
	return "500 not known"
}

// transfer uses the next data connection. One that is not protected reads whatever comes.
func (f *fake) transfer(verb, name string, say func(string), s script, config *tls.Config, data *dataPort) string {
	var conn net.Conn
	select {
	case conn = <-data.came:
	case <-time.After(20 * time.Second):
		return "425 nobody called"
	}
	defer conn.Close()
	say("150 go on")
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs ends
	plain := strings.Contains(s.plain, verb)
	if !plain {
		c := tls.Server(conn, config)
		defer c.Close()
		if s.strict != nil && !s.strict.resumed(c) {
			return "425 Unable to build data connection: TLS session of data connection not resumed."
		}
		conn = c
	}
	f.mu.Lock()
	content := f.files[name]
	var list strings.Builder
	for n, b := range f.files {
		fmt.Fprintf(&list, factsTime+"\r\n", len(b), n)
	}
	f.mu.Unlock()
	switch verb {
	case "STOR":
		if plain {
			_, _ = io.WriteString(conn, "in clear, please") // the client may be gone
		}
		b, err := io.ReadAll(conn)
		if err != nil {
			return "426 cut"
		}
		f.mu.Lock()
		f.files[name] = b
		f.mu.Unlock()
	case "RETR":
		_, _ = conn.Write(content)
	case "MLSD":
		if s.list != nil {
			w := bufio.NewWriterSize(conn, 64<<10)
			s.list(w)
			_ = w.Flush() // the client may have had enough
			break
		}
		_, _ = io.WriteString(conn, list.String())
	}
	return "226 done"
}
