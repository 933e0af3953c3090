package pool

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
)

// text is a small file, of which a server may have sent the half.
var text = strings.Repeat("0123456789abcdef", 64)

// whole asks for all of it.
var whole = DownloadOptions{Length: -1, Size: int64(len(text))}

func sender(t *testing.T, during func(c *fakeConn, d io.WriteCloser) bool) (*fake, *env) {
	return porter(t, "RETR", map[string]string{"/a": text, "/b": strings.ToUpper(text)}, during)
}

func readSmall(e *env, name string) (string, error) {
	d, err := e.Download(e.ctx, name, whole)
	if err != nil {
		return "", err
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	return string(b), err
}

// inStep checks that files and questions get their own answers.
func inStep(t *testing.T, e *env) {
	t.Helper()
	for range 2 {
		for name, want := range map[string]string{"/a": text, "/b": strings.ToUpper(text)} {
			if got, err := readSmall(e, name); err != nil || got != want {
				t.Errorf("%s behind it: %d bytes, %v", name, len(got), err)
			}
			if found, err := e.Stat(e.ctx, name); err != nil || found.Size != whole.Size {
				t.Errorf("a question behind it: %+v, %v", found, err)
			}
		}
	}
}

// The next port is asked for while a small file is on its way. Whatever the server says to that and when, the file is whole or it is not,
// by its own size, and the session goes on.
func TestPortDuringADownload(t *testing.T) {
	send := func(c *fakeConn, d io.WriteCloser, content, end string) {
		fmt.Fprint(d, content)
		d.Close()
		c.say("%s", end)
	}
	port := func(c *fakeConn) { c.takeCommand(fmt.Sprintf("229 ok (|||%d|)", c.listen())) }
	cut := func(d io.WriteCloser) { _ = d.(*tls.Conn).NetConn().Close() } // without TLS's end
	for name, tt := range map[string]struct {
		during func(c *fakeConn, d io.WriteCloser)
		kind   Kind // of the failure, 0: none
		missed int64
	}{
		"in turn": {func(c *fakeConn, d io.WriteCloser) { send(c, d, text, "226 done") }, 0, 0},
		"in turn, refused": {func(c *fakeConn, d io.WriteCloser) {
			send(c, d, text, "226 done")
			c.takeCommand("425 not now")
		}, 0, 0},
		"busy, ahead of the data": {func(c *fakeConn, d io.WriteCloser) {
			c.takeCommand("450 busy")
			send(c, d, text, "226 done")
		}, 0, 1},
		"busy, in the middle of the data": {func(c *fakeConn, d io.WriteCloser) {
			fmt.Fprint(d, text[:100])
			c.takeCommand("450 busy")
			send(c, d, text[100:], "226 done")
		}, 0, 1},
		"a port in the middle of the data": {func(c *fakeConn, d io.WriteCloser) {
			fmt.Fprint(d, text[:100])
			port(c)
			send(c, d, text[100:], "226 done")
		}, 0, 1},
		"the file is shorter": {func(c *fakeConn, d io.WriteCloser) { send(c, d, text[:100], "226 done") }, KindIncomplete, 0},
		"shorter, busy": {func(c *fakeConn, d io.WriteCloser) {
			c.takeCommand("450 busy")
			send(c, d, text[:100], "226 done")
		}, KindIncomplete, 1},
		"shorter, a port": {func(c *fakeConn, d io.WriteCloser) {
			port(c)
			send(c, d, text[:100], "226 done")
		}, KindIncomplete, 1},
		"the file is longer":     {func(c *fakeConn, d io.WriteCloser) { send(c, d, text+text, "226 done") }, 0, 0},
		"refused behind the 150": {func(c *fakeConn, d io.WriteCloser) { send(c, d, "", "426 no") }, KindIncomplete, 0},
		"cut": {func(c *fakeConn, d io.WriteCloser) {
			fmt.Fprint(d, text[:100])
			cut(d)
			c.say("426 broken")
		}, KindIncomplete, 0},
		"cut, busy": {func(c *fakeConn, d io.WriteCloser) {
			fmt.Fprint(d, text[:100])
			c.takeCommand("450 busy")
			cut(d)
			c.say("426 broken")
		}, KindIncomplete, 1},
		"cut, a port": {func(c *fakeConn, d io.WriteCloser) {
			fmt.Fprint(d, text[:100])
			port(c)
			cut(d)
			c.say("426 broken")
		}, KindIncomplete, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, e := sender(t, func(c *fakeConn, d io.WriteCloser) bool {
				tt.during(c, d)
				return true
			})
			got, err := readSmall(e, "/a")
			if tt.kind == 0 && (err != nil || got != text) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if tt.kind != 0 {
				wantKind(t, "read", err, tt.kind)
			}
			if !strings.HasPrefix(text, got) {
				t.Errorf("read %q", got)
			}
			inStep(t, e)
			if n, st := f.connections(), e.Stats(); n != 1 || st.PortsRefused != tt.missed || st.PortsAhead < 1 {
				t.Errorf("%d connections were made; asked for %d ports ahead, %d out of turn", n, st.PortsAhead, st.PortsRefused)
			}
		})
	}
}

