package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

// renameNoReplace is RENAME_NOREPLACE of rename(2); the other flags cannot be had from FTP.
const renameNoReplace = 1

// Rename implements rename(2): what is at the new name is replaced in one step where the server's RNTO does so. With
// RENAME_NOREPLACE it is a look and a rename.
func (n *node) Rename(ctx context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	defer n.srv.enter()()
	to, ok := newParent.(*node)
	if !ok || flags&^renameNoReplace != 0 {
		return syscall.EINVAL
	}
	path, _ := n.place(name)
	s := n.srv
	if s.cfg.ReadOnly {
		return syscall.EROFS
	}
	if err := s.newName(newName); err != nil {
		return s.fail("rename", path, err)
	}
	r := renaming{s: s, fromDir: n, fromName: name, toDir: to, toName: newName, noReplace: flags&renameNoReplace != 0}
	_, err := run(s, ctx, func(ctx context.Context) (nothing, error) { return nothing{}, r.locked(ctx) }, func(nothing) {
		s.notify.entry(n, name)
		s.notify.entry(to, newName)
	})
	return s.fail("rename", path, err)
}

// renaming is one rename(2) under way.
type renaming struct {
	s                *Server
	fromDir, toDir   *node
	fromName, toName string
	noReplace        bool

	from, to string // paths, once the folders are locked
}

// locked takes the folders concerned, in the order of their inode numbers, and renames.
func (r *renaming) locked(ctx context.Context) error {
	// What we do not know may be a folder.
	if c := r.s.names.child(r.fromDir, r.fromName); c == nil || c.kind == pool.TypeDir {
		if err := r.s.moves.move(ctx); err != nil {
			return err
		}
		defer r.s.moves.moved()
	} else {
		if err := r.s.moves.still(ctx); err != nil {
			return err
		}
		defer r.s.moves.done()
	}
	first, second := r.fromDir, r.toDir
	if second.StableAttr().Ino < first.StableAttr().Ino {
		first, second = second, first
	}
	if err := first.lockNames(ctx); err != nil {
		return err
	}
	defer first.unlockNames()
	if second != first {
		if err := second.lockNames(ctx); err != nil {
			return err
		}
		defer second.unlockNames()
	}
	if err := r.resolve(ctx); err != nil {
		return err
	}
	return r.perform(ctx)
}

// resolve finds the paths. On a server that folds case the names are those that the objects have. A rename that changes the case of
// a name alone never gets here: to the kernel both are names of one object, and then rename(2) does nothing.
func (r *renaming) resolve(ctx context.Context) (err error) {
	told := r.fromName
	if r.fromName, err = r.fromDir.stored(ctx, r.fromName); err != nil {
		return err
	}
	if told != r.fromName {
		defer r.s.notify.entry(r.fromDir, r.fromName)
	}
	if r.toName, err = r.toDir.actual(ctx, r.toName); err != nil {
		return err
	}
	if r.from, err = r.fromDir.place(r.fromName); err != nil {
		return err
	}
	r.to, err = r.toDir.place(r.toName)
	return err
}

func (r *renaming) perform(ctx context.Context) error {
	s := r.s
	source, err := r.kindOf(ctx, r.fromDir, r.fromName, r.from)
	if err != nil {
		return err
	}
	target, err := r.target(ctx)
	if err != nil {
		return err
	}
	if err := r.replaceable(ctx, source, target); err != nil {
		return err
	}
	for _, c := range []*node{s.names.child(r.fromDir, r.fromName), s.names.child(r.toDir, r.toName)} {
		done, err := c.change(ctx)
		if err != nil {
			return err
		}
		defer done()
	}
	return r.attempt(ctx, source, target)
}

// attempt asks the server and accounts for what it did.
func (r *renaming) attempt(ctx context.Context, source, target pool.Type) error {
	s := r.s
	open, err := s.cfg.Content.BeforeRename(ctx, r.from, r.to)
	if err != nil {
		return err
	}
	done := false
	defer func() { open.Done(done) }() // also when this panics: open files wait for it
	defer s.cfg.Cache.Moving(r.from)() // what is listed ahead meanwhile may find nothing under the old name
	if target == pool.TypeDir && source == pool.TypeDir && r.from != r.to {
		err = r.overEmptyFolder(ctx, open)
	} else {
		err = open.Do(ctx)
	}
	if err != nil {
		s.cfg.Cache.Forget(r.from)
		s.cfg.Cache.Forget(r.to)
		return err
	}
	s.names.move(r.fromDir, r.fromName, r.toDir, r.toName)
	s.cfg.Cache.Renamed(r.from, r.to)
	s.links.renamed(r.from, r.to)
	r.fromDir.touch()
	r.toDir.touch()
	done = true
	return nil
}

