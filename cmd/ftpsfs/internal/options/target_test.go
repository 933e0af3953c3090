package options

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

func testSource(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("parse_test.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParseTarget(t *testing.T) {
	cases := []struct {
		url   string
		want  Target
		shown string
	}{
		{"ftps://host", Target{Host: "host", Port: 21}, "ftps://host/"},
		{"FTPS://host/", Target{Host: "host", Port: 21}, "ftps://host/"},
		{"ftps://joe@host:2121/a/b/", Target{Host: "host", Port: 2121, User: "joe", Root: "a/b"}, "ftps://joe@host:2121/a/b"},
		{"ftps://host//srv/x", Target{Host: "host", Port: 21, Root: "/srv/x"}, "ftps://host//srv/x"},
		{"ftps://host/%2Fsrv/x", Target{Host: "host", Port: 21, Root: "/srv/x"}, "ftps://host//srv/x"},
		{"ftps://host:990/", Target{Host: "host", Port: 990, Implicit: true}, "ftps://host:990/"},
		{"ftpes://host:990/", Target{Host: "host", Port: 990, Explicit: true}, "ftpes://host:990/"},
		{"ftps://[2001:db8::1]:21/", Target{Host: "2001:db8::1", Port: 21}, "ftps://[2001:db8::1]/"},
		{"ftps://[fe80::1%25eth0]/", Target{Host: "fe80::1%eth0", Port: 21}, "ftps://[fe80::1%25eth0]/"},
		{"ftps://joe:p%40ss%2f%3a@host/", Target{Host: "host", Port: 21, User: "joe", Password: "p@ss/:", HasPass: true}, "ftps://joe@host/"},
		{"ftps://joe@corp:p@ss@host/", Target{Host: "host", Port: 21, User: "joe@corp", Password: "p@ss", HasPass: true}, "ftps://joe%40corp@host/"},
		{"ftps://joe:@host/", Target{Host: "host", Port: 21, User: "joe", HasPass: true}, "ftps://joe@host/"},
		{"ftps://host/a?b#c;d", Target{Host: "host", Port: 21, Root: "a?b#c;d"}, "ftps://host/a?b#c;d"},
		{"ftps://host/a%20b/./c%25", Target{Host: "host", Port: 21, Root: "a b/c%"}, "ftps://host/a%20b/c%25"},
		{"ftps://bücher.example/", Target{Host: "bücher.example", Port: 21}, "ftps://bücher.example/"},
	}
	for _, c := range cases {
		got, err := ParseTarget(c.url)
		got.portGiven = false
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v\nwant %+v", c.url, got, err, c.want)
		}
		if got.String() != c.shown {
			t.Errorf("%s: shown as %s, want %s", c.url, got, c.shown)
		}
	}
}

// TestPasswordIsNeverShown: whatever is wrong with a URL, the message does not repeat what may be its password.
func TestPasswordIsNeverShown(t *testing.T) {
	for _, u := range []string{
		"ftps://joe:geheim@", "ftps://joe:gehe/im@host/", "ftps://joe:geheim%@host/", "ftps://joe:geheim@host:x/",
		"ftp://joe:geheim@host/", "joe:geheim@host", "ftps:/joe:geheim@host/", "ftps://joe:geheim@ho st/", "ftps://joe:geheim/@h@:7/",
		"xx:geheim://host",
	} {
		tg, err := ParseTarget(u)
		if err == nil {
			t.Errorf("%s: accepted", u)
			continue
		}
		shown := fmt.Sprintf("%v %+v %#v %s", err, tg, tg, tg)
		if strings.Contains(shown, "gehe") {
			t.Errorf("%s: %s", u, shown)
		}
	}
	tg, _ := ParseTarget("ftps://joe:geheim@host/")
	if s := fmt.Sprintf("%v %+v %#v %s", tg, tg, tg, tg.Password); strings.Contains(s, "geheim") {
		t.Errorf("shown: %s", s)
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"ftps://joe:pw@host:21/a//b", "ftpes://[::1]:990/%2F", "ftps://a@b@c/..", "ftps://x/%", "ftp://", "://", "ftps://[fe80::1%25e]/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tg, err := ParseTarget(s)
		if err != nil {
			return
		}
		if tg.Host == "" || tg.Port < 1 || tg.Port > 65535 || slices.ContainsFunc([]byte(tg.User+string(tg.Password)+tg.Root), unsendable) {
			t.Fatalf("%q: %+v", s, tg)
		}
		again, err := ParseTarget(tg.String())
		again.portGiven, tg.portGiven = false, false
		tg.Password, tg.HasPass = "", false
		if err != nil || again != tg {
			t.Fatalf("%q: %+v becomes %q: %+v, %v", s, tg, tg.String(), again, err)
		}
	})
}

func FuzzSplitList(f *testing.F) {
	f.Add(`a,b=c\,d,\\,,x`)
	f.Fuzz(func(t *testing.T, s string) {
		items := splitList(s)
		for i, item := range items {
			items[i] = strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(item)
		}
		again := splitList(strings.Join(items, ","))
		if len(again) != len(items) {
			t.Fatalf("%q: %q, again %q", s, items, again)
		}
	})
}

func TestNearest(t *testing.T) {
	for in, want := range map[string]string{
		"cacret": "cacert", "alow_other": "allow_other", "time_out": "timeout", "maxconns": "max_conns", "tlsmin": "tls_min", "qqqqqqqq": "",
	} {
		if got := nearest(in, names()); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestWithoutPassword(t *testing.T) {
	for in, want := range map[string]string{
		"ftps://joe:geheim@host:22/a:b@c": "ftps://joe@host:22/a:b@c",
		"ftps://joe:ge@heim@host":         "ftps://joe@host",
		"ftps://joe@host/":                "ftps://joe@host/",
		"-o":                              "-o",
		"x:y@z":                           "x:y@z",
	} {
		if got := WithoutPassword(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
