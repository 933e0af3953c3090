package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/listing"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Bounds of a listing. A million entries take some 200 MB.
const (
	maxListing = 1 << 30 // bytes
	maxLines   = 3_000_000
	maxLine    = 16 << 10  // longer lines are cut: no name is so long
	maxNames   = 1000      // of an NLST that is asked because lines were not understood
	listChunk  = 128 << 10 // bytes read between two looks at the clock
)

// List gives one folder with its hidden names, sorted. With MLSD its times are exact; with LIST they are not, and their zone
// is learned by comparing one file with MDTM. What could not be understood and not be resolved with NLST and SIZE is in
// Listing.Unparsed and in the log.
func (p *Pool) List(ctx context.Context, dir string) (*Listing, error) {
	l, err := p.listOnce(ctx, "list", dir)
	return l, p.explain(ctx, err, func(*Error) Kind { return p.whyNotListed(ctx, dir) })
}

// whyNotListed looks at what cannot be listed.
func (p *Pool) whyNotListed(ctx context.Context, dir string) Kind {
	found, err := p.Stat(ctx, dir)
	switch {
	case err != nil:
		return KindOf(err)
	case found.Type == TypeDir:
		return KindRefused
	case found.Type == TypeSymlink:
		return KindNotFound // a link that leads nowhere, or not to a folder
	}
	return KindNotDir
}

// listOnce lists without asking why it was refused.
func (p *Pool) listOnce(ctx context.Context, op, dir string) (*Listing, error) {
	if _, err := p.remote(op, dir); err != nil {
		return nil, p.fail(ctx, op, dir, err)
	}
	b := p.newBudget(ctx)
	defer b.end()
	var l *Listing
	claim := claim{lane: laneOf(ctx), ahead: wire.IsBackground(ctx), aside: isAside(ctx), now: isAtHand(ctx), data: p.server().mlst, list: true}
	if claim.ahead {
		claim.press = b.giveWay
	}
	c, err := p.borrow(b, call{op: op, path: dir, claim: claim}, func(_ context.Context, c *conn) (err error) {
		if p.server().mlst {
			l, err = p.listFacts(b, c, dir)
		} else {
			l, err = p.listLines(b, c, dir)
		}
		return err
	})
	if err != nil {
		if claim.ahead {
			p.counters.vain.Add(b.received)
		}
		return nil, p.fail(b.ctx, op, dir, err)
	}
	p.release(c)
	l.Bytes = b.received
	for _, line := range l.Unparsed {
		p.log.Warn("listing: not understood", "folder", dir, "line", line)
	}
	return l, nil
}

// absDir gives the server's path of a folder that p.remote found possible.
func (p *Pool) absDir(dir string) string {
	if abs := p.base() + strings.TrimSuffix(dir, "/"); abs != "" {
		return abs
	}
	return "/"
}

// maxFINsFailed is how many listings in a row may break with our end of the data channel sent ahead, before it is not any more:
// whatever is on the way, or the server, does not like it.
const maxFINsFailed = 2

// listFacts lists with MLSD (RFC 3659 section 7). Symlinks come without their targets, and on some servers those that lead nowhere
// do not come at all: where there are links, or names that RMD told of, LIST completes the picture.
//
// The server's last word is heard before the listing is believed: one that ends its session in the middle of a folder, because its
// control connection broke, ends TLS in order. Servers that wait for our end of the data channel before they say it get that
// ahead, so that it comes with the last bytes.
func (p *Pool) listFacts(b *budget, c *conn, dir string) (*Listing, error) {
	var col collector
	req := p.factsRequest(dir)
	final, err := p.readListing(b, c, req, func(line string) { col.add(line, listing.ParseFacts) })
	if err != nil {
		if req.EarlyFIN && dataFailed(err) {
			p.finsFailed.Add(1)
		}
		return nil, err
	}
	if req.EarlyFIN {
		p.finsFailed.Store(0)
	}
	return p.moreFacts(b, c, dir, &col, final)
}

func (p *Pool) factsRequest(dir string) session.TransferRequest {
	s := p.server()
	req := session.TransferRequest{
		Verb: "MLSD " + p.absDir(dir), EarlyEnd: s.pureFTPd, EarlyFIN: s.linksLie && p.finsFailed.Load() < maxFINsFailed,
	}
	if s.proftpd && !p.portTurns.bad() {
		req.NextAfter = portAfter
	}
	return req
}

