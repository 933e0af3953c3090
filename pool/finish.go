package pool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// checks are the commands behind an upload. Attributes come first, so that what is told of the file is what it has in the end.
type checks struct{ attrs, reads []string }

func (u *upload) checks(a Attrs) checks {
	return checks{u.attrCommands(a), append(u.readCommands(), u.foldQuestion()...)}
}

func (k checks) commands() []string { return append(slices.Clone(k.attrs), k.reads...) }

// harmless tells whether the commands may leave before it is known that the upload succeeded: a mode without the right to write
// would stand in the way of the next attempt.
func (k checks) harmless(a Attrs) bool { return a.Mode == nil || *a.Mode&0o200 != 0 }

// complete verifies an upload that the server called complete, and sets attributes, in one flight: on the upload's own
// connection if c is not nil, else on another. All of it may be repeated. told are the replies of c, if it was asked already.
func (u *upload) complete(ctx context.Context, c *conn, f Finish, size int64, k checks, told []wire.Reply) (FinishResult, error) {
	var res FinishResult
	check := func(ctx context.Context, c *conn) (err error) {
		replies := told
		told = nil // those are of this connection
		if replies == nil {
			if replies, err = c.flight(ctx, k.commands()...); err != nil {
				return err
			}
		}
		res, err = u.check(ctx, c, f, size, k, replies)
		return err
	}
	if c != nil {
		b := u.p.newBudget(ctx)
		err := check(b.ctx, c)
		lost := c.s.Poisoned() != nil
		u.p.release(c)
		if err == nil || !lost {
			defer b.end()
			return res, u.checked(b.ctx, err)
		}
		b.end()
	}
	return res, u.checked(ctx, u.p.do(ctx, call{op: "store", path: u.name}, check))
}

// checked makes a nil *Error a nil error.
func (u *upload) checked(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return u.p.fail(ctx, "store", u.name, err)
}

// check judges the replies to the commands behind the 226.
func (u *upload) check(ctx context.Context, c *conn, f Finish, size int64, k checks, replies []wire.Reply) (FinishResult, error) {
	var err error
	attrs, reads := k.attrs, k.reads
	var res FinishResult
	slow := false
	for i, r := range replies[:len(attrs)] {
		slow = slow || r.Refused()
		if r.OK() {
			u.p.learnAttr(attrs[i])
		}
	}
	told := replies[len(attrs):]
	unset := f.Attrs.Mode != nil || f.Attrs.ModTime != nil
	if slow || unset && len(attrs) == 0 {
		if res.AttrsErr, told, err = u.setSlowly(ctx, c, f.Attrs, reads); err != nil {
			return res, err
		}
	}
	var known bool
	if res.Entry, known, err = u.entry(ctx, c, reads, told); err != nil {
		return res, err
	}
	if known && len(told) > foldReply {
		u.noteFold(told[foldReply])
	}
	if f.Attrs.ModTime == nil && res.Entry.Exact {
		ahead := int64(res.Entry.ModTime.Sub(u.p.now()).Round(time.Second) / time.Second)
		u.p.noteClock(ahead)
	}
	return u.verify(ctx, c, f, size, res, known)
}

// clockSlack is how much two looks at a server's clock may differ without one of them being wrong: seconds are cut.
const clockSlack = 2

// noteClock keeps how many seconds the server's clock is ahead.
func (p *Pool) noteClock(ahead int64) {
	p.counters.clockAhead.Store(&ahead)
	if was := p.memory.get().Clock; was == nil || max(*was-ahead, ahead-*was) > clockSlack {
		p.memory.set(func(l *learned) { l.Clock = &ahead })
	}
}

// attrCommands are sent blindly with the first method each; a refusal is looked at later.
func (u *upload) attrCommands(a Attrs) []string {
	var cmds []string
	if u.p.settable(false, a) != nil {
		return nil
	}
	if modes := u.p.modeMethods(); a.Mode != nil && len(modes) > 0 {
		cmds = append(cmds, modes[0].command(u.abs, *a.Mode))
	}
	if times := u.p.timeMethods(); a.ModTime != nil && len(times) > 0 {
		cmds = append(cmds, times[0].command(u.abs, *a.ModTime))
	}
	return cmds
}

