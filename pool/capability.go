package pool

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"
)

var capabilityNames = map[Capability]string{
	CapAppend: "append", CapResumeStore: "resume_store", CapKeepsTail: "keeps_tail", CapRenameReplace: "rename_replace",
	CapSetModTime: "set_mtime", CapSetDirModTime: "set_dir_mtime", CapChmod: "chmod", CapSymlink: "symlink",
	CapExactTimes: "exact_times", CapVerify: "verify", CapRenameOverDir: "rename_over_dir", CapFoldsCase: "folds_case",
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

// capabilities gives what is known.
func (p *Pool) capabilities() map[Capability]bool {
	all := map[Capability]bool{}
	for c := range capabilityNames {
		if can, known := p.Known(c); known {
			all[c] = can
		}
	}
	return all
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