// moreFacts asks for what MLSD did not tell.
func (p *Pool) moreFacts(b *budget, c *conn, dir string, col *collector, final wire.Reply) (*Listing, error) {
	if col.Len() == 0 && !col.dots {
		// A server that sends "." for a folder that it can read did not read this one.
		if p.memory.get().Dots {
			return nil, unreadable(final)
		}
	} else if col.dots {
		p.rememberDots()
	}
	links, bad := col.links, col.bad
	l := col.Listing()
	l.Truncated = truncated(final)
	more := p.completeLinks
	switch {
	case bad > 0:
		more = p.resolve
	case links == 0 && !p.hiddenIn(dir):
		return l, nil
	}
	l, err := more(b, c, dir, l)
	if err == nil && p.server().pureFTPd {
		// It goes back to its current folder after each MLSD, and hangs up when that was renamed or removed meanwhile.
		if _, err := c.flight(b.ctx, "CWD "+p.absDir("/")); err != nil {
			p.log.Debug("listing: connection lost behind it", "folder", dir, "err", err)
		}
	}
	return l, err
}

// listLines lists with LIST, for servers without MLSD. Its argument would be taken for a pattern or for options, so the folder
// is entered first, which also tells whether it is there.
func (p *Pool) listLines(b *budget, c *conn, dir string) (*Listing, error) {
	if p.listsByStat(dir) {
		if l, err := p.listStat(b, c, dir); l != nil || err != nil {
			return l, err
		}
	}
	col, final, err := p.readLines(b, c, dir)
	if err != nil {
		return nil, err
	}
	p.dataLists.Store(true)
	p.noteSize(dir, col.Len())
	return p.moreLines(b, c, dir, col, final)
}

// localTargets gives the targets of symlinks as paths of the mount.
func (p *Pool) localTargets(dir string, l *Listing) *Listing {
	for i := range l.Entries {
		if e := &l.Entries[i]; e.Target != "" {
			e.Target = p.target(e.Target, dir)
		}
	}
	return l
}

// moreLines looks twice at a listing that may not be one, and learns the zone of its times.
func (p *Pool) moreLines(b *budget, c *conn, dir string, col *collector, final wire.Reply) (_ *Listing, err error) {
	switch {
	case col.dots:
		p.rememberDots()
	case col.Len() == 0 && p.memory.get().Dots:
		return nil, unreadable(final)
	}
	bad := col.bad
	l := p.localTargets(dir, col.Listing())
	l.Truncated = truncated(final)
	if len(l.Entries) == 1 && !col.dots && l.Entries[0].Name == path.Base(p.absDir(dir)) && l.Entries[0].Type == TypeDir {
		return nil, unreadable(final) // what vsftpd says of a folder that it cannot read
	}
	if bad > 0 {
		if l, err = p.resolve(b, c, dir, l); err != nil {
			return nil, err
		}
	}
	return l, p.learnZone(b, c, dir, l)
}

// unreadable is the error of a folder whose listing is empty although no folder's is.
func unreadable(final wire.Reply) error {
	return &Error{Kind: KindPermission, Code: final.Code, Reply: "listing is empty, even without \".\""}
}

// rememberDots notes that this server's listings have ".".
func (p *Pool) rememberDots() {
	if !p.memory.get().Dots {
		p.memory.set(func(l *learned) { l.Dots = true })
	}
}

// truncated says that the server owned up to a listing cut short.
func truncated(final wire.Reply) bool {
	return strings.Contains(strings.ToLower(final.Text()), "truncated")
}

// readLines reads LIST of dir.
func (p *Pool) readLines(b *budget, c *conn, dir string) (*collector, wire.Reply, error) {
	var col collector
	parser := p.listParser()
	req := session.TransferRequest{Before: []string{"CWD " + p.absDir(dir)}, Verb: "LIST -a"}
	final, err := p.readListing(b, c, req, func(line string) { col.add(line, parser.Parse) })
	return &col, final, err
}

