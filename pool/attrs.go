package pool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// timeMethod says how a server sets a modification time.
type timeMethod string

// The methods, in the order in which they are tried.
const (
	timeMFMT  timeMethod = "MFMT"       // draft-somers-ftp-mfxx
	timeMDTM  timeMethod = "MDTM"       // with a time before the path: vsftpd, files only
	timeUTIME timeMethod = "SITE UTIME" // with three times and a zone
	timeNone  timeMethod = "-"          // none of them
)

// modeMethod says how a server sets permission bits.
type modeMethod string

// The methods.
const (
	modeSITE modeMethod = "SITE CHMOD"
	modeMFF  modeMethod = "MFF"
	modeNone modeMethod = "-"
)

const timeFormat = "20060102150405"

func (m timeMethod) command(abs string, t time.Time) string {
	at := t.UTC().Format(timeFormat)
	if m == timeUTIME {
		return fmt.Sprintf("SITE UTIME %s %s %s %s UTC", abs, at, at, at)
	}
	return fmt.Sprintf("%s %s %s", m, at, abs)
}

func (m modeMethod) command(abs string, mode uint32) string {
	if m == modeMFF {
		return fmt.Sprintf("MFF UNIX.mode=%04o; %s", mode, abs)
	}
	return fmt.Sprintf("SITE CHMOD %03o %s", mode, abs)
}

// timeMethods are those worth trying, the known one alone.
func (p *Pool) timeMethods() []timeMethod {
	switch m := p.memory.get().MTime; m {
	case timeNone:
		return nil
	case "":
		if p.server().has(string(timeMFMT), "") {
			return []timeMethod{timeMFMT, timeUTIME}
		}
		return []timeMethod{timeMDTM, timeMFMT, timeUTIME}
	default:
		return []timeMethod{m}
	}
}

func (p *Pool) modeMethods() []modeMethod {
	switch m := p.memory.get().Chmod; m {
	case modeNone:
		return nil
	case "":
		if p.server().has("MFF", "unix.mode") {
			return []modeMethod{modeSITE, modeMFF}
		}
		return []modeMethod{modeSITE}
	default:
		return []modeMethod{m}
	}
}

// SetAttrs sets mode and modification time, in one flight once it is known how. KindUnsupported when the server cannot.
// Nothing is emulated.
func (p *Pool) SetAttrs(ctx context.Context, name string, isDir bool, a Attrs) error {
	abs, err := p.remote("setattr", name)
	if err != nil {
		return p.fail(ctx, "setattr", name, err)
	}
	if err := p.settable(isDir, a); err != nil {
		return p.fail(ctx, "setattr", name, err)
	}
	err = p.do(ctx, call{op: "setattr", path: name, share: true}, func(ctx context.Context, c *conn) error {
		return p.setAttrs(ctx, c, abs, isDir, a)
	})
	return p.explain(ctx, err, func(e *Error) Kind { return p.whyNotSet(ctx, name, e) })
}

// settable refuses what is known not to work.
func (p *Pool) settable(isDir bool, a Attrs) error {
	m := p.memory.get()
	switch {
	case a.ModTime != nil && (a.ModTime.UTC().Year() < 1 || a.ModTime.UTC().Year() > 9999):
		return &Error{Kind: KindUnsupported, Reply: "a year that FTP cannot write"}
	case a.ModTime != nil && (m.MTime == timeNone || isDir && (m.MTime == timeMDTM || p.server().vsftpd)):
		return &Error{Kind: KindUnsupported, Reply: "the server cannot set this time"}
	case a.Mode != nil && m.Chmod == modeNone:
		return &Error{Kind: KindUnsupported, Reply: "the server cannot set modes"}
	case a.Mode != nil && *a.Mode == 0 && p.server().pureFTPd:
		return &Error{Kind: KindUnsupported, Reply: "this server could never change it back"}
	}
	return nil
}

