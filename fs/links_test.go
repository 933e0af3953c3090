package fs

import (
	"path"
	"strings"
	"testing"
)

func TestContain(t *testing.T) {
	for _, tc := range []struct {
		at, target, root string
		want             string
		ok               bool
	}{
		{"/l", "file", "", "file", true},
		{"/a/b/l", "../file", "", "../file", true},
		{"/a/b/l", "../../file", "", "../../file", true},
		{"/a/b/l", "../../../file", "", "", false},
		{"/l", "..", "", "", false},
		{"/a/l", "..", "", "..", true},
		{"/a/l", "x/../../y", "", "../y", true},
		{"/l", "x/../../y", "", "", false},
		{"/a/l", "./x/./y", "", "./x/./y", true},
		{"/a/b/l", "/x/y", "", "../../x/y", true},
		{"/l", "/x/y", "/", "x/y", true},
		{"/a/b/l", "/a/x", "", "../x", true},
		{"/a/b/l", "/a/b", "", ".", true},
		{"/a/l", "/", "", "..", true},
		{"/l", "/", "", ".", true},
		{"/a/l", "/home/u/x", "/home/u", "../x", true},
		{"/a/l", "/home/u/../v/x", "/home/u", "", false},
		{"/a/l", "/home/user2", "/home/u", "", false},
		{"/a/l", "/etc/passwd", "/home/u", "", false},
		{"/l", "", "", "", false},
		{"/l", "...", "", "...", true},
		{"/l", "..x", "", "..x", true},
	} {
		got, ok := contain(tc.at, tc.target, tc.root)
		if got != tc.want || ok != tc.ok {
			t.Errorf("contain(%q, %q, %q) = %q %v, want %q %v", tc.at, tc.target, tc.root, got, ok, tc.want, tc.ok)
		}
	}
}

// FuzzContain holds that no target leaves the tree, whatever the server says, and that none climbs behind a name.
func FuzzContain(f *testing.F) {
	for _, s := range []string{"", "..", "../..", "a/../..", "/a/../../b", "//x", ".//..//x", "a/b/../../../c", "/", "/srv/x"} {
		f.Add("/a/b/l", s, "")
		f.Add("/l", s, "/srv")
	}
	f.Fuzz(func(t *testing.T, at, target, root string) {
		at = path.Clean("/" + at)
		if at == "/" {
			return
		}
		got, ok := contain(at, target, root)
		if !ok {
			return
		}
		if strings.HasPrefix(got, "/") {
			t.Fatalf("absolute: %q", got)
		}
		// As seen from a folder with a marker above it, the result must stay below the marker.
		if !strings.HasPrefix(path.Join("/marker", parentOf(at), got)+"/", "/marker/") {
			t.Fatalf("contain(%q, %q) = %q leads out", at, target, got)
		}
		if climbsLater(got) {
			t.Fatalf("contain(%q, %q) = %q climbs behind a name", at, target, got)
		}
	})
}

func TestMadeLinksFollowNames(t *testing.T) {
	var l madeLinks
	l.made("/a/l", "/abs")
	l.made("/b", "x")
	l.renamed("/a", "/c")
	want := func(at, target string, made bool) {
		t.Helper()
		if got, ok := l.given(at); got != target || ok != made {
			t.Errorf("%s: %q %v, want %q %v", at, got, ok, target, made)
		}
	}
	want("/a/l", "", false)
	want("/c/l", "/abs", true)
	l.renamed("/c/l", "/b")
	want("/b", "/abs", true)
	l.removed("/b")
	want("/b", "", false)
}
