package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ftpsfs/ftpsfs/pool"
)

// nothing is the result of changes that have none.
type nothing = struct{}

// Unlink implements unlink(2). A file that is open goes on for those who have it open.
func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	defer n.srv.enter()()
	path, _ := n.place(name)
	_, err := change(n, ctx, func(ctx context.Context) (nothing, error) {
		return nothing{}, n.removing(ctx, name, n.unlinkLocked)
	}, nil, name)
	return n.srv.fail("unlink", path, err)
}

// removing calls remove with the name and the path that the object at name really has.
func (n *node) removing(ctx context.Context, name string, remove func(ctx context.Context, name, path string) error) error {
	actual, err := n.stored(ctx, name)
	if err != nil {
		return err
	}
	path, err := n.place(actual)
	if err != nil {
		return err
	}
	if err = remove(ctx, actual, path); actual != name {
		n.srv.notify.entry(n, actual)
	}
	return err
}

func (n *node) unlinkLocked(ctx context.Context, name, path string) error {
	s := n.srv
	handled := false
	c := s.names.child(n, name)
	done, err := c.change(ctx)
	if err != nil {
		return err
	}
	defer done()
	if c != nil {
		if f := c.again(); f != nil {
			defer c.unuse()
			if handled, err = f.Unlink(ctx); err != nil {
				return err
			}
		}
	}
	if !handled {
		if err := s.cfg.Remote.Remove(ctx, path); err != nil {
			if notFound(err) {
				s.removed(n, name, path)
			} else {
				s.cfg.Cache.Forget(path)
			}
			return err
		}
	}
	s.removed(n, name, path)
	return nil
}

// removed accounts for a name that is not there any more.
func (s *Server) removed(dir *node, name, path string) {
	s.names.remove(dir, name)
	s.cfg.Cache.Removed(path)
	s.links.removed(path)
}

// Rmdir implements rmdir(2).
func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	defer n.srv.enter()()
	path, _ := n.place(name)
	_, err := change(n, ctx, func(ctx context.Context) (nothing, error) {
		return nothing{}, n.removing(ctx, name, n.rmdirLocked)
	}, nil, name)
	return n.srv.fail("rmdir", path, err)
}

func (n *node) rmdirLocked(ctx context.Context, name, path string) error {
	s := n.srv
	c := s.names.child(n, name)
	if c != nil && c.dir != nil {
		if c.holdsLocal() {
			return syscall.ENOTEMPTY
		}
		if e, _ := s.cfg.Cache.Peek(path); e.Type == pool.TypeDir {
			s.names.keepLast(c, e)
		}
	}
	if err := s.cfg.Content.BeforeRmdir(ctx, path); err != nil {
		return err
	}
	if err := s.cfg.Remote.Rmdir(ctx, path); err != nil {
		switch {
		case notFound(err):
			s.removed(n, name, path)
		case pool.KindOf(err) == pool.KindNotEmpty:
			// What we thought was an empty folder is not: the next listing shows what there is.
			s.cfg.Cache.ForgetDir(path)
		default:
			s.cfg.Cache.Forget(path)
		}
		return err
	}
	s.removed(n, name, path)
	return nil
}

// holdsLocal reports whether a folder has files that the server does not know yet.
func (n *node) holdsLocal() bool {
	for _, c := range n.srv.names.children(n, func(c *node) bool { return c.kind == pool.TypeFile }) {
		if !c.clean() {
			return true
		}
	}
	return false
}

var (
	_ fusefs.NodeUnlinker = (*node)(nil)
	_ fusefs.NodeRmdirer  = (*node)(nil)
)
