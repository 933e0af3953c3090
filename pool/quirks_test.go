package pool

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// What a session found out of the server behind its login is known to later sessions, and to later mounts.
func TestQuirkIsRemembered(t *testing.T) {
	f := newFake(t)
	f.put("/a", "content")
	f.script(func(c *fakeConn, verb, _ string) bool {
		switch verb {
		case "EPSV":
			c.say("500 EPSV not understood")
		case "PASV":
			c.passivePASV()
		default:
			return false
		}
		return true
	})
	file := filepath.Join(t.TempDir(), "learned.json")
	keep := func(c *Config) { c.LearnedFile, c.MaxConns = file, 2 }
	e := connectFake(t, f, keep)
	if err := readAll(e, "/a", "content"); err != nil {
		t.Error(err)
	}
	if asked := f.sent("EPSV"); asked != 1 {
		t.Errorf("EPSV was sent %d times", asked)
	}
	e.retireAll()
	if err := readAll(e, "/a", "content"); err != nil {
		t.Error(err)
	}
	for kept := false; !kept; time.Sleep(time.Millisecond) { // before the end of the mount
		data, _ := os.ReadFile(file)
		kept = strings.Contains(string(data), "no_epsv")
		if e.ctx.Err() != nil {
			t.Fatalf("not kept: %s", data)
		}
	}
	again := connectFake(t, f, keep)
	if err := readAll(again, "/a", "content"); err != nil {
		t.Error(err)
	}
	if asked := f.sent("EPSV"); asked != 1 {
		t.Errorf("EPSV was sent %d times", asked)
	}
}

// A server that knows no PASV either is asked for EPSV again: what it said was about that moment.
func TestQuirkThatWasNone(t *testing.T) {
	f := newFake(t)
	f.put("/a", "content")
	var busy atomic.Bool
	busy.Store(true)
	f.script(func(c *fakeConn, verb, _ string) bool {
		refused := verb == "PASV" || verb == "EPSV" && busy.Load()
		if refused {
			c.say("500 not now")
		}
		return refused
	})
	e := connectFake(t, f)
	if err := readAll(e, "/a", "content"); err == nil {
		t.Error("read without a data channel")
	}
	busy.Store(false)
	if err := readAll(e, "/a", "content"); err != nil {
		t.Error(err)
	}
}

// Sessions that began before another one found something out do not make it forgotten.
func TestQuirksOfSeveralSessions(t *testing.T) {
	m := openMemory("", "h:21", nil)
	m.learnServer("h:21 a", session.Quirks{}, session.Quirks{MLSTFacts: "type;size"})
	m.learnQuirks(session.Quirks{}, session.Quirks{NoEPSV: true})
	m.learnQuirks(session.Quirks{}, session.Quirks{LateClientHello: true})
	m.learnServer("h:21 a", session.Quirks{}, session.Quirks{SerialLogin: true, MLSTFacts: "type;size"})
	want := session.Quirks{SerialLogin: true, LateClientHello: true, NoEPSV: true, MLSTFacts: "type;size"}
	if got := m.quirks(); got != want {
		t.Errorf("known: %+v", got)
	}
	m.learnQuirks(want, session.Quirks{})
	if got := m.quirks(); got != (session.Quirks{}) {
		t.Errorf("known: %+v", got)
	}
}
