package pool

import (
	"io"
	"testing"
	"time"
)

// vsftpdFake greets as a server that reads no command during a transfer.
func vsftpdFake(t *testing.T) *fake {
	f := newFake(t)
	f.greeting(func(int) string { return "220 (vsFTPd 3.0.3)" })
	return f
}

// storeSmall uploads "content" as name and gives the outcome.
func storeSmall(t *testing.T, e *env, name string, a Attrs) (FinishResult, error) {
	t.Helper()
	u, err := e.Upload(e.ctx, name, UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, "content"); err != nil {
		t.Fatal(err)
	}
	return u.Finish(e.ctx, Finish{Size: 7, Attrs: a})
}

// commandWaits waits until the next command has arrived, without reading it.
func (c *fakeConn) commandWaits() bool {
	_ = c.Conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer c.Conn.SetReadDeadline(time.Time{})
	_, err := c.br.Peek(1)
	return err == nil
}

// storeBehindQuestions takes one upload and says the replies when something was asked behind it.
func storeBehindQuestions(t *testing.T, f *fake, replies ...string) func(*fakeConn, string, string) bool {
	return once("STOR", func(c *fakeConn, arg string) bool {
		s, _ := c.receive()
		f.put(arg, s)
		if !c.commandWaits() {
			t.Error("nothing was asked ahead of the final reply")
		}
		for _, r := range replies {
			c.say("%s", r)
		}
		return true
	})
}

// The file is asked about before the server has said that the upload is complete.
func TestVerificationBehindTheData(t *testing.T) {
	f := vsftpdFake(t)
	e := connectFake(t, f, func(c *Config) { c.MaxConns = 1 })
	f.script(storeBehindQuestions(t, f, "226 stored"))
	res, err := storeSmall(t, e, "/f", Attrs{})
	if err != nil || !res.Verified || res.Entry.Size != 7 || f.sent("SIZE /f") != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err = storeSmall(t, e, "/g", Attrs{}); err != nil || !res.Verified || f.connections() != 1 {
		t.Errorf("the next one on the same connection: %+v, %v, %d connections", res, err, f.connections())
	}
}

// What was asked ahead tells nothing of an upload that failed, and changes nothing that stands in the way of another attempt.
func TestRefusalWithQuestionsBehind(t *testing.T) {
	f := vsftpdFake(t)
	e := connectFake(t, f)
	full := func(c *fakeConn, arg string) bool {
		s, _ := c.receive()
		f.put(arg, s)
		c.say("451 Failure writing to local file.")
		return true
	}
	f.script(once("STOR", full))
	_, err := storeSmall(t, e, "/f", Attrs{})
	wantKind(t, "451", err, KindNoSpace)
	f.script(once("STOR", full))
	readOnly := uint32(0o444)
	_, err = storeSmall(t, e, "/f", Attrs{Mode: &readOnly})
	wantKind(t, "451", err, KindNoSpace)
	if n := f.sent("SITE CHMOD"); n != 0 {
		t.Errorf("%d times the mode of a file that was not stored was set", n)
	}
	if res, err := storeSmall(t, e, "/f", Attrs{}); err != nil || !res.Verified {
		t.Errorf("the next attempt: %+v, %v", res, err)
	}
}

// vsftpd has no command for the time of a folder: nothing is sent, also before the time of a file was set.
func TestFolderTimeOnVsftpd(t *testing.T) {
	f := vsftpdFake(t)
	e := connectFake(t, f)
	before := e.Stats().Waits
	err := e.SetAttrs(e.ctx, "/", true, Attrs{ModTime: &probeTime})
	wantKind(t, "a folder's time", err, KindUnsupported)
	if n := e.Stats().Waits - before; n != 0 {
		t.Errorf("%d waits for an answer that is known", n)
	}
}
