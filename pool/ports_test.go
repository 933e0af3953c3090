package pool

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// porter is a ProFTPD with these files that is asked for the next port during transfers of that command. during takes the first one, behind
// the 150 and once something was asked.
func porter(t *testing.T, verb string, files map[string]string, during func(c *fakeConn, d io.WriteCloser) bool) (*fake, *env) {
	f := newFake(t)
	f.greeting(func(int) string { return "220 ProFTPD Server (fake)" })
	for name, content := range files {
		f.put(name, content)
	}
	first := once(verb, func(c *fakeConn, _ string) bool {
		d := c.data()
		if d == nil || !c.commandWaits() {
			t.Error("nothing was asked ahead of the end")
			return c.cut()
		}
		defer d.Close()
		return during(c, d)
	})
	f.script(func(c *fakeConn, verb, arg string) bool {
		if verb == "FEAT" {
			c.say("211-Features:\r\n MLST type*;size*;modify*;\r\n MFF modify;\r\n MFMT\r\n SIZE\r\n MDTM\r\n211 End")
			return true
		}
		return first(c, verb, arg)
	})
	return f, connectFake(t, f, func(c *Config) { c.MaxConns = 1 })
}

func lister(t *testing.T, during func(c *fakeConn, d io.WriteCloser) bool) (*fake, *env) {
	return porter(t, "MLSD", map[string]string{"/a": "1", "/b": "2"}, during)
}

// half and rest are a listing.
const (
	half = "type=cdir; .\r\ntype=file;size=1;modify=20200101000000; a\r\n"
	rest = "type=file;size=1;modify=20200101000000; b\r\n"
)

// takeCommand reads the request for a port, and says reply to it.
func (c *fakeConn) takeCommand(reply string) {
	cmd, _ := c.br.ReadString('\n')
	if c.f.note(cmd); !strings.HasPrefix(cmd, "EPSV") {
		c.f.t.Errorf("%q was sent during a listing", cmd)
	}
	c.say("%s", reply)
}

// The next port is asked for while a listing is on its way. A server that is still in the middle of it says so, ahead of the listing's own
// end, which is found all the same; and is asked again.
func TestPortDuringAListing(t *testing.T) {
	for name, tt := range map[string]struct {
		during func(c *fakeConn, d io.WriteCloser) bool
		missed int64
	}{
		"in turn": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half+rest)
			d.Close()
			c.say("226 done")
			return true
		}, 0},
		"in turn, refused": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half+rest)
			d.Close()
			c.say("226 done")
			c.takeCommand("425 not now")
			return true
		}, 0},
		"ahead of the data": {func(c *fakeConn, d io.WriteCloser) bool {
			c.takeCommand("450 busy")
			fmt.Fprint(d, half+rest)
			d.Close()
			c.say("226 done")
			return true
		}, 1},
		"in the middle of the data": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half)
			c.takeCommand("450 busy")
			fmt.Fprint(d, rest)
			d.Close()
			c.say("226 done")
			return true
		}, 1},
		"a port in the middle of the data": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half)
			c.takeCommand(fmt.Sprintf("229 ok (|||%d|)", c.listen()))
			fmt.Fprint(d, rest)
			d.Close()
			c.say("226 done")
			return true
		}, 1},
		"a port ahead of a listing that breaks": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half)
			c.takeCommand(fmt.Sprintf("229 ok (|||%d|)", c.listen()))
			d.Close()
			c.say("426 broken")
			return true
		}, 1},
		"ahead of a listing that breaks": {func(c *fakeConn, d io.WriteCloser) bool {
			fmt.Fprint(d, half)
			c.takeCommand("450 busy")
			d.Close()
			c.say("426 broken")
			return true
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f, e := lister(t, tt.during)
			for range 3 {
				if l, err := e.List(e.ctx, "/"); err != nil || len(l.Entries) != 2 {
					t.Errorf("%+v, %v", l, err)
				}
				if _, err := e.Stat(e.ctx, "/a"); err != nil {
					t.Errorf("a question behind it: %v", err)
				}
			}
			if n, missed := f.connections(), e.portTurns.missed.Load(); n != 1 || missed != tt.missed {
				t.Errorf("%d connections were made, %d out of turn", n, missed)
			}
		})
	}
}

// A folder that is refused behind the 150 is refused, whatever was asked meanwhile.
func TestListingRefusedAheadOfAPort(t *testing.T) {
	f, e := lister(t, func(c *fakeConn, d io.WriteCloser) bool {
		d.Close()
		c.say("450 /: no such file or directory")
		return true
	})
	if l, err := e.listOnce(e.ctx, "list", "/"); err == nil {
		t.Errorf("listed as %+v", l)
	}
	if l, err := e.List(e.ctx, "/"); err != nil || len(l.Entries) != 2 || f.connections() != 1 {
		t.Errorf("then: %+v, %v, %d connections", l, err, f.connections())
	}
}

// A listing that is given up leaves the connection in step or ends it, whatever the server says to what was asked meanwhile.
func TestListingGivenUpBehindAPort(t *testing.T) {
	for name, tt := range map[string]struct {
		said  []string // in place of the end, the reply to the request for a port among it
		conns int
	}{
		"in turn":                 {[]string{"426 cut off", "229 ok (|||9|)"}, 1},
		"during the listing":      {[]string{"450 busy", "426 cut off"}, 1},
		"answered twice":          {[]string{"426 cut off", "226 done", "229 ok (|||9|)"}, 2},
		"hung up":                 {[]string{"426 cut off"}, 2},
		"refused behind the end":  {[]string{"426 cut off", "425 not now"}, 2}, // might be two answers to the listing
		"refused, and hung up":    {[]string{"450 busy"}, 2},
		"nothing but a port":      {[]string{"229 ok (|||9|)"}, 2},
		"the listing's end comes": {[]string{"226 done", "229 ok (|||9|)"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			given := make(chan struct{})
			f, e := lister(t, func(c *fakeConn, d io.WriteCloser) bool {
				fmt.Fprint(d, half)
				<-given
				cmd, _ := c.br.ReadString('\n')
				c.f.note(cmd)
				for i, s := range tt.said {
					if i < 2 || c.commandWaits() { // behind two replies to two commands, when a third one was sent
						c.say("%s", s)
					}
				}
				return tt.conns == 1 || len(tt.said) > 2 || c.cut()
			})
			b := e.newBudget(e.ctx)
			defer b.end()
			c, err := e.acquire(e.ctx, claim{lane: laneMeta})
			if err != nil {
				t.Fatal(err)
			}
			d, err := e.transfer(e.ctx, c, e.factsRequest("/"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			eventually(t, e, func(s Stats) bool { return s.Commands["EPSV"] == 2 })
			close(given)
			d.Abort()
			if dead := c.s.Poisoned(); (dead != nil) != (tt.conns == 2) {
				t.Errorf("the session: %v", dead)
			}
			e.release(c)
			if _, err := e.Stat(e.ctx, "/a"); err != nil {
				t.Errorf("a question behind it: %v", err)
			}
			if l, err := e.List(e.ctx, "/"); err != nil || len(l.Entries) != 2 {
				t.Errorf("a listing behind it: %+v, %v", l, err)
			}
			if n := f.connections(); n != tt.conns {
				t.Errorf("%d connections were made, want %d", n, tt.conns)
			}
		})
	}
}
