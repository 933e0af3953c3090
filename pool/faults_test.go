package pool

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// once runs an action for the first command with a verb.
func once(verb string, action func(c *fakeConn, arg string) bool) func(*fakeConn, string, string) bool {
	var done atomic.Bool
	return func(c *fakeConn, v, arg string) bool {
		return v == verb && !done.Swap(true) && action(c, arg)
	}
}

func TestLostConnectionIsReplaced(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := connectFake(t, f)
	for what, try := range map[string]struct {
		verb string
		run  func() error
	}{
		"stat": {"MLST", func() error { _, err := e.Stat(e.ctx, "/f"); return err }},
		"list": {"MLSD", func() error { _, err := e.List(e.ctx, "/"); return err }},
		"read": {"RETR", func() error { return readAll(e, "/f", "content") }},
		"attr": {"MFMT", func() error {
			err := e.SetAttrs(e.ctx, "/f", false, Attrs{ModTime: &probeTime})
			if KindOf(err) == KindUnsupported { // the fake has no MFMT: it said so on the second connection
				return nil
			}
			return err
		}},
	} {
		f.script(once(try.verb, func(c *fakeConn, _ string) bool { return c.cut() }))
		if err := try.run(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := e.Stats().Retries; n < 4 {
		t.Errorf("%d retries counted", n)
	}
}

func readAll(e *env, name, want string) error {
	d, err := e.Download(e.ctx, name, DownloadOptions{Length: -1, Size: -1})
	if err != nil {
		return err
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	if err == nil && string(b) != want {
		err = errors.New("read " + string(b))
	}
	return err
}

// A change whose reply was lost is looked at, not repeated.
func TestChangeIsSettled(t *testing.T) {
	for _, carriedOut := range []bool{true, false} {
		f := newFake(t)
		f.put("/a", "1")
		f.put("/b", "22")
		e := connectFake(t, f)
		cutAt := func(verb string) {
			f.script(once(verb, func(c *fakeConn, arg string) bool {
				if carriedOut {
					before := c.Conn
					c.Conn = discard{before}
					c.answer(verb, arg)
					c.Conn = before
				}
				return c.cut()
			}))
		}
		wantSent := 2
		if carriedOut {
			wantSent = 1
		}
		for _, try := range []struct {
			verb string
			run  func() error
		}{
			{"MKD", func() error { return e.Mkdir(e.ctx, "/newdir") }},
			{"DELE", func() error { return e.Remove(e.ctx, "/b") }},
			{"RNTO", func() error { return e.Rename(e.ctx, "/a", "/c") }},
			{"RMD", func() error { return e.Rmdir(e.ctx, "/newdir") }},
		} {
			if try.verb == "RMD" {
				f.put("/newdir", "")
			}
			cutAt(try.verb)
			if err := try.run(); err != nil {
				t.Errorf("%s, carried out %v: %v", try.verb, carriedOut, err)
			}
			if n := f.sent(try.verb); n != wantSent {
				t.Errorf("%s, carried out %v: sent %d times, want %d", try.verb, carriedOut, n, wantSent)
			}
		}
		if s, ok := f.file("/c"); !ok || s != "1" {
			t.Errorf("/c = %q, %v", s, ok)
		}
	}
}

// What the server had received before a connection was lost it may carry out behind our look at what became of it: the refusal of the
// second attempt is then no failure.
func TestChangeIsCarriedOutLate(t *testing.T) {
	for _, try := range []struct {
		lost, again, refusal string // again is the first command of an attempt
		run                  func(e *env) error
	}{
		{"MKD", "MKD", "550 newdir: File exists", func(e *env) error { return e.Mkdir(e.ctx, "/newdir") }},
		{"DELE", "DELE", "550 b: No such file or directory", func(e *env) error { return e.Remove(e.ctx, "/b") }},
		{"RNTO", "RNFR", "550 a: No such file or directory", func(e *env) error { return e.Rename(e.ctx, "/a", "/c") }},
		{"RMD", "RMD", "550 d: No such file or directory", func(e *env) error { return e.Rmdir(e.ctx, "/d") }},
	} {
		t.Run(try.lost, func(t *testing.T) {
			f := newFake(t)
			for _, name := range []string{"/a", "/b", "/d"} {
				f.put(name, "")
			}
			e := connectFake(t, f)
			var lost string // what the lost command was about; the connections are served one after the other
			f.script(func(c *fakeConn, verb, arg string) bool {
				switch {
				case verb == try.lost && lost == "":
					lost = arg
					return c.cut()
				case verb == try.again && lost != "":
					before := c.Conn
					c.Conn = discard{before}
					if verb == "RNFR" {
						c.answer(verb, arg)
					}
					c.answer(try.lost, lost)
					c.Conn = before
					c.say("%s", try.refusal)
					return true
				case verb == "RNTO" && lost != "":
					c.say("503 RNFR first")
					return true
				}
				return false
			})
			if err := try.run(e); err != nil {
				t.Errorf("%v", err)
			}
			if n := f.sent(try.again); n != 2 {
				t.Errorf("%s was sent %d times, want 2", try.again, n)
			}
		})
	}
}

func TestLostFinalReply(t *testing.T) {
	for name, c := range map[string]struct {
		keep int // bytes that arrive, of 7
		want Kind
	}{"all there": {7, KindOther}, "cut short": {3, KindNetwork}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			e := connectFake(t, f)
			f.script(once("STOR", func(fc *fakeConn, arg string) bool {
				s, _ := fc.receive()
				f.put(arg, s[:c.keep])
				return fc.cut()
			}))
			u, err := e.Upload(e.ctx, "/f", UploadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(u, "content"); err != nil {
				t.Fatal(err)
			}
			res, err := u.Finish(e.ctx, Finish{Size: 7})
			if c.want != KindOther {
				wantKind(t, "Finish", err, c.want)
			} else if err != nil || !res.Verified || res.Entry.Size != 7 {
				t.Errorf("Finish = %+v, %v", res, err)
			}
		})
	}
}

func TestRefusedUploads(t *testing.T) {
	for reply, want := range map[string]Kind{
		"451 Failure writing to local file.":                                     KindNoSpace,
		"452 /f: No space left on device":                                        KindNoSpace,
		"451 /f: Input/output error":                                             KindNoSpace,
		"552 Transfer aborted. Disk quota exceeded":                              KindQuota,
		"426 Failure reading network stream.":                                    KindNetwork,
		"550 something else":                                                     KindIncomplete,
		"451-Error during write to file\r\n451 0.001 seconds (measured here)":    KindNoSpace,
		"226-File successfully transferred\r\n226 0.000 seconds (measured here)": KindOther,
		"250 Requested file action okay.":                                        KindOther,
		"553 Can't open that file: Permission denied":                            KindPermission,
		"451 /f: Append/Restart not permitted, try again":                        KindUnsupported,
		"550 /f: Overwrite permission denied":                                    KindExists,
	} {
		f := newFake(t)
		e := connectFake(t, f)
		f.script(once("STOR", func(c *fakeConn, arg string) bool {
			s, _ := c.receive()
			f.put(arg, s)
			c.say("%s", reply)
			return true
		}))
		u, err := e.Upload(e.ctx, "/f", UploadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(u, "content"); err != nil {
			t.Fatal(err)
		}
		_, err = u.Finish(e.ctx, Finish{Size: 7})
		if want == KindOther {
			if err != nil {
				t.Errorf("%s: %v", reply, err)
			}
			continue
		}
		wantKind(t, reply, err, want)
	}
}

func TestSessionReuseRefused(t *testing.T) {
	const refusal = "522 SSL connection failed: session reuse required"
	t.Run("cured by a fresh connection", func(t *testing.T) {
		f := newFake(t)
		f.put("/f", "content")
		e := connectFake(t, f)
		first := f.connections()
		f.script(func(c *fakeConn, verb, _ string) bool {
			if c.n > first || verb != "MLSD" && verb != "RETR" {
				return false
			}
			c.say(refusal)
			return true
		})
		if _, err := e.List(e.ctx, "/"); err != nil {
			t.Error(err)
		}
		if err := readAll(e, "/f", "content"); err != nil {
			t.Error(err)
		}
	})
	t.Run("told in words", func(t *testing.T) {
		f := newFake(t)
		e := connectFake(t, f)
		f.script(func(c *fakeConn, verb, _ string) bool {
			if verb != "MLSD" {
				return false
			}
			c.say(refusal)
			return true
		})
		_, err := e.List(e.ctx, "/")
		wantKind(t, "List", err, KindTLSPolicy)
		var pe *Error
		if !errors.As(err, &pe) || !strings.Contains(pe.Advice, "tls_max") {
			t.Errorf("no advice in %v", err)
		}
		if n := f.sent("MLSD"); n != 2 {
			t.Errorf("tried %d times, want 2", n)
		}
	})
	t.Run("an upload, behind the 150", func(t *testing.T) {
		f := newFake(t)
		e := connectFake(t, f)
		f.script(func(c *fakeConn, verb, _ string) bool {
			if verb != "STOR" {
				return false
			}
			_, _ = c.receive()
			c.say(refusal)
			return true
		})
		for _, want := range []Kind{KindNetwork, KindTLSPolicy} { // worth another try, then not any more
			u, err := e.Upload(e.ctx, "/f", UploadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = u.Finish(e.ctx, Finish{Size: 0})
			wantKind(t, "Finish", err, want)
		}
	})
}

func TestFrozenServer(t *testing.T) {
	f := newFake(t)
	e := connectFake(t, f, func(c *Config) { c.Timeout = 300 * time.Millisecond })
	f.script(func(_ *fakeConn, verb, _ string) bool { return verb == "MLST" || verb == "MLSD" })
	begin := time.Now()
	_, err := e.Stat(e.ctx, "/f")
	wantKind(t, "Stat", err, KindTimeout)
	_, err = e.List(e.ctx, "/")
	wantKind(t, "List", err, KindTimeout)
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("took %v", took)
	}
	f.script(nil)
	if _, err := e.Stat(e.ctx, "/"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestGarbage(t *testing.T) {
	f := newFake(t)
	f.put("/f", "content")
	e := connectFake(t, f)
	f.script(once("MLST", func(c *fakeConn, _ string) bool { c.say("\x00\x01garbage"); return true }))
	if _, err := e.Stat(e.ctx, "/f"); err != nil {
		t.Errorf("once: %v", err)
	}
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "MLST" {
			c.say("garbage for ever")
		}
		return verb == "MLST"
	})
	_, err := e.Stat(e.ctx, "/f")
	wantKind(t, "for ever", err, KindProtocol)
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "MLSD" {
			c.send("type=file;size=1; ../x\r\ntype=file;size=1; /etc/passwd\r\ntype=file;size=1; \r\ntype=file;size=1; a\x00b\r\n" +
				"type=file;size=1; ..\r\ntype=file;size=1;modify=20200101000000; good\r\n")
		}
		return verb == "MLSD"
	})
	l, err := e.List(e.ctx, "/")
	if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != "good" {
		t.Errorf("hostile names: %+v, %v", l, err)
	}
}

// A download that was cut off is answered with 426, with 226, late, or not at all; none of it may reach the next caller.
func TestAbortedDownloads(t *testing.T) {
	for name, final := range map[string]string{"426": "426 broken", "226": "226 sent", "150 as the last": "150 0.001 seconds", "426 then 226": "426 broken\r\n226 done"} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.put("/f", "content")
			e := connectFake(t, f)
			f.script(once("RETR", func(c *fakeConn, _ string) bool {
				d := c.data()
				chunk := strings.Repeat("x", 1<<16)
				for {
					if _, err := io.WriteString(d, chunk); err != nil {
						break
					}
				}
				d.Close()
				c.say("%s", final)
				return true
			}))
			d, err := e.Download(e.ctx, "/f", DownloadOptions{Length: -1, Size: -1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(d, make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			d.Close()
			for range 3 {
				if err := readAll(e, "/f", "content"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestCutInTheMiddleOfADownload(t *testing.T) {
	for name, o := range map[string]DownloadOptions{
		"size known":   {Length: -1, Size: 1000},
		"size unknown": {Length: -1, Size: -1},
	} {
		f := newFake(t)
		f.put("/f", "content")
		e := connectFake(t, f)
		f.script(once("RETR", func(c *fakeConn, _ string) bool {
			d := c.data()
			_, _ = io.WriteString(d, "half")
			_ = d.NetConn().Close() // no close_notify
			c.say("226 sent")
			return true
		}))
		d, err := e.Download(e.ctx, "/f", o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(d)
		if string(b) != "half" {
			t.Errorf("%s: read %q", name, b)
		}
		wantKind(t, name, err, KindIncomplete)
		d.Close()
	}
}

// A server whose STAT lists nothing, or something else, is asked by LIST, and by STAT never again.
func TestStatThatListsNothing(t *testing.T) {
	for _, said := range []string{"211-fake\r\n nothing\r\n211 end", "213-\r\n-rw-r--r-- 1 a b 3 Jan 01 2020 only\r\n213 end", "450 no such file"} {
		f := newFake(t)
		f.put("/a", "abc")
		f.script(func(c *fakeConn, verb, _ string) bool {
			switch verb {
			case "FEAT":
				c.say("211-fake\r\n EPSV\r\n SIZE\r\n MDTM\r\n211 end")
			case "CWD":
				c.say("250 there")
			case "STAT":
				c.say("%s", said)
			case "LIST":
				c.send("drwxr-xr-x 2 a b 4096 Jan 01 2020 .\r\n-rw-r--r-- 1 a b 3 Jan 01 2020 a\r\n")
			default:
				return false
			}
			return true
		})
		e := connectFake(t, f)
		for range 3 {
			l, err := e.List(e.ctx, "/")
			if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != "a" {
				t.Fatalf("%q: %+v, %v", said, l, err)
			}
		}
		if n := f.sent("STAT"); n != 1 {
			t.Errorf("%q: asked %d times", said, n)
		}
	}
}

// TestTargetsSurviveALostDataConnection: where links point comes with a second listing, and a data connection that fails
// there is no reason to say that the server does not tell.
func TestTargetsSurviveALostDataConnection(t *testing.T) {
	f := newFake(t)
	e := connectFake(t, f)
	var lists atomic.Int64
	f.script(func(c *fakeConn, verb, _ string) bool {
		switch verb {
		case "MLSD":
			c.send("type=dir; .\r\ntype=OS.unix=symlink;size=1;modify=20200101000000; link\r\n")
		case "CWD":
			c.say("250 there")
		case "LIST":
			if lists.Add(1) == 1 {
				c.say("425 Can't open data connection")
				return true
			}
			c.send("lrwxrwxrwx 1 u g 1 Jan  1  2020 link -> target\r\n")
		default:
			return false
		}
		return true
	})
	if got, err := e.Readlink(e.ctx, "/link"); err != nil || got != "target" {
		t.Errorf("Readlink = %q, %v", got, err)
	}
}

// TestHostMoves: the name of the host is asked for again with each connection, so a server that moved is found at its new
// address, data channels too.
func TestHostMoves(t *testing.T) {
	old, moved := newFake(t), newFake(t)
	moved.tls, moved.ca = old.tls, old.ca // the same host, so the same certificate
	for _, f := range []*fake{old, moved} {
		f.put("/f", "content")
	}
	var names atomic.Pointer[fake]
	names.Store(old)
	var asked atomic.Int32
	e := connectFake(t, old, func(c *Config) {
		c.Session.Host = "localhost"
		name := net.JoinHostPort("localhost", strconv.Itoa(c.Session.Port))
		c.Session.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == name { // data channels go to the address that the control connection has
				asked.Add(1)
				address = names.Load().ln.Addr().String()
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	if err := readAll(e, "/f", "content"); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	names.Store(moved)
	old.stop()
	moved.put("/f", "content there")
	if err := readAll(e, "/f", "content there"); err != nil {
		t.Error(err)
	}
	if asked.Load() == before || moved.connections() == 0 {
		t.Error("nobody asked where the host is now")
	}
}

// A server that ends its session in the middle of a folder ends TLS in order: what came until then is not the listing.
func TestListingThatWasCutShortInOrder(t *testing.T) {
	for name, end := range map[string]func(c *fakeConn){
		"session": func(c *fakeConn) { c.cut() },
		"refusal": func(c *fakeConn) { c.say("426 Transfer aborted. Data connection closed") },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.put("/a", "1")
			f.put("/b", "2")
			e := connectFake(t, f)
			if l, err := e.List(e.ctx, "/"); err != nil || len(l.Entries) != 2 {
				t.Fatalf("%+v, %v", l, err)
			}
			f.script(once("MLSD", func(c *fakeConn, _ string) bool {
				if d := c.data(); d != nil {
					_, _ = io.WriteString(d, "type=cdir; .\r\ntype=file;size=1; a\r\n")
					d.Close()
				}
				end(c)
				return true
			}))
			l, err := e.List(e.ctx, "/")
			if err != nil || len(l.Entries) != 2 {
				t.Errorf("%+v, %v", l, err)
			}
			if n := f.sent("MLSD"); n < 3 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

// TestRefusalForTheMomentIsNoAbsence: what is refused for the moment, or named as something else than was asked for, is there
// if its folder says so.
func TestRefusalForTheMomentIsNoAbsence(t *testing.T) {
	for _, said := range []string{"450 data transfer in progress", "451 try again", "550 /a: not a regular file"} {
		f := newFake(t)
		f.put("/a", "abc")
		e := connectFake(t, f)
		f.script(func(c *fakeConn, verb, arg string) bool {
			if verb == "MLST" {
				c.say("%s", said)
			}
			return verb == "MLST"
		})
		if got, err := e.Stat(e.ctx, "/a"); err != nil || got.Type != TypeFile {
			t.Errorf("%q: %+v, %v", said, got, err)
		}
		_, err := e.Stat(e.ctx, "/b")
		wantKind(t, said, err, KindNotFound)
	}
}

// TestFirstListingCut: a data connection that somebody cuts is no end of a listing, also when nothing is known of the server yet.
// One that never says more than the end of the connection is believed in the end.
func TestFirstListingCut(t *testing.T) {
	for name, tt := range map[string]struct {
		cut   int64 // listings
		asked int
	}{"first": {1, 2}, "always": {100, 3}} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.put("/a", "1")
			f.put("/b", "2")
			var cuts atomic.Int64
			f.script(func(c *fakeConn, verb, _ string) bool {
				if cuts.Load() == tt.cut || verb != "MLSD" {
					return false
				}
				cuts.Add(1)
				if d := c.data(); d != nil {
					_, _ = io.WriteString(d, "type=cdir; .\r\ntype=file;size=1; a\r\n")
					if tt.cut > 1 {
						_, _ = io.WriteString(d, "type=file;size=1; b\r\n")
					}
					_ = d.NetConn().Close() // no close_notify
				}
				c.say("226 done")
				return true
			})
			e := connectFake(t, f)
			l, err := e.List(e.ctx, "/")
			if err != nil || len(l.Entries) != 2 {
				t.Errorf("%+v, %v", l, err)
			}
			if n := f.sent("MLSD"); n != tt.asked {
				t.Errorf("asked %d times", n)
			}
			if _, err := e.List(e.ctx, "/"); err != nil || f.sent("MLSD") != tt.asked+1 {
				t.Errorf("once it is known: %v, asked %d times", err, f.sent("MLSD")-tt.asked)
			}
		})
	}
}

// TestContinuationIsNotRepeatedBlindly: a connection that was lost at the start of a continuation is replaced when the file is as
// it was. Otherwise the caller has to look how much there is.
func TestContinuationIsNotRepeatedBlindly(t *testing.T) {
	for _, mode := range []UploadMode{UploadAt, UploadAppend} {
		for _, left := range []string{"0123456789", "01234", ""} {
			f := newFake(t)
			f.put("/a", "0123456789")
			e := connectFake(t, f)
			verb := map[UploadMode]string{UploadAt: "STOR", UploadAppend: "APPE"}[mode]
			f.script(once(verb, func(c *fakeConn, arg string) bool {
				f.put(arg, left)
				if left == "" {
					f.mu.Lock()
					delete(f.files, arg)
					f.mu.Unlock()
				}
				return c.cut()
			}))
			u, err := e.Upload(e.ctx, "/a", UploadOptions{Mode: mode, Offset: 10})
			want := 1
			if len(left) == 10 {
				want = 2 // what becomes of it is not the question: the fake knows no APPE
				if err == nil {
					u.Abort()
				}
			} else {
				wantKind(t, verb+" of what is not there any more", err, KindIncomplete)
			}
			if n := f.sent(verb); n != want {
				t.Errorf("%s with %q left: sent %d times", verb, left, n)
			}
		}
	}
}
