package fs

import (
	"context"
	"strings"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Servers on some systems (Windows, macOS, vfat) take names that differ in the case of letters alone for one name. What is
// known of "a" is then true of "A" as well, and neither a listing without "A" nor an absence of it from before "a" was made
// says that "A" is free. Whether a server is one of these is learned when two such names first meet; until then, and on
// the others, names are what they are.

// foldsCase tells whether the server is known to fold case, and whether anything is known of it.
func (s *Server) foldsCase() (folds, known bool) {
	if s.foldsSeen.Load() {
		return true, true
	}
	return s.cfg.Remote.Known(pool.CapFoldsCase)
}

// actual gives the name that an object of the folder has which goes by name: another one, in another case, where the
// server folds case, and name itself in all other cases, also if there is no such object. It asks the server only when
// a name like it is known in another case, or the server is known to fold.
func (n *node) actual(ctx context.Context, name string) (string, error) {
	s := n.srv
	folds, known := s.foldsCase()
	if known && !folds {
		return name, nil
	}
	path, err := n.place(name)
	if err != nil {
		return name, err
	}
	if folds { // which names there are is then needed to tell anything of one
		l, err := s.cfg.Cache.List(ctx, parentOf(path))
		if err != nil {
			return name, nil // what the name leads to tells why
		}
		if _, there := findEntry(l.Entries, name); there {
			return name, nil
		}
	} else if _, fresh := s.cfg.Cache.Peek(path); fresh {
		return name, nil
	}
	if _, _, ok := n.local(name); ok {
		return name, nil
	}
	other, local := n.variant(name, path)
	if other == "" {
		return name, nil
	}
	if !known {
		if folds, err = n.folds(ctx, name, path); err != nil || !folds {
			return name, err
		}
	} else if !local {
		// How a server folds letters beyond ASCII is its own affair, and what is listed may be gone.
		if _, err := s.cfg.Remote.Stat(ctx, path); err != nil {
			return name, passNotFound(err)
		}
	}
	s.names.unify(n, name, other)
	return other, nil
}

func passNotFound(err error) error {
	if notFound(err) {
		return nil
	}
	return err
}

// variant gives a name in the folder that differs from name in case alone, "" for none. local: it is a file that only we
// have yet.
func (n *node) variant(name, path string) (other string, local bool) {
	for _, c := range n.srv.open.all() {
		if n.srv.names.parentOf(c) != n {
			continue
		}
		if other := n.srv.names.nameOf(c); other != name && strings.EqualFold(other, name) {
			if at, _, ok := n.local(other); ok && at == c {
				return other, true
			}
		}
	}
	other, _ = n.srv.cfg.Cache.Variant(path)
	return other, false
}

// folds finds out whether the server folds case, now that it matters for a name. Where nothing can be tried out, the server is
// asked about the name, and if it has something there, whether that is listed under it.
func (n *node) folds(ctx context.Context, name, path string) (bool, error) {
	s, dir := n.srv, parentOf(path)
	can, err := s.cfg.Remote.Can(ctx, pool.CapFoldsCase, dir)
	if err == nil || lost(err) {
		return can, err
	}
	if _, err := s.cfg.Remote.Stat(ctx, path); err != nil {
		return false, passNotFound(err)
	}
	s.cfg.Cache.ForgetDir(dir)
	l, err := s.cfg.Cache.List(ctx, dir)
	if err != nil {
		return false, err
	}
	_, listed := findEntry(l.Entries, name)
	if !listed {
		s.foldsSeen.Store(true)
	}
	return !listed, nil
}

// lost tells failures on the way to the server, of which nothing can be concluded.
func lost(err error) bool {
	switch pool.KindOf(err) {
	case pool.KindNetwork, pool.KindTimeout, pool.KindCanceled, pool.KindClosed, pool.KindLimit, pool.KindProtocol:
		return true
	}
	return false
}

// find is actual for a LOOKUP, which waits killably. absent: the name itself was found to be absent.
func (n *node) find(ctx context.Context, name string, absent bool) (string, syscall.Errno) {
	folds, known := n.srv.foldsCase()
	path, err := n.place(name)
	switch {
	case err != nil || known && !folds || !known && !absent:
		return name, 0
	case !known:
		if other, _ := n.variant(name, path); other == "" {
			return name, 0
		}
	}
	other, err := run(n.srv, ctx, func(ctx context.Context) (string, error) { return n.actual(ctx, name) }, nil)
	if err != nil {
		return name, n.srv.fail("lookup", path, err)
	}
	return other, 0
}

// stored is actual for a name that the kernel has looked up: before it is known that the server folds case, that is its name.
func (n *node) stored(ctx context.Context, name string) (string, error) {
	if folds, _ := n.srv.foldsCase(); !folds {
		return name, nil
	}
	return n.actual(ctx, name)
}

// absencesLast says whether the kernel may remember that a name is absent. Not where one made here may end it: in another case.
func (s *Server) absencesLast() bool {
	folds, known := s.foldsCase()
	return s.cfg.ReadOnly || known && !folds
}

// entryTTL is how long the kernel may remember what a name leads to: not where the same may be removed under another.
func (s *Server) entryTTL() time.Duration {
	if folds, _ := s.foldsCase(); folds {
		return 0
	}
	return s.kernelTTL
}

// unify gives the node at name the name that its object turned out to have.
func (t *names) unify(dir *node, name, other string) {
	if t.child(dir, name) != nil && t.child(dir, other) == nil {
		t.move(dir, name, dir, other)
	}
}
