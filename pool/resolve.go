package pool

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/listing"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// resolve asks for the bare names of a folder whose listing had lines that no parser understood, and for the type and size
// of those that are missing, so that no file vanishes because of a line.
func (p *Pool) resolve(b *budget, c *conn, dir string, l *Listing) (*Listing, error) {
	var missing []string
	req := session.TransferRequest{Before: []string{"CWD " + p.absDir(dir)}, Verb: "NLST -a"}
	_, err := p.readListing(b, c, req, func(name string) {
		if name = path.Base(name); !listing.ValidName(name) || len(missing) == maxNames {
			return
		}
		if _, found := find(l, name); !found {
			missing = append(missing, name)
		}
	})
	if err != nil || len(missing) == 0 {
		if c.s.Poisoned() != nil {
			return nil, err
		}
		return l, nil // what is known is told, the rest is in Unparsed
	}
	cmds := make([]string, 0, 3*len(missing))
	for _, name := range missing {
		abs := strings.TrimSuffix(p.absDir(dir), "/") + "/" + name
		cmds = append(cmds, "SIZE "+abs, "MDTM "+abs, "CWD "+abs)
	}
	replies, err := c.flight(b.ctx, cmds...)
	if err != nil {
		return nil, err
	}
	entries := l.Entries
	for i, name := range missing {
		e := readSizeTime("", replies[3*i], replies[3*i+1]).entry
		e.Name = name
		switch {
		case replies[3*i+2].OK():
			e.Type, e.Size = TypeDir, -1
		case e.Size < 0:
			e.Type = TypeUnknown
		}
		entries = append(entries, e)
	}
	all := listing.Build(entries)
	all.Truncated, all.Unparsed = l.Truncated, l.Unparsed
	return all, nil
}

// completeLinks adds to an MLSD listing what only LIST tells: where links point, and those that lead nowhere.
func (p *Pool) completeLinks(b *budget, c *conn, dir string, l *Listing) (*Listing, error) {
	col, _, err := p.readLines(b, c, dir)
	if err != nil {
		if c.s.Poisoned() != nil || dataFailed(err) { // what comes and goes must not hide where links point
			return nil, err
		}
		return l, nil
	}
	var added []Entry // links that MLSD left out
	for _, e := range col.Listing().Entries {
		if e.Type != TypeSymlink {
			continue
		}
		if i, found := slices.BinarySearchFunc(l.Entries, e.Name, func(a Entry, name string) int {
			return strings.Compare(a.Name, name)
		}); found {
			l.Entries[i].Target = p.target(e.Target, dir)
			l.Entries[i].Type = TypeSymlink
			continue
		}
		e.Target = p.target(e.Target, dir)
		added = append(added, e)
	}
	if len(added) == 0 {
		return l, nil
	}
	all := listing.Build(append(added, l.Entries...))
	all.Truncated, all.Unparsed = l.Truncated, l.Unparsed
	return all, nil
}

// maxHidden bounds the folders known to have names that MLSD does not tell.
const maxHidden = 1000

// noteHidden remembers a folder that RMD called full: its MLSD may leave out links that lead nowhere.
func (p *Pool) noteHidden(dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hidden == nil || len(p.hidden) >= maxHidden {
		p.hidden = map[string]struct{}{}
	}
	p.hidden[dir] = struct{}{}
}

func (p *Pool) hiddenIn(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, hidden := p.hidden[dir]
	return hidden
}

// A file must be no older than zoneSample for its LIST line to have a time of day, nor lie further in the future than the
// easternmost zone: others show the year.
const (
	zoneSample  = 150 * 24 * time.Hour
	easternmost = 15 * time.Hour
)