// kindOf gives the type of what is at a name.
func (r *renaming) kindOf(ctx context.Context, dir *node, name, path string) (pool.Type, error) {
	if _, _, ok := dir.local(name); ok {
		return pool.TypeFile, nil
	}
	e, err := r.s.cfg.Cache.Lookup(ctx, path)
	return nodeKind(e.Type), err
}

// target gives the type of what is at the new name, TypeUnknown for nothing.
func (r *renaming) target(ctx context.Context) (pool.Type, error) {
	if r.noReplace {
		return pool.TypeUnknown, r.toDir.vacant(ctx, r.toName, r.to, true)
	}
	if can, known := r.s.cfg.Remote.Known(pool.CapRenameOverDir); known && !can {
		// Such a server may do anything when a folder is at the new name, so it had better be known.
		if _, err := r.s.cfg.Cache.LookupFresh(ctx, r.to, exclusiveAge); err != nil && !notFound(err) {
			return pool.TypeUnknown, err
		}
	}
	t, err := r.kindOf(ctx, r.toDir, r.toName, r.to)
	if notFound(err) {
		return pool.TypeUnknown, nil
	}
	return t, err
}

// replaceable holds to the rules of rename(2) on what may replace what. Servers that rename by other means than rename(2)
// would put a folder over a full one, and lock folders depend on their not doing so.
func (r *renaming) replaceable(ctx context.Context, source, target pool.Type) error {
	s := r.s
	switch {
	case target == pool.TypeUnknown:
		return nil
	case target == pool.TypeDir && source != pool.TypeDir:
		return syscall.EISDIR
	case target != pool.TypeDir && source == pool.TypeDir:
		return syscall.ENOTDIR
	case target != pool.TypeDir:
		return nil
	}
	if c := s.names.child(r.toDir, r.toName); c != nil && c.dir != nil {
		if c.holdsLocal() {
			return syscall.ENOTEMPTY
		}
		if e, _ := s.cfg.Cache.Peek(r.to); e.Type == pool.TypeDir {
			s.names.keepLast(c, e)
		}
	}
	s.cfg.Cache.ForgetDir(r.to)
	l, err := s.cfg.Cache.List(ctx, r.to)
	if err != nil {
		return err
	}
	if len(l.Entries) > 0 || l.Truncated {
		return syscall.ENOTEMPTY
	}
	return s.cfg.Content.BeforeRmdir(ctx, r.to)
}

// overEmptyFolder renames a folder over an empty one: in one step where the server was seen to do that right. Elsewhere the empty one
// goes first, and comes back if the rename then fails.
func (r *renaming) overEmptyFolder(ctx context.Context, open *content.Rename) error {
	remote := r.s.cfg.Remote
	can, err := remote.Can(ctx, pool.CapRenameOverDir, parentOf(r.to))
	if lost(err) {
		return err
	}
	if can && err == nil {
		if err = open.Do(ctx); err == nil || !refusesOver(err) {
			return err
		}
	}
	if err := remote.Rmdir(ctx, r.to); err != nil && !notFound(err) {
		return err
	}
	if err = open.Do(ctx); err != nil && !lost(err) {
		if back := remote.Mkdir(ctx, r.to); back != nil && pool.KindOf(back) != pool.KindExists {
			r.s.log.Warn("an empty folder that was to be replaced is gone", "path", r.to, "err", back)
		}
	}
	return err
}

// refusesOver tells refusals that may be about the folder in the way.
func refusesOver(err error) bool {
	switch pool.KindOf(err) {
	case pool.KindExists, pool.KindRefused, pool.KindPermission, pool.KindIsDir:
		return true
	}
	return false
}

var _ fusefs.NodeRenamer = (*node)(nil)
