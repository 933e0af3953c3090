package fs

import (
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

func put(s *Server, dir *node, name string, kind pool.Type) *node {
	return s.names.obtain(dir, name, func(*node) bool { return false }, func() *node { return s.newNode(kind) })
}

func wantPath(t *testing.T, n *node, path string, linked bool) {
	t.Helper()
	if p, ok := n.Path(); p != path || ok != linked {
		t.Errorf("path %q linked %v, want %q %v", p, ok, path, linked)
	}
}

func TestNamesFollowARename(t *testing.T) {
	s := newTestServer(t)
	a := put(s, s.root, "a", pool.TypeDir)
	b := put(s, a, "b", pool.TypeDir)
	f := put(s, b, "f", pool.TypeFile)
	wantPath(t, s.root, "/", true)
	wantPath(t, f, "/a/b/f", true)
	s.names.move(s.root, "a", s.root, "c")
	wantPath(t, f, "/c/b/f", true)
	s.names.move(b, "f", s.root, "g")
	wantPath(t, f, "/g", true)
	if s.names.child(b, "f") != nil || s.names.child(s.root, "g") != f {
		t.Error("the node is not where it was moved to")
	}
}

func TestNamesReplacedIsGone(t *testing.T) {
	s := newTestServer(t)
	f := put(s, s.root, "f", pool.TypeFile)
	g := put(s, s.root, "g", pool.TypeFile)
	if old := s.names.move(s.root, "f", s.root, "g"); old != g {
		t.Errorf("replaced %v, want g", old)
	}
	wantPath(t, f, "/g", true)
	wantPath(t, g, "/g", false)
	if s.names.size() != 1 {
		t.Errorf("%d nodes, want 1", s.names.size())
	}
}

func TestNamesRenameOntoItself(t *testing.T) {
	s := newTestServer(t)
	f := put(s, s.root, "f", pool.TypeFile)
	s.names.move(s.root, "f", s.root, "f")
	wantPath(t, f, "/f", true)
}

func TestNamesBelowARemovedFolder(t *testing.T) {
	s := newTestServer(t)
	a := put(s, s.root, "a", pool.TypeDir)
	f := put(s, a, "f", pool.TypeFile)
	s.names.remove(s.root, "a")
	wantPath(t, f, "/a/f", false)
	// A new folder of the same name is another one.
	put(s, s.root, "a", pool.TypeDir)
	wantPath(t, f, "/a/f", false)
}

func TestNamesMoveOfSomethingUnknown(t *testing.T) {
	s := newTestServer(t)
	g := put(s, s.root, "g", pool.TypeFile)
	s.names.move(s.root, "nobody", s.root, "g")
	wantPath(t, g, "/g", false)
}

func TestNamesForgottenAndFoundAgain(t *testing.T) {
	s := newTestServer(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	f := put(s, s.root, "f", pool.TypeFile)
	s.names.forget(f) // the kernel never had it
	d := put(s, s.root, "d", pool.TypeDir)
	s.root.AddChild("d", d.EmbeddedInode(), false) // as an answer to a LOOKUP does that was on its way
	s.names.forget(d)
	if s.names.child(s.root, "f") != f || s.names.child(s.root, "d") != d {
		t.Error("who looked a node up just before it was forgotten has it no more")
	}
	now = now.Add(reviveTime)
	s.names.remove(s.root, "nothing")
	put(s, s.root, "g", pool.TypeFile)
	s.names.remove(s.root, "g")
	if s.names.child(s.root, "d") != d {
		t.Error("a folder that the kernel has is not in the tree")
	}
	s.names.remove(s.root, "d")
	if s.names.child(s.root, "f") != nil || s.names.size() != 0 {
		t.Error("a forgotten node stays in the tree")
	}
	wantPath(t, f, "/f", true)
	s.names.attach(f)
	if s.names.child(s.root, "f") != f {
		t.Error("a node in use was not put back")
	}
	other := put(s, s.root, "f", pool.TypeFile)
	s.names.attach(f)
	if s.names.child(s.root, "f") != other {
		t.Error("a node was put back over its successor")
	}
}
