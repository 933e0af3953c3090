package pool

import (
	"context"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Some servers without MLSD list a folder on the control connection (RFC 959 section 4.1.3, STAT): one round trip, where a
// data channel takes two, and the end of the reply is the end of the listing. It is asked for the current folder, as a
// path might be taken for a pattern, and with -a, which others than those who take options refuse. It is believed when
// "." is there and each line was understood.

// statMost is the number of names up to which a folder is listed so: the lines come one by one, a data channel carries more.
const statMost = 1000

// listsByStat tells whether dir is worth asking. The first listing always takes a data channel: a server that refuses those is
// found out at the mount.
func (p *Pool) listsByStat(dir string) bool {
	can := p.memory.get().Stat
	return p.dataLists.Load() && (can == nil || *can) && !p.server().mlst && !p.isLarge(dir)
}

// statFolder are the commands that list dir on the control connection.
func (p *Pool) statFolder(dir string) []string { return []string{"CWD " + p.absDir(dir), "STAT -a"} }

// listStat lists dir on the control connection. It gives neither listing nor error where that told nothing that can be
// believed: then LIST has to.
func (p *Pool) listStat(b *budget, c *conn, dir string) (*Listing, error) {
	cmds := p.statFolder(dir)
	replies, err := p.statFlight(b.ctx, c, dir, cmds)
	if err != nil {
		return nil, err
	}
	if replies[0].Refused() {
		return nil, &wire.ReplyError{Cmd: cmds[0], Reply: replies[0]}
	}
	for _, line := range replies[1].Inner() {
		b.received += int64(len(line)) + 2
	}
	l := p.readStat(dir, replies[1])
	if l == nil {
		return nil, nil
	}
	return l, p.learnZone(b, c, dir, l)
}

// statFlight sends commands that list dir. A folder that is too large for a reply, or for its time, is listed otherwise from then on.
func (p *Pool) statFlight(ctx context.Context, c *conn, dir string, cmds []string) ([]wire.Reply, error) {
	within, cancel := context.WithTimeout(wire.WithBound(ctx, p.cfg.Timeout/3), p.cfg.Timeout/3)
	defer cancel()
	replies, err := c.flight(within, cmds...)
	if err != nil && ctx.Err() == nil {
		p.noteLarge(dir)
	}
	return replies, err
}

// readStat reads the reply to STAT. nil: it cannot be believed.
func (p *Pool) readStat(dir string, r wire.Reply) *Listing {
	var col collector
	if r.OK() {
		parser := p.listParser()
		for _, line := range r.Inner() {
			col.add(strings.TrimPrefix(line, " "), parser.Parse)
		}
	}
	good := col.dots && col.bad == 0
	if p.memory.get().Stat == nil {
		p.memory.set(func(l *learned) { l.Stat = &good })
	}
	if !good { // once it has worked: a folder that we may not read, or one with a name that is not understood
		return nil
	}
	p.rememberDots()
	p.noteSize(dir, col.Len())
	return p.localTargets(dir, col.Listing())
}

// askFolder asks for one file, and for its folder in the same flight, which tells what SIZE and MDTM do not: mode, owner,
// links, folders, and whether the name is there at all.
func (p *Pool) askFolder(ctx context.Context, c *conn, name string) (answer, error) {
	dir := parentOf(name)
	cmds := append([]string{"SIZE " + p.base() + name, "MDTM " + p.base() + name}, p.statFolder(dir)...)
	replies, err := p.statFlight(ctx, c, dir, cmds)
	if err != nil {
		return answer{}, err
	}
	a := readSizeTime(cmds[0], replies[0], replies[1])
	if !replies[2].OK() {
		return a, nil
	}
	if l := p.readStat(dir, replies[3]); l != nil {
		a.unclear, a.folder = true, l
	}
	return a, nil
}

// maxLarge bounds the folders known to be large.
const maxLarge = 10000

// noteSize remembers folders with more names than statMost.
func (p *Pool) noteSize(dir string, names int) {
	if names > statMost {
		p.noteLarge(dir)
	}
}

func (p *Pool) noteLarge(dir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.large == nil || len(p.large) >= maxLarge {
		p.large = map[string]struct{}{}
	}
	p.large[dir] = struct{}{}
}

func (p *Pool) isLarge(dir string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, large := p.large[dir]
	return large
}
