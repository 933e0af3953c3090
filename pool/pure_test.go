package pool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

func sessionFor(host string) session.Config { return session.Config{Host: host, User: "u"} }

func TestNewChecksItsConfiguration(t *testing.T) {
	for what, cfg := range map[string]Config{
		"no host":        {},
		"port":           {Session: session.Config{Host: "h", Port: 70000}},
		"negative limit": {Session: session.Config{Host: "h"}, MaxConns: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	p, err := New(Config{Session: session.Config{Host: "h", TLS: session.TLSImplicit}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.address() != "h:990" || p.cfg.MaxConns != defaultMaxConns || p.cfg.Timeout != defaultTimeout {
		t.Errorf("defaults: %s, %+v", p.address(), p.cfg)
	}
}

func TestBasePath(t *testing.T) {
	for _, c := range []struct{ home, root, want string }{
		{"", "", ""}, {"/", "", ""}, {"/", "/", ""}, {"/home/u", "", "/home/u"}, {"/home/u", "a/b/", "/home/u/a/b"},
		{"/home/u", "/srv", "/srv"}, {"/home/u", "/", ""}, {`/with "quotes"`, "x", `/with "quotes"/x`},
	} {
		if got := basePath(c.home, c.root); got != c.want {
			t.Errorf("basePath(%q, %q) = %q, want %q", c.home, c.root, got, c.want)
		}
	}
}

func TestPureFTPdNames(t *testing.T) {
	for name, mangled := range map[string]bool{
		"plain": false, " leading": false, "-dash": false, "ünïcode": false, "a b": false, "\xff\xfe": false, "a;b": false, "*": false,
		"trailing ": true, "tab\tbed": true, `back\slash`: true, "esc\x1b": true, "del\x7f": true,
	} {
		if got := manglesName(name); got != mangled {
			t.Errorf("manglesName(%q) = %v", name, got)
		}
	}
}

func TestRemotePaths(t *testing.T) {
	p, err := New(Config{Session: sessionFor("h"), Root: "/base"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if got, err := p.remote("x", "/a b/"); err != nil || got != "/base/a b" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, want := range map[string]Kind{
		"rel": KindInvalidName, "/a\rb": KindInvalidName, "/a\nb": KindInvalidName, "/a\x00b": KindInvalidName,
		"/a\xffb": KindInvalidName, "/" + strings.Repeat("x", 2000): KindNameTooLong,
	} {
		_, err := p.remote("x", name)
		wantKind(t, name[:min(len(name), 10)], err, want)
	}
}

func TestZoneOffset(t *testing.T) {
	exact := time.Date(2026, 6, 1, 12, 34, 56, 0, time.UTC)
	for _, c := range []struct {
		listed string
		want   time.Duration
		ok     bool
	}{
		{"12:34", 0, true}, {"14:34", 2 * time.Hour, true}, {"07:04", -(5*time.Hour + 30*time.Minute), true},
		{"18:19", 5*time.Hour + 45*time.Minute, true}, {"12:40", 0, false}, {"12:35", 0, true},
	} {
		listed, err := time.Parse("2006-01-02 15:04", "2026-06-01 "+c.listed)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := zoneOffset(listed, exact); ok != c.ok || ok && got != c.want {
			t.Errorf("%s: %v, %v, want %v, %v", c.listed, got, ok, c.want, c.ok)
		}
	}
	if _, ok := zoneOffset(exact.Add(20*time.Hour), exact); ok {
		t.Error("no zone is 20 hours off")
	}
}

func TestTargets(t *testing.T) {
	p, err := New(Config{Session: sessionFor("h"), Root: "/home/u"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, c := range []struct{ raw, dir, want string }{
		{"file", "/d", "file"}, {"../x", "/d", "../x"},
		{"/home/u/file", "/", "file"}, {"/home/u/file", "/a/b", "../../file"}, {"/home/u/a/x", "/a", "x"},
		{"/home/u", "/a/b", "../.."}, {"/home/u/", "/", "."}, {"/etc/passwd", "/", "/etc/passwd"},
		{"/home/u2/x", "/", "/home/u2/x"}, {"/home/u/../other", "/", "/home/u/../other"},
	} {
		if got := p.target(c.raw, c.dir); got != c.want {
			t.Errorf("target(%q, %q) = %q, want %q", c.raw, c.dir, got, c.want)
		}
	}
}

func TestReadLines(t *testing.T) {
	var got []string
	text := "one\r\ntwo\n\nlast without an end"
	if err := eachLine(strings.NewReader(text), 1000, func(s string) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"one", "two", "last without an end"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("x", 1<<20) + "\nnext\n"
	got = nil
	if err := eachLine(strings.NewReader(long), 2<<20, func(s string) { got = append(got, s) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || len(got[0]) != maxLine || got[1] != "next" {
		t.Errorf("a long line: %d lines", len(got))
	}
	for what, endless := range map[string]string{"lines": "x\n", "one line": "x"} {
		err := eachLine(&repeat{s: endless}, 1<<20, func(string) {})
		wantKind(t, "endless "+what, err, KindProtocol)
	}
}

// repeat gives the same for ever.
type repeat struct{ s string }

func (r *repeat) Read(p []byte) (int, error) {
	n := 0
	for n+len(r.s) <= len(p) {
		n += copy(p[n:], r.s)
	}
	return n, nil
}

var _ io.Reader = (*repeat)(nil)

func TestLimitArithmetic(t *testing.T) {
	var l limit
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	step := func(what string, want int) {
		t.Helper()
		if got := l.now(8, now); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	step("nothing learned", 8)
	l.full(3, true, now)
	step("three were open", 3)
	now = now.Add(firstGrowth)
	step("later one more", 4)
	l.full(3, true, now)
	now = now.Add(firstGrowth)
	step("not so soon the second time", 3)
	now = now.Add(firstGrowth)
	step("but then", 4)
	l.grew(4, 8)
	step("it worked: the next one", 5)
	l.grew(8, 8)
	step("all of them: forgotten", 8)
	l.full(0, true, now)
	step("never less than one", 1)
}

func TestRoom(t *testing.T) {
	for _, c := range []struct {
		held [lanes]int
		most int
		want [lanes]bool // meta, short, transfer, ahead, background
	}{
		{[lanes]int{}, 1, [lanes]bool{true, true, true, false, false}},
		{[lanes]int{laneTransfer: 1}, 1, [lanes]bool{}},
		{[lanes]int{}, 2, [lanes]bool{true, true, true, true, true}},
		{[lanes]int{laneTransfer: 1}, 2, [lanes]bool{true, true, false, false, false}},
		{[lanes]int{laneMeta: 1}, 2, [lanes]bool{true, true, true, false, false}},
		{[lanes]int{laneAhead: 1}, 2, [lanes]bool{true, true, true, false, false}},
		{[lanes]int{laneMeta: 2}, 2, [lanes]bool{}},
		{[lanes]int{laneAhead: 3}, 5, [lanes]bool{true, true, true, false, true}},
		{[lanes]int{laneTransfer: 5}, 8, [lanes]bool{true, true, true, true, true}},
		{[lanes]int{laneTransfer: 6}, 8, [lanes]bool{true, true, true, true, true}},
		{[lanes]int{laneTransfer: 7}, 8, [lanes]bool{true, true, false, true, false}},
		{[lanes]int{laneBackground: 6}, 8, [lanes]bool{true, true, true, true, true}},
		{[lanes]int{laneTransfer: 1, laneBackground: 1}, 4, [lanes]bool{true, true, true, false, true}},
		{[lanes]int{laneTransfer: 1, laneBackground: 2}, 4, [lanes]bool{true, true, false, false, false}},
		{[lanes]int{laneBackground: 3}, 4, [lanes]bool{true, true, false, false, false}},
		{[lanes]int{laneMeta: 1, laneBackground: 2}, 4, [lanes]bool{true, true, true, false, false}},
		{[lanes]int{laneAhead: 2, laneBackground: 1}, 4, [lanes]bool{true, true, true, false, false}},
		{[lanes]int{laneBackground: 1}, 3, [lanes]bool{true, true, true, false, true}},
		{[lanes]int{laneBackground: 2}, 3, [lanes]bool{true, true, false, false, false}},
		{[lanes]int{laneBackground: 1}, 2, [lanes]bool{true, true, false, false, false}},
		{[lanes]int{laneAhead: 7}, 8, [lanes]bool{true, true, true, true, false}}, // a transfer is not kept out by what is short
		{[lanes]int{laneAhead: 8}, 8, [lanes]bool{}},
		{[lanes]int{laneTransfer: 3}, 2, [lanes]bool{}}, // the limit went down
	} {
		for l := laneMeta; l < lanes; l++ {
			if c.most == 1 && l.ahead() {
				continue // refused before
			}
			if got := room(l, c.held, c.most, calm{soon: true}); got != c.want[l] {
				t.Errorf("room(%d, %v, %d) = %v", l, c.held, c.most, got)
			}
			// Where no caller has come for some time, what nobody asked for takes the last connection as well.
			want := c.want[l]
			if l == laneBackground {
				want = c.want[laneMeta]
			}
			if got := room(l, c.held, c.most, calm{soon: true, quiet: true}); got != want {
				t.Errorf("room(%d, %v, %d) = %v when it is quiet", l, c.held, c.most, got)
			}
		}
	}
}

func TestIdentity(t *testing.T) {
	a := session.Info{Greeting: "You are user number 1 of 50. Time 10:12", Features: map[string]string{"MLST": "a*;b;"}}
	b := session.Info{Greeting: "You are user number 3 of 50. Time 23:59", Features: map[string]string{"MLST": "b;a*;"}}
	c := session.Info{Greeting: a.Greeting, Features: map[string]string{"MLST": "a*;b;", "MFMT": ""}}
	if identity("h:21", a) != identity("h:21", b) {
		t.Error("the time of day makes another server")
	}
	if identity("h:21", a) == identity("h:21", c) || identity("h:21", a) == identity("h:22", a) {
		t.Error("two servers are taken for one")
	}
	if got := addressOf(identity("h:21", a)); got != "h:21" {
		t.Errorf("addressOf = %q", got)
	}
}

func TestMemory(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	file := filepath.Join(t.TempDir(), "learned.json")
	m := openMemory(file, "h:21", log)
	m.learnServer("h:21 a", session.Quirks{}, session.Quirks{NoEPSV: true})
	m.setCan(CapAppend, true)
	m.save()

	other := openMemory(file, "h:22", log) // another mount writes meanwhile
	other.learnServer("h:22 b", session.Quirks{}, session.Quirks{})
	other.setCan(CapAppend, false)
	other.save()

	again := openMemory(file, "h:21", log)
	if !again.quirks().NoEPSV {
		t.Error("quirks must be known before the login")
	}
	again.learnServer("h:21 a", again.quirks(), again.quirks())
	if can, known := again.can(CapAppend); !can || !known {
		t.Errorf("Can = %v, %v", can, known)
	}
	again.learnServer("h:21 upgraded", again.quirks(), again.quirks())
	if again.quirks().NoEPSV {
		t.Error("a quirk of the old version is believed of the new one")
	}
	if _, known := again.can(CapAppend); known {
		t.Error("what was true of the old version is believed of the new one")
	}

	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if err := os.WriteFile(file, []byte(`{"version":1,"servers":{"h:21 a":{"can":{"fly":true}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if broken := openMemory(file, "h:21", log); len(broken.stored.Servers) != 0 {
		t.Error("an unreadable file was believed")
	}
}

func TestErrorNeverLosesItsName(t *testing.T) {
	p, err := New(Config{Session: sessionFor("h")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	e := p.fail(context.Background(), "stat", "/x", &Error{Kind: KindChanged})
	if e.Op != "stat" || e.Path != "/x" || e.Kind != KindChanged {
		t.Errorf("got %+v", e)
	}
	if KindOf(errors.New("x")) != KindOther {
		t.Error("a foreign error has a kind")
	}
	for k := KindOther; k <= KindClosed; k++ {
		if strings.HasPrefix(k.String(), "kind ") {
			t.Errorf("kind %d has no name", k)
		}
	}
	if p.Stats().Errors[KindChanged.String()] != 1 {
		t.Error("not counted")
	}
}