// A small file that is given up leaves the connection in step or ends it, whatever the server says to what was asked meanwhile.
func TestDownloadGivenUpBehindAPort(t *testing.T) {
	for name, tt := range map[string]struct {
		said  []string // in place of the end, the reply to the request for a port among it
		conns int
	}{
		"in turn":                {[]string{"426 cut off", "229 ok (|||9|)"}, 1},
		"during the download":    {[]string{"450 busy", "426 cut off"}, 1},
		"the file's end comes":   {[]string{"226 done", "229 ok (|||9|)"}, 1},
		"a port, then the end":   {[]string{"229 ok (|||9|)", "226 done"}, 2}, // might be two answers to the download
		"answered twice":         {[]string{"426 cut off", "226 done", "229 ok (|||9|)"}, 2},
		"hung up":                {[]string{"426 cut off"}, 2},
		"refused behind the end": {[]string{"426 cut off", "425 not now"}, 2},
		"nothing but a port":     {[]string{"229 ok (|||9|)"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			given := make(chan struct{})
			f, e := sender(t, func(c *fakeConn, d io.WriteCloser) bool {
				fmt.Fprint(d, text[:100])
				<-given
				cmd, _ := c.br.ReadString('\n')
				c.f.note(cmd)
				for i, s := range tt.said {
					if i < 2 || c.commandWaits() { // behind two replies to two commands, when a third one was sent
						c.say("%s", s)
					}
				}
				return tt.conns == 1 || len(tt.said) > 1 || c.cut()
			})
			d, err := e.Download(e.ctx, "/a", whole)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			eventually(t, e, func(s Stats) bool { return s.Commands["EPSV"] == 2 })
			d.Close()
			close(given)
			inStep(t, e)
			if n := f.connections(); n != tt.conns {
				t.Errorf("%d connections were made, want %d", n, tt.conns)
			}
		})
	}
}

// The end goes ahead only of what is known to be short and is asked for whole, and only where that is known to be good.
func TestWhatEndsEarly(t *testing.T) {
	_, e := sender(t, nil)
	size := whole.Size
	for what, tt := range map[string]struct {
		o     DownloadOptions
		early bool
	}{
		"the whole file":                      {whole, true},
		"its end":                             {DownloadOptions{Offset: 10, Length: -1, Size: size}, true},
		"an end of a large file":              {DownloadOptions{Offset: 1 << 30, Length: -1, Size: 1<<30 + size}, true},
		"as much as may be":                   {DownloadOptions{Length: -1, Size: earlyMost}, true},
		"more":                                {DownloadOptions{Length: -1, Size: earlyMost + 1}, false},
		"of unknown length":                   {DownloadOptions{Length: -1, Size: -1}, false},
		"a beginning, which would be cut off": {DownloadOptions{Length: 10, Size: size}, false},
	} {
		want := tt.o.Length
		if want < 0 && tt.o.Size >= 0 {
			want = tt.o.Size - tt.o.Offset
		}
		asks := func(with func()) bool {
			if with != nil {
				with()
			}
			r := (&download{p: e.Pool, abs: "/a", o: tt.o, want: want}).request()
			if r.EarlyFIN != (r.NextAfter > 0) {
				t.Errorf("%s: %+v", what, r)
			}
			return r.EarlyFIN
		}
		if asks(nil) != tt.early {
			t.Errorf("%s: early %v", what, !tt.early)
		}
		known := e.server()
		other := func(change func(s *serverInfo)) func() {
			return func() {
				s := *known
				change(&s)
				e.Pool.srv.Store(&s)
			}
		}
		if ranges := asks(other(func(s *serverInfo) { s.rang = true })); ranges != (tt.early || tt.o.Length > 0) {
			t.Errorf("%s, with RANG: %v", what, ranges)
		}
		for with, doubt := range map[string]func(){
			"another server":              other(func(s *serverInfo) { s.proftpd = false }),
			"one that lists another way":  other(func(s *serverInfo) { s.linksLie = false }),
			"listings broke":              func() { e.finsFailed.Store(maxFINsFailed) },
			"downloads broke":             func() { e.endings.broken.Store(maxFINsFailed) },
			"it answers out of turn":      func() { e.fileTurns.missed.Store(badTurns) },
			"the server connects to here": func() { e.cfg.Session.Active = true },
		} {
			if asks(doubt) {
				t.Errorf("%s, %s: early", what, with)
			}
			e.Pool.srv.Store(known)
			e.finsFailed.Store(0)
			e.endings.broken.Store(0)
			e.fileTurns.missed.Store(0)
			e.cfg.Session.Active = false
		}
	}
}

// Where downloads break with their end ahead and the control connection lives on, the end stays behind; one that came is a new beginning.
func TestEndingsThatBreak(t *testing.T) {
	f, e := sender(t, func(c *fakeConn, d io.WriteCloser) bool {
		fmt.Fprint(d, text)
		d.Close()
		c.say("226 done")
		return true
	})
	if got, err := readSmall(e, "/a"); err != nil || got != text {
		t.Fatal(err)
	}
	var breaks atomic.Int32
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb != "RETR" || breaks.Load() == 0 {
			return false
		}
		breaks.Add(-1)
		d := c.data()
		fmt.Fprint(d, text[:100])
		_ = d.NetConn().Close()
		c.say("426 broken")
		return true
	})
	broken := func(want int32) {
		t.Helper()
		_, err := readSmall(e, "/a")
		wantKind(t, "cut", err, KindIncomplete)
		if n := e.endings.broken.Load(); n != want {
			t.Errorf("%d broken in a row, want %d", n, want)
		}
	}
	breaks.Store(1)
	broken(1)
	inStep(t, e)
	breaks.Store(2)
	broken(1)
	broken(2)
	if e.endsEarly(1) {
		t.Error("it goes on")
	}
	inStep(t, e)
}
