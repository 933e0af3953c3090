package pool

import (
	"context"
	"errors"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Rmdir removes an empty folder. KindNotEmpty when it is not; then the next List of it tells all that is in it.
func (p *Pool) Rmdir(ctx context.Context, name string) error {
	abs, err := p.remote("rmdir", name)
	if err != nil {
		return p.fail(ctx, "rmdir", name, err)
	}
	err = p.change(ctx, call{op: "rmdir", path: name, settle: p.gone(name)}, "RMD "+abs)
	err = p.explain(ctx, err, func(e *Error) Kind { return p.whyNotRemoved(ctx, name, true, e) })
	if err != nil && KindOf(err) == KindNotEmpty {
		p.noteHidden(name)
	}
	return err
}

// Remove removes a file or a symlink. KindIsDir for a folder.
func (p *Pool) Remove(ctx context.Context, name string) error {
	abs, err := p.remote("remove", name)
	if err != nil {
		return p.fail(ctx, "remove", name, err)
	}
	err = p.change(ctx, call{op: "remove", path: name, settle: p.gone(name)}, "DELE "+abs)
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotRemoved(ctx, name, false, e) })
}

// Rename gives the object at from the name to. What was at to is replaced where the server does that: a file by a file, an
// empty folder by a folder; otherwise KindExists.
func (p *Pool) Rename(ctx context.Context, from, to string) error {
	absFrom, err := p.remote("rename", from)
	if err != nil {
		return p.fail(ctx, "rename", from, err)
	}
	absTo, err := p.remoteNew(ctx, "rename", to)
	if err != nil {
		return p.fail(ctx, "rename", to, err)
	}
	settle := func(ctx context.Context) (bool, error) {
		rs, err := p.StatMany(ctx, []string{from, to})
		if err != nil {
			return false, err
		}
		// Only when the old name is gone and the new one there did it happen; two names, or the old one alone: not yet.
		return absent(rs[0].Err) && rs[1].Err == nil, nil
	}
	err = p.change(ctx, call{op: "rename", path: from, settle: settle}, "RNFR "+absFrom, "RNTO "+absTo)
	var e *Error
	if errors.As(err, &e) && e.Kind == KindExists {
		e.unsure = true // some say so of a folder that is full, or that a file would replace
	}
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotRenamed(ctx, from, to, e) })
}

// Symlink makes a symlink at name, where CapSymlink says that it can. A relative target is resolved against name's folder,
// as the server would take it for one below its own current folder.
func (p *Pool) Symlink(ctx context.Context, target, name string) error {
	abs, err := p.remoteNew(ctx, "symlink", name)
	if err != nil {
		return p.fail(ctx, "symlink", name, err)
	}
	absTarget, err := p.remote("symlink", joinTarget(name, target))
	if err != nil {
		return p.fail(ctx, "symlink", name, err)
	}
	if can, err := p.Can(ctx, CapSymlink, ""); err != nil || !can {
		return p.fail(ctx, "symlink", name, &Error{Kind: KindUnsupported, Err: err})
	}
	if strings.Contains(absTarget, " ") || strings.Contains(abs, " ") {
		return p.fail(ctx, "symlink", name, &Error{Kind: KindUnsupported, Advice: "SITE SYMLINK has no way to write a space"})
	}
	settle := func(ctx context.Context) (bool, error) {
		_, err := p.Readlink(ctx, name)
		if absent(err) {
			return false, nil
		}
		return err == nil, err
	}
	make := func() error {
		return p.change(ctx, call{op: "symlink", path: name, settle: settle}, "SITE SYMLINK "+absTarget+" "+abs)
	}
	if err = make(); KindOf(err) == KindNotFound || KindOf(err) == KindRefused {
		err = p.symlinkToNothing(ctx, joinTarget(name, target), parentOf(name), make, err)
	}
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotMade(ctx, name, e) })
}

// symlinkToNothing makes a link in dir whose target is not there yet, as tar and rsync do, on a server that refuses such ones
// (ProFTPD): an empty folder stands in for the target meanwhile. Whatever came in its place is left alone, as RMD removes
// nothing else. refusal is the server's to the first attempt.
func (p *Pool) symlinkToNothing(ctx context.Context, target, dir string, make func() error, refusal error) error {
	if _, err := p.Stat(ctx, target); !absent(err) {
		return refusal
	}
	if p.Mkdir(ctx, target) != nil {
		return refusal
	}
	err := make()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Timeout)
	defer cancel()
	if rerr := p.Rmdir(ctx, target); rerr != nil {
		p.log.Warn("the folder that stood in for the target of a symlink could not be removed", "path", target, "err", rerr)
	}
	if err == nil {
		p.noteHidden(dir) // MLSD leaves out links that lead nowhere
	}
	return err
}

