package cache

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestVariant(t *testing.T) {
	s := newServer("/d/", "/d/Makefile", "/d/Ünïcode", "/d/plain", "/e/")
	c, clock := newCache(t, s, nil)
	want := func(path, other string) {
		t.Helper()
		if got, ok := c.Variant(path); got != other && ok || ok != (other != "") {
			t.Errorf("Variant(%s) = %q, %v, want %q", path, got, ok, other)
		}
	}
	want("/d/makefile", "") // nothing is known
	if _, err := c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	s.questions()
	want("/d/makefile", "Makefile")
	want("/d/MAKEFILE", "Makefile")
	want("/d/Makefile", "") // it is no variant of itself
	want("/d/makefil", "")
	want("/d/üNÏCODE", "Ünïcode")
	want("/D/makefile", "")
	want("/", "")

	c.Changed("/d/New", file("/d/New", 1))
	want("/d/nEW", "New")
	c.Renamed("/d/New", "/d/Newer")
	want("/d/new", "")
	want("/d/newer", "Newer")
	c.Removed("/d/Makefile")
	want("/d/makefile", "")
	c.MadeDir("/d/Sub", folder("/d/Sub"))
	want("/d/sub", "Sub")
	want("/d/Sub/x", "")
	c.Renamed("/d/Sub", "/e/Sub")
	want("/e/SUB", "Sub")

	clock.step(time.Hour) // what is too old to be believed is good enough to be asked about
	want("/d/PLAIN", "plain")
	s.put("/d/Later", pool.TypeFile, 1)
	if _, err := c.List(ctx, "/d"); err != nil {
		t.Fatal(err)
	}
	want("/d/later", "Later")
	if n := s.questions(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

// TestFoldHash: equal for all that strings.EqualFold calls equal.
func TestFoldHash(t *testing.T) {
	for r := range rune(unicode.MaxRune) {
		if next := unicode.SimpleFold(r); next != r && foldHash("a"+string(r)) != foldHash("A"+string(next)) {
			t.Errorf("%q and %q differ", r, next)
		}
	}
	if foldHash("a") == foldHash("b") || foldHash("ab") == foldHash("ba") {
		t.Error("different names have one hash")
	}
	if a, b := "x\xff", "X\xfe"; strings.EqualFold(a, b) && foldHash(a) != foldHash(b) {
		t.Error("bytes that are not UTF-8")
	}
}

func BenchmarkVariant(b *testing.B) {
	n := &node{}
	for i := range 100_000 {
		n.put("Name of a file "+strings.Repeat("x", i%20)+string(rune('a'+i%26)), rec{state: present})
	}
	for b.Loop() {
		n.indexCases()
	}
}
