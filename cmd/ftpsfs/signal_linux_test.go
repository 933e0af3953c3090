package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// separateServer runs `ftpsfs demo --serve` as a process of its own, which can be stopped.
func (l *lab) separateServer(args ...string) (*exec.Cmd, demoServer) {
	l.t.Helper()
	cmd := l.command(append([]string{"demo", "--serve", "--root", l.root}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		in.Close()
		_ = cmd.Wait()
	})
	var s demoServer
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &s) != nil {
		l.t.Fatalf("%q, %v", line, err)
	}
	return cmd, s
}

// passwordOf writes the password of a demo server into a file.
func (l *lab) passwordOf(s demoServer) string {
	l.t.Helper()
	name := filepath.Join(l.dir, "demo-password")
	if err := os.WriteFile(name, []byte(s.Password+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// TestSecondSignal: when the server has stopped answering, the second signal ends the process, which says what was left.
func TestSecondSignal(t *testing.T) {
	l := newLab(t)
	server, s := l.separateServer()
	f := l.startForeground("-f", s.URL, l.mnt, "-o", "timeout=1h,cacert="+s.CA+",password_file="+l.passwordOf(s))
	open, err := os.Create(filepath.Join(l.mnt, "left"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.WriteString("12345"); err != nil {
		t.Fatal(err)
	}
	if err := server.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- open.Close() }()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		if err := f.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if code := f.end(t); code != 2 || !strings.Contains(f.log.String(), "not on the server: /left (5 bytes") {
		t.Errorf("exit %d: %s", code, f.log)
	}
	if err := <-closed; err == nil {
		t.Error("close() said that the server has the file")
	}
}

// TestSignalWhileConnecting: who gives up need not wait for a server that does not answer.
func TestSignalWhileConnecting(t *testing.T) {
	l := newLab(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, mode := range [][]string{nil, {"-f"}} {
		cmd := l.command(append(mode, "ftps://joe@"+silent.Addr().String()+"/", l.mnt, "-o", "connect_timeout=1h,"+l.options())...)
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if cmd.ProcessState.ExitCode() != 32 || errOut.String() != "ftpsfs: interrupted\n" {
			t.Errorf("%v: %v, %q", mode, cmd.ProcessState, errOut.String())
		}
		// The background process gave up, too: its end of the connection is closed.
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v: the connection is still there: %v", mode, err)
		}
		conn.Close()
	}
}

// TestDemoServe: the server that tests use can be told what to be.
func TestDemoServe(t *testing.T) {
	l := newLab(t)
	_, s := l.separateServer("--implicit", "--tls-max", "1.2", "--addr", "127.0.0.1:0")
	if s.Root != l.root || s.User == "" || len(s.Password) < 20 {
		t.Errorf("%+v", s)
	}
	r := l.must("check", s.URL, "--json", "-o", "tls=implicit,cacert="+s.CA+",password_file="+l.passwordOf(s))
	var c checkResult
	if err := json.Unmarshal([]byte(r.out), &c); err != nil || !c.OK || !c.Implicit || c.TLSVersion != "TLS 1.2" || !c.DataProtected || !c.ControlProtected {
		t.Errorf("%v: %s", err, r.out)
	}
}

// TestCheck: exit status 0 only if a mount would work.
func TestCheck(t *testing.T) {
	l := newLab(t)
	r := l.must("check", l.url(testUser), "-o", l.options())
	for _, want := range []string{"TLS 1.3", "pin=sha256:", "encrypted", "ports seen: ", "works"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing in\n%s", want, r.out)
		}
	}
	for _, args := range [][]string{{l.url(testUser), "-o", "password_file=" + l.passwordFile()}, {l.url("joe:wrong"), "-o", "cacert=" + l.ca}, {l.url(testUser) + "none", "-o", l.options()}} {
		r := l.run(append([]string{"check", "--json"}, args...)...)
		var c checkResult
		if err := json.Unmarshal([]byte(r.out), &c); err != nil || r.code != 32 || c.OK || c.Error == "" {
			t.Errorf("%q: exit %d, %v, %s%s", args, r.code, err, r.out, r.err)
		}
	}
}
