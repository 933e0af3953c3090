package pool

import (
	"context"
	"io"
	"path"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// probe tries things out on one name of ours and a second one derived from it.
type probe struct {
	p    *Pool
	name string
}

const probeContent = "0123456789"

// run finds out about c, and about what can be learned on the way.
func (pr *probe) run(ctx context.Context, c Capability) error {
	switch c {
	case CapSetDirModTime:
		return pr.folder(ctx)
	case CapRenameOverDir:
		return pr.overFolder(ctx)
	}
	defer pr.clean(ctx, pr.name)
	if err := pr.store(ctx, pr.name, UploadOptions{}, probeContent); err != nil {
		return err
	}
	switch c {
	case CapAppend, CapResumeStore, CapKeepsTail:
		return pr.offsets(ctx)
	case CapRenameReplace:
		return pr.replace(ctx)
	case CapSetModTime:
		return pr.attr(ctx, CapSetModTime, Attrs{ModTime: &probeTime})
	case CapFoldsCase:
		return pr.folds(ctx)
	case CapChmod:
		mode := uint32(0o640)
		return pr.attr(ctx, CapChmod, Attrs{Mode: &mode})
	}
	return nil // CapVerify: store has found out
}

var probeTime = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

// clean removes what a probe left, also when the caller has given up.
func (pr *probe) clean(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pr.p.cfg.Timeout)
	defer cancel()
	if err := pr.p.Remove(ctx, name); err != nil && !absent(err) {
		pr.p.log.Warn("a temporary file of ours could not be removed", "path", name, "err", err)
	}
}

// store writes content and verifies nothing; the probes do that themselves.
func (pr *probe) store(ctx context.Context, name string, o UploadOptions, content string) error {
	u, err := pr.p.Upload(ctx, name, o)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(u, content); err != nil {
		u.Abort()
		return err
	}
	_, err = u.Finish(ctx, Finish{Size: -1})
	return err
}

// offsets tries APPE, then STOR at an offset, and reads what came of it.
func (pr *probe) offsets(ctx context.Context) error {
	want := probeContent
	err := pr.store(ctx, pr.name, UploadOptions{Mode: UploadAppend}, "ab")
	got, rerr := pr.read(ctx)
	if rerr != nil {
		return rerr
	}
	if !refusedKind(err) {
		return err
	}
	appended := err == nil && got == want+"ab"
	pr.p.memory.setCan(CapAppend, appended)
	if appended {
		want += "ab"
	}
	err = pr.store(ctx, pr.name, UploadOptions{Mode: UploadAt, Offset: 4}, "XY")
	if got, rerr = pr.read(ctx); rerr != nil {
		return rerr
	}
	if !refusedKind(err) {
		return err
	}
	tail := err == nil && got == want[:4]+"XY"+want[6:]
	pr.p.memory.setCan(CapKeepsTail, tail)
	pr.p.memory.setCan(CapResumeStore, tail || err == nil && got == want[:4]+"XY")
	return nil
}

// refusedKind says that err is nil or the server's decision, from which something can be learned; a lost connection, or a
// full disk, tells nothing.
func refusedKind(err error) bool {
	if err == nil {
		return true
	}
	switch KindOf(err) {
	case KindUnsupported, KindRefused, KindPermission, KindExists, KindIncomplete, KindNotEmpty, KindIsDir, KindNotDir, KindInvalidName:
		return true
	}
	return false
}

func (pr *probe) read(ctx context.Context) (string, error) {
	d, err := pr.p.Download(ctx, pr.name, DownloadOptions{Length: -1, Size: -1})
	if err != nil {
		return "", err
	}
	defer d.Close()
	b, err := io.ReadAll(io.LimitReader(d, 100))
	return string(b), err
}

// replace tries to rename over a file.
func (pr *probe) replace(ctx context.Context) error {
	other := pr.name + "b"
	defer pr.clean(ctx, other)
	if err := pr.store(ctx, other, UploadOptions{}, "new"); err != nil {
		return err
	}
	err := pr.p.Rename(ctx, other, pr.name)
	if !refusedKind(err) {
		return err
	}
	got, rerr := pr.read(ctx)
	if rerr != nil {
		return rerr
	}
	pr.p.memory.setCan(CapRenameReplace, err == nil && got == "new")
	return nil
}