// learnZone finds out, once per server, in which zone LIST tells times, by comparing the newest file with MDTM, and
// corrects the listing at hand.
func (p *Pool) learnZone(b *budget, c *conn, dir string, l *Listing) error {
	if p.memory.get().Zone != nil {
		return nil
	}
	sample, ok := newestFile(l, p.now())
	if !ok {
		return nil
	}
	abs := strings.TrimSuffix(p.absDir(dir), "/") + "/" + sample.Name
	replies, err := c.flight(b.ctx, "MDTM "+abs)
	if err != nil {
		return err
	}
	exact, ok := readTime(replies[0])
	if !ok {
		return nil
	}
	offset, ok := zoneOffset(sample.ModTime, exact)
	if !ok {
		return nil
	}
	minutes := int(offset / time.Minute)
	p.memory.set(func(l *learned) { l.Zone = &minutes })
	p.log.Debug("zone of listings learned", "minutes", minutes)
	for i := range l.Entries {
		if e := &l.Entries[i]; !e.Exact && !e.ModTime.IsZero() {
			e.ModTime = e.ModTime.Add(-offset)
		}
	}
	return nil
}

// newestFile gives a file whose line has a time of day.
func newestFile(l *Listing, now time.Time) (best Entry, ok bool) {
	for _, e := range l.Entries {
		if e.Type != TypeFile || e.Exact || e.ModTime.IsZero() || now.Sub(e.ModTime) > zoneSample || e.ModTime.Sub(now) > easternmost {
			continue
		}
		if !ok || e.ModTime.After(best.ModTime) {
			best, ok = e, true
		}
	}
	return best, ok
}

// zoneOffset gives how far a listed time, read as UTC, is ahead of the true one, if that can be a zone: a multiple of a
// quarter of an hour, as far as minutes go.
func zoneOffset(listed, exact time.Time) (time.Duration, bool) {
	diff := listed.Sub(exact.Truncate(time.Minute))
	offset := diff.Round(15 * time.Minute)
	rest := diff - offset
	if rest < -time.Minute || rest > time.Minute || offset < -14*time.Hour || offset > 14*time.Hour {
		return 0, false
	}
	return offset, true
}

// Readlink gives where a symlink points. A target on the server that is an absolute path below the mount's root comes as a
// path relative to the link's folder, as the server's root is not the mount's; others come as the server tells them, and all
// do with Config.RawTargets.
func (p *Pool) Readlink(ctx context.Context, name string) (string, error) {
	if isRoot(name) {
		return "", p.fail(ctx, "readlink", name, &Error{Kind: KindIsDir})
	}
	l, err := p.listOnce(ctx, "readlink", parentOf(name))
	if err != nil {
		return "", err
	}
	e, found := find(l, nameOf(name))
	switch {
	case !found:
		return "", p.absentError(ctx, "readlink", name, nil)
	case e.Type != TypeSymlink:
		return "", p.fail(ctx, "readlink", name, &Error{Kind: KindRefused, Reply: "not a symlink"})
	case e.Target == "":
		return "", p.fail(ctx, "readlink", name, &Error{Kind: KindUnsupported, Reply: "the server does not tell where links point"})
	}
	return e.Target, nil
}

// target turns what a server says of a link in dir into what is true within the mount.
func (p *Pool) target(raw, dir string) string {
	if p.cfg.RawTargets || !strings.HasPrefix(raw, "/") {
		return raw
	}
	inside, ok := strings.CutPrefix(path.Clean(raw)+"/", p.base()+"/")
	if !ok {
		return raw
	}
	return relative(dir, path.Join("/", inside))
}

// relative gives the path from folder from to to; both are absolute and clean.
func relative(from, to string) string {
	a := strings.Split(strings.Trim(from, "/"), "/")
	b := strings.Split(strings.Trim(to, "/"), "/")
	if a[0] == "" {
		a = nil
	}
	if b[0] == "" {
		b = nil
	}
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	up := strings.Repeat("../", len(a)-n)
	if rel := up + strings.Join(b[n:], "/"); rel != "" {
		return path.Clean(rel)
	}
	return "."
}
