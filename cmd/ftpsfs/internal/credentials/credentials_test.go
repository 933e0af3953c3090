package credentials

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

type fakeKeyring map[string]string

func (k fakeKeyring) Get(_ context.Context, user, host string, port int) (string, error) {
	if p, ok := k[entry(user, host, port)]; ok {
		return p, nil
	}
	return "", ErrNotFound
}

type fakeTerminal struct {
	answer   string
	question *string
}

func (t fakeTerminal) Ask(_ context.Context, q string, secret bool) (string, error) {
	if !secret {
		return "", errors.New("the password would be shown")
	}
	*t.question = q
	return t.answer, nil
}

func write(t *testing.T, dir, name string, mode os.FileMode, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(p, mode); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOrder takes the sources away one by one, from the first in line to the last.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"HOME": dir, "CREDENTIALS_DIRECTORY": dir}
	var asked string
	r := Request{
		Host: "host", Port: 21, User: "joe", Password: "url", HasPass: true,
		PasswordFile: write(t, dir, "pw", 0o600, "file\r\nrest"), EnvPassword: "env",
		Askpass: write(t, dir, "ask", 0o700, "#!/bin/sh\necho \"asked $1\"\n"),
		Getenv:  func(k string) string { return env[k] }, Keyring: fakeKeyring{"joe@host:21": "ring"},
		Terminal: fakeTerminal{"tty", &asked}, Certificate: true,
	}
	write(t, dir, "ftpsfs.host", 0o600, "unit of host\n")
	write(t, dir, "ftpsfs.password", 0o600, "unit")
	write(t, dir, ".netrc", 0o600, "machine other login joe password no\nmachine HOST login joe password netrc account acc\n")
	steps := []struct {
		want, source string
		without      func()
	}{
		{"url", "the URL", func() { r.HasPass = false }},
		{"file", "password_file", func() { r.PasswordFile = "" }},
		{"env", "FTPSFS_PASSWORD", func() { r.EnvPassword = "" }},
		{"unit of host", "systemd credential ftpsfs.host", func() { os.Remove(filepath.Join(dir, "ftpsfs.host")) }},
		{"unit", "systemd credential ftpsfs.password", func() { delete(env, "CREDENTIALS_DIRECTORY") }},
		{"netrc", ".netrc", func() { os.Remove(filepath.Join(dir, ".netrc")) }},
		{"ring", "keyring", func() { r.Keyring = fakeKeyring{} }},
		{"asked Password for joe@host: ", "askpass", func() { r.Askpass = "" }},
		{"", "client certificate", func() { r.Certificate = false }},
		{"tty", "terminal", func() { r.Terminal = nil }},
	}
	for _, s := range steps {
		f, err := Find(t.Context(), r)
		if err != nil || string(f.Password) != s.want || f.User != "joe" || !strings.Contains(f.Source, s.source) {
			t.Fatalf("want %q from %s: %q from %q, %v", s.want, s.source, string(f.Password), f.Source, err)
		}
		if f.HasPassword != (s.want != "") {
			t.Errorf("%s: HasPassword %v", f.Source, f.HasPassword)
		}
		if shown := fmt.Sprintf("%v %+v %#v", f, f, f); s.want != "" && strings.Contains(shown, "Password:\""+s.want) {
			t.Errorf("the password is printed: %s", shown)
		}
		s.without()
	}
	if asked != "Password for joe@host: " {
		t.Errorf("asked %q", asked)
	}
	_, err := Find(t.Context(), r)
	if exitcode.Of(err) != exitcode.Mount || !strings.Contains(err.Error(), "password_file=FILE") {
		t.Errorf("nothing left: %v", err)
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	env := func(k string) string { return map[string]string{"HOME": dir}[k] }
	base := Request{Host: "host", Port: 21, User: "joe", Getenv: env}
	cases := []struct {
		name   string
		change func(r *Request)
		want   string
		code   int
	}{
		{"file of mode 644", func(r *Request) { r.PasswordFile = write(t, dir, "open", 0o644, "x\n") }, "can be read or changed by others (mode 0644); run chmod 600", 1},
		{"file of mode 620", func(r *Request) { r.PasswordFile = write(t, dir, "group", 0o620, "x\n") }, "chmod 600", 1},
		{"no such file", func(r *Request) { r.PasswordFile = filepath.Join(dir, "none") }, "no such file", 1},
		{"empty file", func(r *Request) { r.PasswordFile = write(t, dir, "empty", 0o600, "\nsecond\n") }, "first line is empty", 1},
		{"folder", func(r *Request) { r.PasswordFile = dir }, "is a folder", 1},
		{"nobody for the file's password", func(r *Request) { r.User, r.PasswordFile = "", write(t, dir, "pw", 0o600, "x\n") }, "no user for it", 1},
		{"NUL in a password", func(r *Request) { r.PasswordFile = write(t, dir, "nul", 0o600, "a\x00b\n") }, "FTP cannot carry", 1},
		{"netrc of mode 644", func(r *Request) {
			r.Netrc = write(t, dir, "netrc", 0o644, "machine host login joe password geheim")
		}, "chmod 600", 1},
		{"netrc given and not there", func(r *Request) { r.Netrc = filepath.Join(dir, "none") }, "netrc", 1},
		{"netrc with a line break", func(r *Request) {
			r.Netrc = write(t, dir, "broken", 0o600, "machine host login joe password \"a\nDELE x\"")
		}, "FTP cannot carry", 1},
		{"askpass fails", func(r *Request) { r.Askpass = write(t, dir, "fails", 0o700, "#!/bin/sh\nexit 3\n") }, "exit status 3", 32},
		{"askpass is silent", func(r *Request) { r.Askpass = write(t, dir, "silent", 0o700, "#!/bin/sh\n") }, "printed no password", 32},
		{"askpass is not there", func(r *Request) { r.Askpass = filepath.Join(dir, "none") }, "no such file", 32},
	}
	for _, c := range cases {
		r := base
		c.change(&r)
		_, err := Find(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), c.want) || exitcode.Of(err) != c.code {
			t.Errorf("%s: %v (exit %d), want %q (exit %d)", c.name, err, exitcode.Of(err), c.want, c.code)
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the password is shown", c.name)
		}
	}
}