// attr tries to set an attribute of a file. SetAttrs learns by itself; a refusal without a cause, of our own file, is one more answer.
func (pr *probe) attr(ctx context.Context, c Capability, a Attrs) error {
	err := pr.p.SetAttrs(ctx, pr.name, false, a)
	if !refusedKind(err) {
		return err
	}
	if _, known := pr.p.memory.can(c); !known {
		pr.p.memory.setCan(c, err == nil)
	}
	return nil
}

// folder tries to set the time of a folder.
func (pr *probe) folder(ctx context.Context) error {
	if err := pr.p.Mkdir(ctx, pr.name); err != nil {
		return err
	}
	defer pr.sweep(ctx)
	err := pr.p.SetAttrs(ctx, pr.name, true, Attrs{ModTime: &probeTime})
	if !refusedKind(err) {
		return err
	}
	pr.p.memory.setCan(CapSetDirModTime, err == nil)
	return nil
}

// overFolder renames a folder of ours, with something in it, over an empty one. A server that moves the one into the other,
// or says that it did something when it did not, has no folder "in" where it should be then.
func (pr *probe) overFolder(ctx context.Context) error {
	if err := pr.p.Mkdir(ctx, pr.name); err != nil {
		return err
	}
	defer pr.sweep(ctx)
	for _, dir := range []string{"/from", "/from/in", "/to"} {
		if err := pr.p.Mkdir(ctx, pr.name+dir); err != nil {
			return err
		}
	}
	err := pr.p.Rename(ctx, pr.name+"/from", pr.name+"/to")
	if !refusedKind(err) {
		return err
	}
	_, serr := pr.p.Stat(ctx, pr.name+"/to/in")
	if serr != nil && !absent(serr) {
		return serr
	}
	pr.p.memory.setCan(CapRenameOverDir, err == nil && serr == nil)
	return nil
}

// folds asks for our file under its name in capitals. It must be a command about that one name: what a listing tells is not
// what the server looks up.
func (pr *probe) folds(ctx context.Context) error {
	abs, err := pr.p.remote("probe", otherCase(pr.name))
	if err != nil {
		return err
	}
	return pr.p.do(ctx, call{op: "probe", path: pr.name}, func(ctx context.Context, c *conn) error {
		replies, err := c.flight(ctx, "SIZE "+abs)
		if err == nil && !judgedAway(replies[0]) {
			pr.p.memory.setCan(CapFoldsCase, replies[0].OK())
		}
		return err
	})
}

// judgedAway tells replies that say nothing about the name asked for: the server does not know the command, or ends.
func judgedAway(r wire.Reply) bool {
	return !r.OK() && (r.Code < 550 || r.Code > 559 || judge(r).kind == KindUnsupported)
}

// otherCase gives a path whose last element has its ASCII letters in the other case; the path itself if there are none.
func otherCase(name string) string {
	dir, base := path.Split(name)
	return dir + strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return r
	}, base)
}

// sweep removes the probe's folder with all that the server made in it, under whatever names.
func (pr *probe) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pr.p.cfg.Timeout)
	defer cancel()
	if err := pr.sweepDir(ctx, pr.name); err != nil {
		pr.p.log.Warn("a temporary folder of ours could not be removed", "path", pr.name, "err", err)
	}
}

func (pr *probe) sweepDir(ctx context.Context, dir string) error {
	l, err := pr.p.listOnce(ctx, "probe", dir)
	if err != nil {
		return err
	}
	for _, e := range l.Entries {
		name := joinClean(dir, e.Name)
		if e.Type == TypeDir {
			err = pr.sweepDir(ctx, name)
		} else {
			err = pr.p.Remove(ctx, name)
		}
		if err != nil && !absent(err) {
			return err
		}
	}
	return pr.p.Rmdir(ctx, dir)
}