// learnAttr notes a method that worked.
func (p *Pool) learnAttr(cmd string) {
	for _, m := range []timeMethod{timeMFMT, timeMDTM, timeUTIME} {
		if strings.HasPrefix(cmd, string(m)+" ") {
			p.learnTime(m, false)
		}
	}
	for _, m := range []modeMethod{modeSITE, modeMFF} {
		if strings.HasPrefix(cmd, string(m)+" ") {
			p.learnMode(m)
		}
	}
}

// setSlowly tries the other methods and asks again what the file looks like.
func (u *upload) setSlowly(ctx context.Context, c *conn, a Attrs, reads []string) (failed error, _ []wire.Reply, _ error) {
	err := u.p.settable(false, a)
	if err == nil {
		err = u.p.setAttrs(ctx, c, u.abs, false, a)
	}
	if err != nil {
		if c.s.Poisoned() != nil {
			return nil, nil, err
		}
		failed = u.p.fail(ctx, "setattr", u.name, err)
	}
	told, err := c.flight(ctx, reads...)
	return failed, told, err
}

// readCommands ask for the file as it is now. SIZE follows symlinks everywhere, MLST not.
func (u *upload) readCommands() []string {
	if u.p.server().mlst {
		return []string{"SIZE " + u.abs, "MLST " + u.abs}
	}
	return []string{"SIZE " + u.abs, "MDTM " + u.abs}
}

// foldReply is where the reply to foldQuestion is, behind those to readCommands.
const foldReply = 2

// foldQuestion asks, as long as it is not known whether the server folds the case of names, for the file under its name in
// the other case: in this flight that costs no round trip.
func (u *upload) foldQuestion() []string {
	_, known := u.p.memory.can(CapFoldsCase)
	other := otherCase(u.abs)
	if known || other == u.abs {
		return nil
	}
	return []string{"SIZE " + other}
}

// noteFold: the file is there, so if nothing is under the other name, case counts. If something is, it may be another file.
func (u *upload) noteFold(r wire.Reply) {
	if !judgedAway(r) && !r.OK() {
		u.p.memory.setCan(CapFoldsCase, false)
	}
}

// entry reads the replies to readCommands. known is false when the server does not tell the size.
func (u *upload) entry(ctx context.Context, c *conn, reads []string, told []wire.Reply) (e Entry, known bool, err error) {
	size, known := readSize(told[0])
	if !u.p.server().mlst {
		e = readSizeTime(reads[0], told[0], told[1]).entry
	} else if a := readMLST(reads[1], told[1]); a.refused == nil && !a.unclear {
		e = a.entry
		switch {
		case !known:
			size, known = e.Size, e.Size >= 0
		case e.Size != size || e.Type != TypeFile: // written through a symlink
			if e, err = u.linked(ctx, c, size); err != nil {
				return e, known, err
			}
		}
	} else {
		e = Entry{Type: TypeFile, UID: -1, GID: -1}
	}
	e.Name, e.Size = nameOf(u.name), size
	if !known {
		e.Size = u.Sent() + u.o.Offset
	}
	return e, known, nil
}

// linked is the entry of a file that was written through a symlink: MLST tells of the link.
func (u *upload) linked(ctx context.Context, c *conn, size int64) (Entry, error) {
	e := Entry{Type: TypeFile, Size: size, UID: -1, GID: -1}
	replies, err := c.flight(ctx, "MDTM "+u.abs)
	if err == nil {
		e.ModTime, e.Exact = readTime(replies[0])
	}
	return e, err
}

// verify compares.
func (u *upload) verify(ctx context.Context, c *conn, f Finish, size int64, res FinishResult, known bool) (FinishResult, error) {
	if u.p.cfg.Verify == VerifyNone {
		return res, nil
	}
	if !known || size < 0 {
		return res, u.untold(known)
	}
	u.p.memory.setCan(CapVerify, true)
	if res.Entry.Size != size {
		return res, &Error{Kind: KindIncomplete, Reply: "the server has " + itoa(res.Entry.Size) + " bytes of " + itoa(size)}
	}
	res.Verified = true
	if u.p.cfg.Verify == VerifyHash && f.Sum != nil && size > 0 {
		return res, u.verifyHash(ctx, c, f.Sum, size)
	}
	return res, nil
}

