package fs

import (
	"context"
	"path"
	"strings"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Symlinks says what is done with symbolic links that the server shows.
type Symlinks uint8

// The ways.
const (
	// SymlinksContain shows every target as one within the mount: an absolute target is taken from the root of
	// the mount (the server's root as its users see it, less the path of the URL) and shown as a relative one; what would
	// lead out of the tree is refused with EACCES. A link made through this mount reads back as it was given.
	SymlinksContain Symlinks = iota
	// SymlinksRaw shows targets as the server tells them.
	SymlinksRaw
	// SymlinksOff shows links that cannot be followed (EACCES) and makes none (EPERM).
	SymlinksOff
)

// Readlink implements readlink(2).
func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	defer n.srv.enter()()
	s := n.srv
	if n.kind != pool.TypeSymlink {
		return nil, syscall.EINVAL
	}
	if s.cfg.Symlinks == SymlinksOff {
		return nil, syscall.EACCES
	}
	at, linked := n.Path()
	if !linked {
		return nil, syscall.ESTALE
	}
	given, made := s.links.given(at)
	target, err := n.target(ctx, at)
	if err != nil && made && pool.KindOf(err) == pool.KindUnsupported {
		// This server makes links and does not tell where they point.
		target, err = given, nil
	}
	if err != nil {
		return nil, s.fail("readlink", at, err)
	}
	if made && s.samePlace(at, given, target) {
		return []byte(given), 0
	}
	if s.cfg.Symlinks == SymlinksContain {
		var ok bool
		if target, ok = contain(at, target, s.cfg.Root); !ok {
			return nil, syscall.EACCES
		}
	}
	return []byte(target), 0
}

// samePlace says whether the server's target of the link at path is the given one: some servers write another way to the
// same place. An absolute given target was taken from the root of the mount.
func (s *Server) samePlace(at, given, target string) bool {
	if given == target {
		return true
	}
	there := path.Join(parentOf(at), target)
	if strings.HasPrefix(target, "/") {
		var ok bool
		if there, ok = below(path.Clean(target), path.Clean("/"+s.cfg.Root)); !ok {
			return false
		}
	}
	if strings.HasPrefix(given, "/") {
		return path.Clean(given) == there
	}
	return path.Join(parentOf(at), given) == there
}

// target gives what the server says of a link; it is remembered with the link's attributes.
func (n *node) target(ctx context.Context, at string) (string, error) {
	s := n.srv
	e, fresh := s.cfg.Cache.Peek(at)
	if fresh && e.Target != "" {
		return e.Target, nil
	}
	target, err := ask(s, ctx, n.own, s.cfg.Remote.Readlink)
	if now, still := s.cfg.Cache.Peek(at); err == nil && fresh && still && now == e && e.Type == pool.TypeSymlink {
		e.Target = target
		s.cfg.Cache.Changed(at, e)
	}
	return target, err
}

// contain gives the target of the link at path as one that stays within the mount, or false when it does not. root is
// the server's path of the mount's root, "" or "/" when they are the same. The result climbs only at its begin,
// from the folder that the link is really in: behind another link ".." would mean something else than it says.
func contain(at, target, root string) (string, bool) {
	folder := parentOf(at)
	if strings.HasPrefix(target, "/") {
		rest, ok := below(path.Clean(target), path.Clean("/"+root))
		if !ok {
			return "", false
		}
		return relative(folder, rest), true
	}
	depth := strings.Count(folder, "/")
	if folder == "/" {
		depth = 0
	}
	clean := path.Clean(target)
	climbs := 0
	for rest := clean; rest == ".." || strings.HasPrefix(rest, "../"); rest = strings.TrimPrefix(rest[2:], "/") {
		climbs++
	}
	if climbs > depth || target == "" {
		return "", false
	}
	if climbsLater(target) {
		return clean, true
	}
	return target, true
}

// below gives the absolute path abs as seen from root.
func below(abs, root string) (string, bool) {
	switch {
	case root == "/":
		return abs, true
	case abs == root:
		return "/", true
	case strings.HasPrefix(abs, root+"/"):
		return abs[len(root):], true
	default:
		return "", false
	}
}

// relative gives the way from folder to the absolute path abs, both clean.
func relative(folder, abs string) string {
	up := 0
	for folder != "/" && abs != folder && !strings.HasPrefix(abs, folder+"/") {
		folder = parentOf(folder)
		up++
	}
	rest := strings.TrimPrefix(strings.TrimPrefix(abs, strings.TrimSuffix(folder, "/")), "/")
	out := strings.TrimSuffix(strings.Repeat("../", up)+rest, "/")
	if out == "" {
		return "."
	}
	return out
}

// climbsLater reports whether a relative target has a ".." behind a name.
func climbsLater(target string) bool {
	named := false
	for _, part := range strings.Split(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if named {
				return true
			}
		default:
			named = true
		}
	}
	return false
}

// madeLinks remembers the targets of links made through this mount, as long as it lasts.
type madeLinks struct {
	mu      sync.Mutex
	targets map[string]string // path to target; guarded by mu
}

// maxMadeLinks bounds the memory; links beyond it are shown contained.
const maxMadeLinks = 100_000

func (l *madeLinks) made(at, target string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.targets == nil {
		l.targets = make(map[string]string)
	}
	if len(l.targets) < maxMadeLinks {
		l.targets[at] = target
	}
}

// given tells the target with which the link at a path was made here.
func (l *madeLinks) given(at string) (target string, made bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	target, made = l.targets[at]
	return target, made
}

func (l *madeLinks) removed(at string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.targets {
		if _, ok := below(p, at); ok {
			delete(l.targets, p)
		}
	}
}

func (l *madeLinks) renamed(from, to string) {
	l.removed(to)
	l.mu.Lock()
	defer l.mu.Unlock()
	moved := make(map[string]string)
	for p, target := range l.targets {
		if _, ok := below(p, from); ok {
			delete(l.targets, p)
			moved[to+p[len(from):]] = target
		}
	}
	for p, target := range moved {
		l.targets[p] = target
	}
}

var _ fusefs.NodeReadlinker = (*node)(nil)