// TestOpenNetrcOfOthers: a readable netrc without an entry for this server is nobody's problem.
func TestOpenNetrcOfOthers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, ".netrc", 0o644, "machine other login joe password x")
	r := Request{Host: "host", User: "joe", Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] },
		Keyring: fakeKeyring{"joe@host:0": "ring"}}
	if f, err := Find(t.Context(), r); err != nil || f.Password != "ring" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAnonymousAndNetrcUser(t *testing.T) {
	dir := t.TempDir()
	r := Request{Host: "host", Port: 21, EnvPassword: "of somebody", Getenv: func(k string) string { return map[string]string{"HOME": dir}[k] }}
	if f, err := Find(t.Context(), r); err != nil || f.User != "anonymous" || f.Password != "ftpsfs@" {
		t.Errorf("%+v, %v", f, err)
	}
	write(t, dir, ".netrc", 0o600, "default login ann password x")
	if f, err := Find(t.Context(), r); err != nil || f.User != "ann" || f.Password != "x" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestParseNetrc(t *testing.T) {
	text := "# machine comment password no\n" +
		"machine a login u password #notacomment # but this is\naccount acc\n" +
		"macdef init\nmachine evil login x password y\nquit\n\n" +
		"machine b\n\tlogin \"u v\"\n\tpassword \"p\\\"q\\\\\"\r\n" +
		"machine c login only\n" +
		"machine a login second password two\n" +
		"default login d password e\nmachine never login x password y"
	want := []machine{
		{"a", "u", "#notacomment", "acc", true},
		{"b", "u v", `p"q\`, "", true},
		{"c", "only", "", "", false},
		{"a", "second", "two", "", true},
		{"", "d", "e", "", true},
	}
	got := parseNetrc(text)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for _, c := range []struct{ host, user, want string }{
		{"a", "", "#notacomment"}, {"a", "second", "two"}, {"A", "u", "#notacomment"}, {"a", "third", ""}, {"x", "", "e"}, {"c", "only", ""},
	} {
		if m, _ := pick(got, c.host, c.user); m.password != c.want {
			t.Errorf("%s@%s: %q, want %q", c.user, c.host, m.password, c.want)
		}
	}
}

func FuzzParseNetrc(f *testing.F) {
	f.Add("machine a login u password \"p\\\"\" account x macdef init\na\n\n default login d password")
	f.Add("machine")
	f.Add("macdef\r\n\r\nmachine x")
	f.Fuzz(func(t *testing.T, s string) {
		for _, m := range parseNetrc(s) {
			if m.password != "" && !m.hasPassword {
				t.Fatalf("%q: %+v", s, m)
			}
		}
	})
}

func TestKeyringWithoutSession(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus")
	if p, err := (Desktop{}).Get(t.Context(), "joe", "host", 21); err == nil {
		t.Errorf("got %q from no keyring", p)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := (Desktop{}).Get(t.Context(), "joe", "host", 21); !errors.Is(err, ErrNotFound) {
		t.Errorf("no session: %v", err)
	}
}
