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

// usualFolderMode is what most servers give a new folder by themselves.
const usualFolderMode = 0o755

// MkdirMode is Mkdir of a folder that is to have the permission bits mode. set tells whether it has them already: in the same round
// trip, where the server can change modes and tells of them. Otherwise SetAttrs has to see to it.
//
// FTP has no condition between commands, so a folder that another host made at that name is given the mode as well. Its own is
// asked for ahead, in the same flight, and given back.
func (p *Pool) MkdirMode(ctx context.Context, name string, mode uint32) (set bool, err error) {
	m := p.madeAtOnce(mode)
	if m.method == "" {
		return false, p.Mkdir(ctx, name)
	}
	err = p.mkdir(ctx, name, m.run)
	return m.set && err == nil, err
}

// MkdirTold is MkdirMode where it is not known yet which mode folders get by themselves. told is what the server said of
// the new one ahead of the change of its mode, nil if it said nothing. A mode that is most likely the folder's own is not set.
func (p *Pool) MkdirTold(ctx context.Context, name string, mode uint32) (told *Entry, set bool, err error) {
	if !p.server().mlst {
		if err := p.Mkdir(ctx, name); err != nil {
			return nil, false, err
		}
		if e, err := p.Stat(ctx, name); err == nil && e.Type == TypeDir {
			told = &e
		}
		return told, false, nil
	}
	m := p.madeAtOnce(mode)
	m.tell = true
	if mode == usualFolderMode {
		m.method = ""
	}
	if err := p.mkdir(ctx, name, m.run); err != nil {
		return nil, false, err
	}
	if m.told != nil {
		m.told.Name = nameOf(name)
	}
	return m.told, m.set, nil
}

// madeAtOnce is a folder that is made, told of and given its mode in one flight.
type madeAtOnce struct {
	p      *Pool
	mode   uint32
	method modeMethod // "": the mode is left alone
	tell   bool       // what the server made of it is asked for

	told *Entry
	set  bool
}

// madeAtOnce says how a mode is set in the flight that makes the folder. A method that nobody has tried yet does no harm: a server
// without it refuses.
func (p *Pool) madeAtOnce(mode uint32) *madeAtOnce {
	m := &madeAtOnce{p: p, mode: mode}
	methods := p.modeMethods()
	if len(methods) > 0 && p.settable(true, Attrs{Mode: &mode}) == nil && p.server().has("MLST", "unix.mode") {
		m.method = methods[0]
	}
	return m
}

func (m *madeAtOnce) run(ctx context.Context, c *conn, abs string) error {
	m.told, m.set = nil, false
	look, make, change := "MLST "+abs, "MKD "+abs, m.method.command(abs, m.mode)
	var cmds []string
	if m.method != "" {
		cmds = append(cmds, look)
	}
	made := len(cmds)
	cmds = append(cmds, make)
	if m.tell {
		cmds = append(cmds, look)
	}
	if m.method != "" {
		cmds = append(cmds, change)
	}
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return err
	}
	changed := m.method != "" && replies[len(replies)-1].OK()
	if changed {
		m.p.learnMode(m.method)
	}
	if err := refused(make, replies[made]); err != nil {
		if changed {
			m.p.giveModeBack(ctx, c, abs, m.method, readMLST(look, replies[0]))
		}
		return err
	}
	m.set = changed
	if m.tell {
		m.read(readMLST(look, replies[made+1]))
	}
	return nil
}

// read takes what was told of the new folder.
func (m *madeAtOnce) read(a answer) {
	if m.p.server().linksLie {
		a.unmaskFolder()
	}
	if a.refused == nil && !a.unclear && a.entry.Type == TypeDir {
		m.told = &a.entry
	}
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
	err = p.do(ctx, call{op: "mkdir", path: name, share: true, settle: settle}, func(ctx context.Context, c *conn) error { return make(ctx, c, abs) })
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotMade(ctx, name, e) })
}