// listParser reads LIST lines in the server's zone, as far as it is known.
func (p *Pool) listParser() *listing.ListParser {
	var zone *time.Location
	if m := p.memory.get().Zone; m != nil {
		zone = time.FixedZone("server", *m*60)
	}
	return listing.NewListParser(p.now(), zone)
}

// collector is a listing.Collector that notes what decides how to go on.
type collector struct {
	listing.Collector
	dots  bool // "." was there
	links int  // symlinks without a target
	bad   int  // lines not understood
}

func (c *collector) add(line string, parse func(string) (Entry, listing.LineKind, error)) {
	e, kind, err := parse(line)
	switch {
	case err != nil:
		c.bad++
		c.Unparsed(line)
	case kind == listing.LineEntry:
		if e.Type == TypeSymlink && e.Target == "" {
			c.links++
		}
		c.Add(e)
	case kind == listing.LineSelf:
		c.dots = true
	}
}

// readListing runs one transfer and hands its lines to each as they come. It gives the final reply.
func (p *Pool) readListing(b *budget, c *conn, req session.TransferRequest, each func(line string)) (wire.Reply, error) {
	d, err := p.readLinesOf(b, c, req, each)
	if err != nil {
		return wire.Reply{}, err
	}
	return p.endListing(b, d)
}

// readLinesOf is readListing up to the end of data.
func (p *Pool) readLinesOf(b *budget, c *conn, req session.TransferRequest, each func(line string)) (*session.Data, error) {
	d, err := p.transfer(b.ctx, c, req)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(b.ctx, d.Abort)
	defer stop()
	if err := eachLine(&progressReader{d, b}, maxListing, each); err != nil {
		d.Abort()
		if b.unwanted.Load() {
			return nil, noSpare()
		}
		if errors.Is(err, errEndless) {
			return nil, err
		}
		if cause := b.ctx.Err(); cause != nil {
			return nil, cause
		}
		return nil, &brokenData{err}
	}
	b.progress()
	return d, nil
}

// endListing reads the final reply.
func (p *Pool) endListing(b *budget, d *session.Data) (wire.Reply, error) {
	stop := context.AfterFunc(b.ctx, d.Abort)
	defer stop()
	final, err := d.Finish(b.ctx)
	p.portTurns.note(d)
	if err != nil {
		return final, err
	}
	return final, p.endedProperly(d)
}

// maxBareEnds is how many listings of a server that was not seen to send close_notify yet are doubted for their bare end.
const maxBareEnds = 2

// endedProperly checks that a listing, whose length nobody knows, was not cut off by somebody on the way: data must end with TLS's
// close_notify, on servers that were seen to send it. One that was not is asked again first: the very first listing may be the
// one that was cut.
func (p *Pool) endedProperly(d *session.Data) error {
	known := p.memory.get().Ends
	switch {
	case d.CloseNotify():
		if !known {
			p.memory.set(func(l *learned) { l.Ends = true })
		}
	case known || p.bareEnds.Add(1) <= maxBareEnds:
		return &brokenData{&Error{Kind: KindIncomplete, Reply: "the data connection ended without TLS's close_notify"}}
	}
	return nil
}

// progressReader gives an operation new time for each chunk that arrives, and an end to a listing that nobody waits for when
// somebody waits for its connection.
type progressReader struct {
	r io.Reader
	b *budget
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.b.received += int64(n)
		r.b.progress()
		if r.b.unwanted.Load() {
			return n, noSpare()
		}
	}
	return n, err
}

// errEndless: the server would say the same again.
var errEndless = &Error{Kind: KindProtocol, Reply: fmt.Sprintf("listing of more than %d lines or %d bytes", maxLines, maxListing)}

// eachLine cuts a stream of at most most bytes into lines without their ends.
func eachLine(r io.Reader, most int, each func(line string)) error {
	br := bufio.NewReaderSize(r, listChunk)
	for total, lines := 0, 0; ; lines++ {
		line, err := br.ReadSlice('\n')
		total += len(line)
		if total > most || lines > maxLines {
			return errEndless
		}
		if text := strings.TrimRight(string(line[:min(len(line), maxLine)]), "\r\n"); text != "" {
			each(text)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a line without an end
			line, err = br.ReadSlice('\n')
			if total += len(line); total > most {
				return errEndless
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