// joinTarget gives a symlink's target as a path within the mount.
func joinTarget(name, target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	return joinClean(parentOf(name), target)
}

// gone settles a removal: nothing there means that it happened.
func (p *Pool) gone(name string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		_, err := p.Stat(ctx, name)
		if absent(err) {
			return true, nil
		}
		return false, err
	}
}

// change sends commands in one flight; the last one's refusal, or an earlier one's, is the error. A sequence that the server cannot
// go on with (RNFR refused) leaves the session in step.
func (p *Pool) change(ctx context.Context, cl call, cmds ...string) error {
	cl.share = true
	return p.do(ctx, cl, func(ctx context.Context, c *conn) error { return c.obeyed(ctx, cmds...) })
}

// obeyed sends commands, none of which may be refused.
func (c *conn) obeyed(ctx context.Context, cmds ...string) error {
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return err
	}
	for i, r := range replies {
		if err := refused(cmds[i], r); err != nil {
			return err
		}
	}
	return nil
}

// refused gives the refusal that r is of cmd, nil if it is none.
func refused(cmd string, r wire.Reply) error {
	if r.Refused() {
		return &wire.ReplyError{Cmd: cmd, Reply: r}
	}
	return nil
}

// explain looks at the server when a refusal did not tell its cause; why gives the kind, which replaces the guess.
func (p *Pool) explain(ctx context.Context, err error, why func(*Error) Kind) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) || !e.unsure || ctx.Err() != nil {
		return err
	}
	if k := why(e); k != KindOther {
		e.Kind = k
	}
	return e
}

// whyNotMade: MKD, SITE SYMLINK and STOR of a name that was to be new.
func (p *Pool) whyNotMade(ctx context.Context, name string, e *Error) Kind {
	if _, err := p.Stat(ctx, name); err == nil {
		return KindExists
	} else if !absent(err) {
		return KindOf(err)
	}
	return p.whyNotInParent(ctx, name, e)
}

// whyNotInParent: name is not there, and the server would not make it.
func (p *Pool) whyNotInParent(ctx context.Context, name string, e *Error) Kind {
	parent, err := p.Stat(ctx, parentOf(name))
	switch {
	case absent(err):
		return KindNotFound
	case err != nil:
		return KindOf(err)
	case parent.Type == TypeFile || parent.Type == TypeOther:
		return KindNotDir
	case e.Kind == KindUnsupported:
		return KindUnsupported
	}
	return KindRefused
}

// whyNotRemoved: DELE and RMD.
func (p *Pool) whyNotRemoved(ctx context.Context, name string, folder bool, e *Error) Kind {
	found, err := p.Stat(ctx, name)
	switch {
	case absent(err):
		return KindNotFound
	case err != nil:
		return KindOf(err)
	case !folder && found.Type == TypeDir:
		return KindIsDir
	case folder && found.Type != TypeDir && found.Type != TypeUnknown:
		return KindNotDir
	case folder:
		l, err := p.listOnce(ctx, "rmdir", name)
		if err == nil && len(l.Entries) > 0 {
			return KindNotEmpty
		}
	}
	if e.Kind == KindUnsupported {
		return KindUnsupported
	}
	return KindRefused
}

// whyNotRenamed: RNFR or RNTO.
func (p *Pool) whyNotRenamed(ctx context.Context, from, to string, e *Error) Kind {
	rs, err := p.StatMany(ctx, []string{from, to})
	if err != nil {
		return KindOther
	}
	src, dst := rs[0], rs[1]
	switch {
	case absent(src.Err):
		return KindNotFound
	case absent(dst.Err):
		if strings.HasPrefix(to, strings.TrimSuffix(from, "/")+"/") {
			return KindRefused // a folder into itself
		}
		return p.whyNotInParent(ctx, to, e)
	case src.Err != nil || dst.Err != nil:
		return KindOther
	case dst.Entry.Type == TypeDir && src.Entry.Type != TypeDir:
		return KindIsDir
	case dst.Entry.Type != TypeDir && src.Entry.Type == TypeDir:
		return KindNotDir
	case dst.Entry.Type == TypeDir:
		l, err := p.listOnce(ctx, "rename", to)
		if err == nil && len(l.Entries) > 0 {
			return KindNotEmpty
		}
	}
	return KindExists
}
