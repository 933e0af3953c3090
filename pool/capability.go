package pool

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"
)

var capabilityNames = map[Capability]string{
	CapAppend: "append", CapResumeStore: "resume_store", CapKeepsTail: "keeps_tail", CapRenameReplace: "rename_replace",
	CapSetModTime: "set_mtime", CapSetDirModTime: "set_dir_mtime", CapChmod: "chmod", CapSymlink: "symlink",
	CapExactTimes: "exact_times", CapVerify: "verify",
}

// String gives the name that reports and the learned file use.
func (c Capability) String() string {
	if s, ok := capabilityNames[c]; ok {
		return s
	}
	return fmt.Sprintf("capability_%d", uint8(c))
}

// MarshalText makes capabilities readable keys of JSON maps.
func (c Capability) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads them back; a name of another version is an error.
func (c *Capability) UnmarshalText(text []byte) error {
	for k, name := range capabilityNames {
		if name == string(text) {
			*c = k
			return nil
		}
	}
	return fmt.Errorf("unknown capability %q", text)
}

// Known tells what is known of a capability without asking the server.
func (p *Pool) Known(c Capability) (can, known bool) {
	srv := p.server()
	switch c {
	case CapExactTimes:
		return srv.mlst, srv.identity != ""
	case CapVerify:
		if srv.mlst || srv.has("SIZE", "") {
			return true, true
		}
	}
	return p.memory.can(c)
}

// Can tells whether the server can do something, trying it out on temporary files of ours in probeDir if that is not
// known yet; they are removed at the end. What was found is remembered. On a read-only mount nothing is tried and what
// is unknown gives KindReadOnly.
func (p *Pool) Can(ctx context.Context, c Capability, probeDir string) (bool, error) {
	if can, known := p.Known(c); known {
		return can, nil
	}
	if c == CapSymlink { // no file is needed to find out
		return p.canSymlink(ctx)
	}
	if p.cfg.ReadOnly {
		return false, p.fail(ctx, "probe", probeDir, &Error{Kind: KindReadOnly})
	}
	if probeDir == "" {
		probeDir = "/"
	}
	p.probing.Lock() // one at a time: the second finds it known. Held across the network, by probes only
	defer p.probing.Unlock()
	if can, known := p.Known(c); known {
		return can, nil
	}
	pr := &probe{p: p, name: path.Join(probeDir, probeName())}
	if err := pr.run(ctx, c); err != nil {
		return false, p.fail(ctx, "probe", probeDir, err)
	}
	can, known := p.Known(c)
	if !known {
		return false, p.fail(ctx, "probe", probeDir, &Error{Kind: KindOther, Err: errors.New("the server's answers were not conclusive: " + c.String())})
	}
	p.memory.save()
	return can, nil
}

// probePrefix begins the names of our temporary files.
const probePrefix = ".ftpsfs-probe-"

func probeName() string {
	var b [6]byte
	_, _ = rand.Read(b[:])
	return probePrefix + hex.EncodeToString(b[:])
}

// IsProbe tells the names of our temporary files.
func IsProbe(name string) bool { return strings.HasPrefix(name, probePrefix) }

// canSymlink asks for the list of SITE commands.
func (p *Pool) canSymlink(ctx context.Context) (bool, error) {
	var text string
	err := p.do(ctx, call{op: "probe"}, func(ctx context.Context, c *conn) error {
		replies, err := c.flight(ctx, "SITE HELP")
		if err == nil && !replies[0].Refused() {
			text = replies[0].Text()
		}
		return err
	})
	if err != nil {
		return false, err
	}
	can := strings.Contains(strings.ToUpper(text), "SYMLINK")
	p.memory.setCan(CapSymlink, can)
	return can, nil
}

// probe tries things out on one name of ours and a second one derived from it.
type probe struct {
	p    *Pool
	name string
}

const probeContent = "0123456789"

// run finds out about c, and about what can be learned on the way.
func (pr *probe) run(ctx context.Context, c Capability) error {
	if c == CapSetDirModTime {
		return pr.folder(ctx)
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
	case KindUnsupported, KindRefused, KindPermission, KindExists, KindIncomplete:
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
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pr.p.cfg.Timeout)
		defer cancel()
		if err := pr.p.Rmdir(ctx, pr.name); err != nil {
			pr.p.log.Warn("a temporary folder of ours could not be removed", "path", pr.name, "err", err)
		}
	}()
	err := pr.p.SetAttrs(ctx, pr.name, true, Attrs{ModTime: &probeTime})
	if !refusedKind(err) {
		return err
	}
	pr.p.memory.setCan(CapSetDirModTime, err == nil)
	return nil
}