// setAttrs sends what is known to work in one flight; what is not known yet is tried one method after the other.
func (p *Pool) setAttrs(ctx context.Context, c *conn, abs string, isDir bool, a Attrs) error {
	modes, times := p.modeMethods(), p.timeMethods()
	var flight []string
	if a.Mode != nil && len(modes) > 0 {
		flight = append(flight, modes[0].command(abs, *a.Mode))
	}
	if a.ModTime != nil && len(times) > 0 {
		flight = append(flight, times[0].command(abs, *a.ModTime))
	}
	replies, err := c.flight(ctx, flight...)
	if err != nil {
		return err
	}
	var failed error
	if a.Mode != nil {
		failed = p.judgeMode(ctx, c, abs, *a.Mode, modes, take(&replies, len(modes) > 0))
	}
	if a.ModTime != nil && (failed == nil || c.s.Poisoned() == nil) {
		err := p.judgeTime(ctx, c, abs, isDir, *a.ModTime, times, take(&replies, len(times) > 0))
		if failed == nil {
			failed = err
		}
	}
	return failed
}

// take removes the first reply, if there is one for this attribute.
func take(replies *[]wire.Reply, there bool) *wire.Reply {
	if !there {
		return nil
	}
	r := &(*replies)[0]
	*replies = (*replies)[1:]
	return r
}

// ask sends one command.
func (c *conn) ask(ctx context.Context, cmd string) (*wire.Reply, error) {
	replies, err := c.flight(ctx, cmd)
	if err != nil {
		return nil, err
	}
	return &replies[0], nil
}

// judgeMode reads the reply to the first method, and tries the others while the server does not know them.
func (p *Pool) judgeMode(ctx context.Context, c *conn, abs string, mode uint32, methods []modeMethod, r *wire.Reply) error {
	for i, m := range methods {
		cmd := m.command(abs, mode)
		if i > 0 {
			var err error
			if r, err = c.ask(ctx, cmd); err != nil {
				return err
			}
		}
		if r.OK() {
			p.learnMode(m)
			return nil
		}
		if judge(*r).kind != KindUnsupported {
			return &wire.ReplyError{Cmd: cmd, Reply: *r}
		}
	}
	p.learnMode(modeNone)
	return &Error{Kind: KindUnsupported, Reply: "the server cannot set modes"}
}

func (p *Pool) learnMode(m modeMethod) {
	if p.memory.get().Chmod != m {
		p.memory.set(func(l *learned) { l.Chmod = m })
		p.memory.setCan(CapChmod, m != modeNone)
	}
}

// judgeTime is judgeMode for times. A server without a method may take the time for a part of the name and answer that
// there is no such file, so every refusal but a clear one leads to the next method while none is known to work.
func (p *Pool) judgeTime(ctx context.Context, c *conn, abs string, isDir bool, t time.Time, methods []timeMethod, r *wire.Reply) error {
	known := len(methods) == 1
	var last *wire.ReplyError
	unsupported := true
	for i, m := range methods {
		cmd := m.command(abs, t)
		if i > 0 {
			var err error
			if r, err = c.ask(ctx, cmd); err != nil {
				return err
			}
		}
		if r.OK() {
			p.learnTime(m, isDir)
			return nil
		}
		last = &wire.ReplyError{Cmd: cmd, Reply: *r}
		v := judge(*r)
		unsupported = unsupported && v.kind == KindUnsupported
		if known || m == timeMFMT && v.kind != KindUnsupported {
			return last
		}
	}
	if unsupported {
		p.learnTime(timeNone, false)
	}
	if last == nil || unsupported || isDir {
		return &Error{Kind: KindUnsupported, Reply: "the server cannot set this time"}
	}
	return last
}

func (p *Pool) learnTime(m timeMethod, isDir bool) {
	if p.memory.get().MTime != m {
		p.memory.set(func(l *learned) { l.MTime = m })
		p.memory.setCan(CapSetModTime, m != timeNone)
	}
	switch {
	case m == timeNone, m == timeMDTM:
		p.memory.setCan(CapSetDirModTime, false)
	case isDir:
		p.memory.setCan(CapSetDirModTime, true)
	}
}

// whyNotSet: a refusal to set attributes of what is there means that we may not.
func (p *Pool) whyNotSet(ctx context.Context, name string, e *Error) Kind {
	_, err := p.Stat(ctx, name)
	switch {
	case absent(err):
		return KindNotFound
	case err != nil:
		return KindOf(err)
	case e.Kind == KindUnsupported:
		return KindUnsupported
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindRefused
}
