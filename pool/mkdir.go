package pool

import (
	"context"
	"errors"
)

// Mkdir makes a folder. KindExists when the name is taken. After a connection that was lost in between, an empty folder of
// that name counts as ours.
func (p *Pool) Mkdir(ctx context.Context, name string) error {
	return p.mkdir(ctx, name, func(ctx context.Context, c *conn, abs string) error {
		return c.obeyed(ctx, "MKD "+abs)
	})
}

// MkdirMode is Mkdir of a folder that is to have the permission bits mode. set tells whether it has them already: in the same round
// trip, where the server is known to change modes and to tell of them. Otherwise SetAttrs has to see to it.
//
// FTP has no condition between commands, so a folder that another host made at that name is given the mode as well. Its own is
// asked for ahead, in the same flight, and given back.
func (p *Pool) MkdirMode(ctx context.Context, name string, mode uint32) (set bool, err error) {
	method := p.memory.get().Chmod
	if method == "" || p.settable(true, Attrs{Mode: &mode}) != nil || !p.server().has("MLST", "unix.mode") {
		return false, p.Mkdir(ctx, name)
	}
	err = p.mkdir(ctx, name, func(ctx context.Context, c *conn, abs string) error {
		set = false
		look, make, change := "MLST "+abs, "MKD "+abs, method.command(abs, mode)
		replies, err := c.flight(ctx, look, make, change)
		if err != nil {
			return err
		}
		changed := replies[2].OK()
		if err := refused(make, replies[1]); err != nil {
			if changed {
				p.giveModeBack(ctx, c, abs, method, readMLST(look, replies[0]))
			}
			return err
		}
		set = changed
		return nil
	})
	return set && err == nil, err
}

// giveModeBack undoes what MkdirMode did to somebody else's object; was is what was there ahead of it. The mode told of a
// symlink may be the link's own, while the one changed was its target's.
func (p *Pool) giveModeBack(ctx context.Context, c *conn, abs string, method modeMethod, was answer) {
	if p.server().linksLie {
		was.unmaskFolder()
	}
	err := errors.New("what it was is not known")
	if e := was.entry; was.refused == nil && e.HasMode && e.Type != TypeSymlink && (!p.server().linksLie || !maybeLink(e)) {
		err = c.obeyed(ctx, method.command(abs, was.entry.Mode))
	}
	if err != nil {
		p.log.Warn("another host made something under the name of a new folder; its mode was changed", "path", abs, "err", err)
	}
}

// mkdir makes a folder by what make sends.
func (p *Pool) mkdir(ctx context.Context, name string, make func(ctx context.Context, c *conn, abs string) error) error {
	abs, err := p.remoteNew(ctx, "mkdir", name)
	if err != nil {
		return p.fail(ctx, "mkdir", name, err)
	}
	settle := func(ctx context.Context) (bool, error) {
		e, err := p.Stat(ctx, name)
		switch {
		case absent(err):
			return false, nil
		case err != nil:
			return false, err
		case e.Type != TypeDir:
			return true, &Error{Kind: KindExists}
		}
		l, err := p.listOnce(ctx, "mkdir", name)
		if err == nil && len(l.Entries) > 0 {
			err = &Error{Kind: KindExists}
		}
		return err == nil, err
	}
	err = p.do(ctx, call{op: "mkdir", path: name, settle: settle}, func(ctx context.Context, c *conn) error { return make(ctx, c, abs) })
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotMade(ctx, name, e) })
}
