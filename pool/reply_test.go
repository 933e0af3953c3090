package pool

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/listing"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

const sumOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestReadDigest(t *testing.T) {
	for text, want := range map[string]string{
		"SHA-256 0-0 " + sumOfNothing + " " + strings.Repeat("ab", 32): sumOfNothing,
		sumOfNothing:                           sumOfNothing,
		strings.ToUpper(sumOfNothing):          strings.ToUpper(sumOfNothing),
		"SHA-1 0-0 " + sumOfNothing[:40]:       "",
		"":                                     "",
		sumOfNothing + "00 " + "x" + "zz e3b0": "",
	} {
		if got := readDigest(wire.Reply{Code: 213, Lines: []string{text}}); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// FuzzReplies: whatever a server says, what is read from it makes sense.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"0", "20260101000000.123", "SHA-256 0-49 " + sumOfNothing + " name", "/a: No such file or directory", "Too many connections (2)",
		"Start of list\n modify=20260101000000;type=dir;UNIX.mode=0755; /a b\nEnd", "type=OS.unix=slink:/x; l", "-1", "99999999999999999999",
		"\x00\xff: \n:", "Data channel reuse demanded", "Local time is now 10:00", "\n-rw-r--r-- 1 a b 3 Jan 01 2020 dir/a\n",
	} {
		for _, code := range []int{213, 250, 421, 450, 550} {
			f.Add(code, s)
		}
	}
	zone := 60
	parser := listing.NewListParser(time.Unix(1_800_000_000, 0), nil)
	f.Fuzz(func(t *testing.T, code int, text string) {
		r := wire.Reply{Code: code, Lines: strings.Split(text, "\n")}
		if sum := readDigest(r); sum != "" {
			if raw, err := hex.DecodeString(sum); err != nil || len(raw) != 32 {
				t.Errorf("digest %q", sum)
			}
		}
		if n, ok := readSize(r); ok != (n >= 0) || ok && code != 213 {
			t.Errorf("size %d, %v", n, ok)
		}
		if at, ok := readTime(r); ok && (code != 213 || at.Year() < 0 || at.Year() > 9999) {
			t.Errorf("time %v, %v", at, ok)
		}
		a := readMLST("MLST x", r)
		if a.refused == nil && !a.unclear && !r.OK() {
			t.Errorf("an entry %+v in %v", a.entry, r)
		}
		a.compare("SIZE x", r)
		a.doubt()
		if e, ok := statLine(parser, r, "a"); ok && (e.Name != "a" || !r.OK()) {
			t.Errorf("%+v", e)
		}
		if v := judge(r); v.kind == KindNotFound && r.Code == 421 {
			t.Error("who hangs up says nothing of files")
		}
		_, _, _, _ = judgeLogin(r), judgeStore(r), isTooMany(r), isReuse(r)
		_, _ = truncated(r), oneLine(r)
		s := newServerInfo("host:21", "", session.Info{Greeting: text, Home: text, Features: map[string]string{"MLST": text, "RANG": text}})
		if s.identity == "" || s.base != "" && !strings.HasPrefix(s.base, "/") {
			t.Errorf("identity %q, base %q", s.identity, s.base)
		}
		if ahead, ok := greetedClock(text, time.Unix(1_800_000_000, 0), &zone); ok && (ahead > 86400 || ahead < -86400) {
			t.Errorf("clock %d s ahead by %q", ahead, text)
		}
	})
}
