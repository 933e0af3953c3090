package pool

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// proftpdFake greets as a server that reads commands during a transfer.
func proftpdFake(t *testing.T, options ...func(*Config)) (*fake, *env) {
	f := newFake(t)
	f.greeting(func(int) string { return "220 ProFTPD Server (fake)" })
	return f, connectFake(t, f, append(options, func(c *Config) { c.MaxConns = 1 })...)
}

// questions are what is asked behind an upload to the fake: SIZE, MLST, SIZE of the name in the other case, EPSV.
const questions = 4

// storeAnswering takes one upload, waits until something is asked, gives the replies to as many commands, and says end then. The
// server ends the data channel behind that. A reply "" is none.
func storeAnswering(t *testing.T, f *fake, end string, replies ...string) func(*fakeConn, string, string) bool {
	return once("STOR", func(c *fakeConn, arg string) bool {
		d := c.data()
		if d == nil {
			return true
		}
		b, err := io.ReadAll(d)
		if f.put(arg, string(b)); err != nil {
			t.Error(err)
		}
		if !c.commandWaits() {
			t.Error("nothing was asked ahead of the end")
		}
		for _, r := range replies {
			cmd, _ := c.br.ReadString('\n')
			f.note(cmd)
			if r == "" {
				continue
			}
			if c.say("%s", r); !strings.HasPrefix(cmd, "SIZE") && !strings.HasPrefix(cmd, "MLST") && !strings.HasPrefix(cmd, "EPSV") {
				t.Errorf("%q was asked", cmd)
			}
		}
		c.say("%s", end)
		d.Close()
		return true
	})
}

// during are the answers of a server to questions in the middle of the transfer: not what the file has in the end.
var during = []string{"213 3", "250-Begin\r\n type=file;size=3;modify=20200101000000; /f\r\n250 End", "550 no such file", "450 busy"}

// Questions behind the data are answered by the server when it is through with them, in the round trip of the upload's end. Where it answers
// some in the middle of the transfer those are not believed: all are asked again, and the session goes on.
func TestVerificationAheadOfTheEnd(t *testing.T) {
	for n := range questions + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f, e := proftpdFake(t)
			f.script(storeAnswering(t, f, "226 stored", during[:n]...))
			want := 2
			if n == 0 {
				want = 1
			}
			res, err := storeSmall(t, e, "/f", Attrs{})
			if err != nil || !res.Verified || res.Entry.Size != 7 || f.sent("SIZE /f") != want {
				t.Errorf("%+v, %v, asked %d times", res, err, f.sent("SIZE /f"))
			}
			if res, err = storeSmall(t, e, "/g", Attrs{}); err != nil || !res.Verified || f.connections() != 1 {
				t.Errorf("the next one on the same connection: %+v, %v, %d connections", res, err, f.connections())
			}
		})
	}
}

// An upload that is refused in the end is refused, whatever was answered ahead of that, and the session goes on.
func TestRefusalBehindAnswers(t *testing.T) {
	for n := range questions + 1 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f, e := proftpdFake(t)
			f.script(storeAnswering(t, f, "552 Quota exceeded", during[:n]...))
			_, err := storeSmall(t, e, "/f", Attrs{})
			wantKind(t, "552", err, KindQuota)
			if res, err := storeSmall(t, e, "/f", Attrs{}); err != nil || !res.Verified || f.connections() != 1 {
				t.Errorf("the next attempt: %+v, %v, %d connections", res, err, f.connections())
			}
		})
	}
}

// A server that swallows commands during a transfer costs the session and not the upload.
func TestQuestionsSwallowed(t *testing.T) {
	f, e := proftpdFake(t, func(c *Config) { c.Timeout = 500 * time.Millisecond })
	f.script(storeAnswering(t, f, "226 stored", "", "", "", ""))
	if res, err := storeSmall(t, e, "/f", Attrs{}); err != nil || !res.Verified || f.connections() != 2 {
		t.Errorf("%+v, %v, %d connections", res, err, f.connections())
	}
}

// A server that hangs up behind its refusal has refused.
func TestRefusalAndNoMore(t *testing.T) {
	f, e := proftpdFake(t)
	f.script(once("STOR", func(c *fakeConn, arg string) bool {
		d := c.data()
		if d == nil {
			return true
		}
		defer d.Close()
		b, _ := io.ReadAll(d)
		f.put(arg, string(b))
		if !c.commandWaits() {
			t.Error("nothing was asked ahead of the end")
		}
		c.say("552 Quota exceeded")
		return c.cut()
	}))
	_, err := storeSmall(t, e, "/f", Attrs{})
	wantKind(t, "552", err, KindQuota)
}

// A server that answers everything but the upload has not said that it stored it.
func TestNoEndOfTheUpload(t *testing.T) {
	f, e := proftpdFake(t)
	f.script(storeAnswering(t, f, "213 3", "213 3", "213 3", "213 3", "229 ok (|||1|)"))
	u, err := e.Upload(e.ctx, "/f", UploadOptions{Mode: UploadAt}) // its size proves nothing
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, "content"); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Finish(e.ctx, Finish{Size: 7}); err == nil {
		t.Error("it was called stored")
	}
}

// What wins nothing is not done for ever.
func TestTurns(t *testing.T) {
	var turns turns
	for _, step := range []struct {
		kept, missed int64
		bad          bool
	}{{0, badTurns - 1, false}, {0, 1, true}, {badTurns, 0, false}, {0, 1, true}} {
		turns.kept.Add(step.kept)
		turns.missed.Add(step.missed)
		if turns.bad() != step.bad {
			t.Errorf("%d kept, %d missed: bad %v", turns.kept.Load(), turns.missed.Load(), turns.bad())
		}
	}
	f, e := proftpdFake(t)
	e.turns.missed.Store(badTurns)
	if res, err := storeSmall(t, e, "/f", Attrs{}); err != nil || !res.Verified || f.sent("SIZE /f") != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	(&turns).note(&session.Data{})
	if turns.kept.Load() != badTurns {
		t.Error("an upload with nothing behind it counts")
	}
}