// untold: the server does not tell the size of what it just stored. Where it does for others, the file is gone.
func (u *upload) untold(known bool) error {
	if can, learned := u.p.memory.can(CapVerify); known || !learned || !can {
		return nil
	}
	return &Error{Kind: KindIncomplete, Reply: "the server does not know the file that it just stored",
		Advice: "if uploads are moved away at once, mount with -o verify=none"}
}

// hashNone marks a server without a command for SHA-256.
const hashNone = "-"

// verifyHash compares the digest. A server that has none is content with the size.
func (u *upload) verifyHash(ctx context.Context, c *conn, sum []byte, size int64) error {
	method := u.p.hashMethod()
	if method == hashNone || method == "XSHA256" && strings.Contains(u.abs, `"`) { // no way to write a quote
		return nil
	}
	// Reading the whole file takes the server as long as its size needs.
	ctx = wire.WithBound(ctx, u.p.cfg.Timeout+time.Duration(size/hashRate)*time.Second)
	got, err := u.digest(ctx, c, method, 0)
	if err == nil && !strings.EqualFold(got, hex.EncodeToString(sum)) {
		// A digest may be remembered from an earlier content of the same second; that of a range is computed.
		got, err = u.digest(ctx, c, method, size)
	}
	var refused *wire.ReplyError
	switch {
	case errors.As(err, &refused) && judge(refused.Original()).kind == KindUnsupported:
		u.p.memory.set(func(l *learned) { l.Hash = hashNone })
		return nil
	case err != nil:
		return err
	case !strings.EqualFold(got, hex.EncodeToString(sum)):
		return &Error{Kind: KindIncomplete, Reply: "the server's SHA-256 is " + got + ", not " + hex.EncodeToString(sum)}
	}
	return nil
}

// hashRate is what a server reads and digests at least, in bytes per second.
const hashRate = 20 << 20

// hashMethod gives the command for SHA-256 that FEAT tells of.
func (p *Pool) hashMethod() string {
	switch s := p.server(); {
	case p.memory.get().Hash != "":
		return p.memory.get().Hash
	case s.has("HASH", "sha-256"):
		return "HASH"
	case s.has("XSHA256", ""):
		return "XSHA256"
	}
	return hashNone
}

// digest asks for the SHA-256 of the file; of the range from 0 to size, which is the same, if size is not 0.
func (u *upload) digest(ctx context.Context, c *conn, method string, size int64) (string, error) {
	var cmds []string
	switch {
	case method == "XSHA256":
		cmd := `XSHA256 "` + u.abs + `"`
		if size > 0 {
			cmd += " 0 " + itoa(size)
		}
		cmds = []string{cmd}
	case size > 0 && u.p.server().rang:
		cmds = []string{"OPTS HASH SHA-256", "RANG 0 " + itoa(size-1), "HASH " + u.abs}
	default:
		cmds = []string{"OPTS HASH SHA-256", "HASH " + u.abs}
	}
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return "", err
	}
	last := replies[len(replies)-1]
	if last.Refused() {
		return "", &wire.ReplyError{Cmd: cmds[len(cmds)-1], Reply: last}
	}
	if sum := readDigest(last); sum != "" {
		return sum, nil
	}
	return "", &Error{Kind: KindProtocol, Reply: "no digest in " + last.String()}
}

// readDigest gives the SHA-256 in the reply to HASH (draft-bryan-ftp-hash) or XSHA256, "" if there is none. The name, which may look
// like one, comes behind it.
func readDigest(r wire.Reply) string {
	for _, word := range strings.Fields(r.Text()) {
		if raw, err := hex.DecodeString(word); err == nil && len(raw) == sha256.Size {
			return word
		}
	}
	return ""
}
