package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// The test binary plays the child: TestMain runs the part that its last argument names.
func TestMain(m *testing.M) {
	if part, ok := parts[os.Args[len(os.Args)-1]]; ok {
		part()
		return
	}
	os.Exit(m.Run())
}

type hello struct{ Secret string }

var parts = map[string]func(){
	"child-ready": func() {
		var h hello
		p, err := FromParent(&h)
		if err != nil || h.Secret != "geheim" {
			os.Exit(3)
		}
		if sid, _ := unix.Getsid(0); sid != os.Getpid() {
			p.Fail("no session of its own", 9)
			return
		}
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, envChannel) {
				p.Fail("the environment still names the channel", 9)
			}
		}
		p.Warn("a\nwarning")
		p.Ready()
	},
	"child-fails": func() {
		p, _ := FromParent(&hello{})
		p.Fail("the server said\r\nno", exitcode.Mount)
		os.Exit(exitcode.Mount)
	},
	"child-dies":  func() { panic("child-dies") },
	"child-exits": func() {},
	"child-asks": func() {
		p, _ := FromParent(&hello{})
		open, err := p.Ask(context.Background(), "Open?", false)
		hidden, err2 := p.Ask(context.Background(), "Hidden?", true)
		p.Fail(fmt.Sprint(open, hidden, err, err2), 7)
	},
	"child-waits": func() {
		p, _ := FromParent(&hello{})
		p.Warn("waiting")
		<-p.Gone()
	},
	"child-too-late": func() {
		p, _ := FromParent(&hello{})
		p.Warn("almost ready")
		<-p.Gone()
		p.Ready()
	},
	"scrub": func() {
		var s hello
		if again, err := Scrubbed(&s); again || err != nil {
			cmdline, _ := os.ReadFile("/proc/self/cmdline")
			environ, _ := os.ReadFile("/proc/self/environ")
			fds, _ := filepath.Glob("/proc/self/fd/*")
			fmt.Printf("%s\n%q\n%q\n%d %v\n", s.Secret, cmdline, environ, len(fds), err)
			return
		}
		err := Scrub([]string{os.Args[0], "clean", "scrub"}, []string{"WITH_SECRET"}, hello{os.Getenv("WITH_SECRET") + os.Args[1]})
		fmt.Println(err)
	},
}

type terminal struct{}

func (terminal) Ask(_ context.Context, q string, secret bool) (string, error) {
	if secret {
		return "", errors.New("no secrets here")
	}
	return "yes to " + q, nil
}

func child(part string, stderr *bytes.Buffer) Child {
	return Child{Args: []string{os.Args[0], part}, Env: os.Environ(), Hello: hello{"geheim"}, Terminal: terminal{}, Stderr: stderr}
}

func TestStart(t *testing.T) {
	cases := []struct {
		part, want string // want is part of the error; "" for success
		code       int
	}{
		{"child-ready", "", 0},
		{"child-fails", "the server said no", exitcode.Mount},
		{"child-dies", "died before the mount was ready: exit status 2; run it again with -f", exitcode.Mount},
		{"child-exits", "died before the mount was ready: it ended by itself", exitcode.Mount},
		{"child-asks", "yes to Open?<nil> no secrets here", 7},
	}
	for _, c := range cases {
		var stderr bytes.Buffer
		err := child(c.part, &stderr).Start(t.Context())
		if c.want == "" {
			if err != nil || stderr.String() != "a warning\n" {
				t.Errorf("%s: %v, terminal %q", c.part, err, stderr.String())
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || exitcode.Of(err) != c.code {
			t.Errorf("%s: %v (exit %d), want %q (exit %d)", c.part, err, exitcode.Of(err), c.want, c.code)
		}
	}
}

// TestInterrupted: when the parent gives up the child notices, and nothing is left behind. A child that was ready by then is
// not lost.
func TestInterrupted(t *testing.T) {
	for part, want := range map[string]string{"child-waits": "interrupted", "child-too-late": ""} {
		ctx, cancel := context.WithCancel(t.Context())
		c := child(part, nil)
		c.Stderr = writerFunc(func([]byte) { cancel() })
		err := c.Start(ctx)
		if want == "" && err != nil || want != "" && (exitcode.Of(err) != exitcode.Mount || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", part, err)
		}
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestNoParent(t *testing.T) {
	if p, err := FromParent(&hello{}); p != nil || err != nil {
		t.Errorf("%v, %v", p, err)
	}
}

// TestScrub: the secret arrives, and neither the arguments nor the environment of the process show it.
func TestScrub(t *testing.T) {
	cmd := exec.Command(os.Args[0], "inargv", "scrub")
	cmd.Env = append(os.Environ(), "WITH_SECRET=inenv-")
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) < 4 || lines[0] != "inenv-inargv" {
		t.Fatalf("%v: %s", err, out)
	}
	if rest := strings.Join(lines[1:], "\n"); strings.Contains(rest, "inenv") || strings.Contains(rest, "inargv") || !strings.Contains(rest, "clean") {
		t.Errorf("shown: %s", rest)
	}
}

func TestNotify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "n")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	Notify("READY=1", "MAINPID=7")
	b := make([]byte, 100)
	if err := l.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := l.Read(b)
	if err != nil || string(b[:n]) != "READY=1\nMAINPID=7" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestLogFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	begun := 0
	l, err := OpenLog(name, 10, func(*os.File) error { begun++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, s := range []string{"12345678\n", "a\n", "b\n", "this is longer than the limit\n", "c\n"} {
		if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatal(n, err)
		}
	}
	now, _ := os.ReadFile(name)
	before, _ := os.ReadFile(name + ".1")
	if string(now) != "c\n" || string(before) != "this is longer than the limit\n" || begun != 4 {
		t.Errorf("%q, %q, begun %d times", now, before, begun)
	}
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}

// TestMessagesHoldNoMoreThanOneLine: what a child says cannot fake another message.
func TestMessagesHoldNoMoreThanOneLine(t *testing.T) {
	b, err := json.Marshal(message{Warn: "x\n{\"ready\":true}"})
	if err != nil || bytes.ContainsRune(b, '\n') {
		t.Errorf("%s, %v", b, err)
	}
}
