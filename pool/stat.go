package pool

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/listing"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// statBatch is the most names asked for in one flight.
const statBatch = 500

// answer is what a flight told of one name.
type answer struct {
	entry   Entry
	refused *wire.ReplyError // nil: entry is valid
	unclear bool             // the flight could not tell: the folder's listing must
	folder  *Listing         // that listing, if it came in the flight
}

// Stat gives the attributes of one name, symlinks not followed where the server tells them apart. KindNotFound when it is
// absent. The root is a folder always.
func (p *Pool) Stat(ctx context.Context, path string) (Entry, error) {
	results, err := p.StatMany(ctx, []string{path})
	if err != nil {
		return Entry{}, err
	}
	return results[0].Entry, results[0].Err
}

// StatMany gives the attributes of many names, in the order of paths, in one round trip where the server has MLST
// (RFC 3659 section 7) or the names are files. Times are exact. Where a server has no MLST, what SIZE and MDTM do not tell of a file
// (mode, owner) is left unknown when more than one name is asked for. The error is that of the whole: no
// connection, or one that failed; what the server says of a name is in its result.
func (p *Pool) StatMany(ctx context.Context, paths []string) ([]StatResult, error) {
	results := make([]StatResult, len(paths))
	asked := make([]int, 0, len(paths)) // indices of paths that the server is asked about
	for i, path := range paths {
		abs, err := p.remote("stat", path)
		switch {
		case err != nil:
			results[i].Err = p.fail(ctx, "stat", path, err)
		case isRoot(path) && abs == "/":
			results[i].Entry = rootEntry()
		default:
			asked = append(asked, i)
		}
	}
	for len(asked) > 0 {
		batch := asked[:min(statBatch, len(asked))]
		asked = asked[len(batch):]
		if err := p.statBatch(ctx, paths, batch, results); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// AsksTogether tells whether StatMany of a name and its folder costs no more than Stat of the name.
func (p *Pool) AsksTogether() bool { return p.server().mlst }

func rootEntry() Entry { return Entry{Type: TypeDir, Size: -1, UID: -1, GID: -1} }

// statBatch fills in the results of the paths with the given indices.
func (p *Pool) statBatch(ctx context.Context, paths []string, batch []int, results []StatResult) error {
	names := make([]string, len(batch))
	for i, j := range batch {
		names[i] = paths[j]
	}
	var answers []answer
	err := p.do(ctx, call{op: "stat", path: names[0], claim: claim{lane: laneOf(ctx), ahead: wire.IsBackground(ctx)}}, func(ctx context.Context, c *conn) (err error) {
		if p.server().mlst {
			answers, err = p.askMLST(ctx, c, names)
		} else {
			answers, err = p.askSize(ctx, c, names)
		}
		return err
	})
	if err != nil {
		return err
	}
	listed := map[string]folder{} // where the answers were not clear, by path
	for i, a := range answers {
		if !a.unclear || isRoot(names[i]) {
			continue
		}
		dir := parentOf(names[i])
		if _, done := listed[dir]; done {
			continue
		}
		if a.folder != nil {
			listed[dir] = folder{a.folder, nil}
			continue
		}
		// List finds out why a folder cannot be listed by a Stat of it, so this may go on up to the root.
		l, err := p.List(ctx, dir)
		if err != nil && !saysOfName(KindOf(err)) {
			return err
		}
		listed[dir] = folder{l, err}
	}
	for i, j := range batch {
		results[j] = p.statResult(ctx, names[i], answers[i], listed)
	}
	return nil
}

// folder is the outcome of listing one.
type folder struct {
	*Listing
	err error
}

// saysOfName tells the failures that are about a name, not about the way to the server.
func saysOfName(k Kind) bool {
	switch k {
	case KindNotFound, KindNotDir, KindRefused, KindPermission:
		return true
	}
	return false
}

// statResult puts together what a flight and the listings of folders told.
func (p *Pool) statResult(ctx context.Context, path string, a answer, listed map[string]folder) StatResult {
	name := nameOf(path)
	switch {
	case isRoot(path):
		e := a.entry
		if a.refused != nil || a.unclear {
			e = rootEntry()
		}
		e.Name, e.Type = "", TypeDir
		return StatResult{Entry: e}
	case a.unclear:
		l := listed[parentOf(path)]
		if l.err != nil {
			return StatResult{Err: p.fail(ctx, "stat", path, &Error{Kind: KindOf(l.err), Err: l.err})}
		}
		e, found := find(l.Listing, name)
		if folds, _ := p.memory.can(CapFoldsCase); !found && (folds || a.entry.Exact) { // MDTM said that it is there
			e, found = findFolded(l.Listing, name)
		}
		if !found {
			if l.Truncated {
				return StatResult{Err: p.fail(ctx, "stat", path, &Error{Kind: KindRefused, Reply: "the server cuts this folder's listing short"})}
			}
			return StatResult{Err: p.absentError(ctx, "stat", path, a.refused)}
		}
		if a.entry.Exact && e.Type == TypeFile { // MDTM was exact, the listing is not
			e.ModTime, e.Exact, e.Size = a.entry.ModTime, true, a.entry.Size
		}
		return StatResult{Entry: e}
	case a.refused != nil:
		v := judge(a.refused.Original())
		if !v.sure {
			return StatResult{Err: p.absentError(ctx, "stat", path, a.refused)}
		}
		return StatResult{Err: p.fail(ctx, "stat", path, a.refused)}
	}
	a.entry.Name = name
	return StatResult{Entry: a.entry}
}

// absentError says that a name is not there.
func (p *Pool) absentError(ctx context.Context, op, path string, refused *wire.ReplyError) *Error {
	e := &Error{Op: op, Path: path, Kind: KindNotFound}
	if refused != nil {
		e.Code, e.Reply = refused.Reply.Code, oneLine(refused.Reply)
	}
	return p.fail(ctx, op, path, e)
}

func absent(err error) bool {
	k := KindOf(err)
	return k == KindNotFound || k == KindNotDir
}

// askMLST asks for all facts. ProFTPD follows symlinks for the type and tells the link's own size and mode, so what may be
// a link is looked at again; and it gives one text for any cause of a refusal, where SIZE gives the cause.
func (p *Pool) askMLST(ctx context.Context, c *conn, paths []string) ([]answer, error) {
	lies := p.server().linksLie
	per := 1
	if lies && len(paths) <= 2 {
		per = 2 // a second flight would cost more than a second command
	}
	cmds := make([]string, 0, per*len(paths))
	for _, path := range paths {
		abs := p.base() + path
		if isRoot(path) {
			abs = p.base()
		}
		cmds = append(cmds, "MLST "+abs)
		if per == 2 {
			cmds = append(cmds, "SIZE "+abs)
		}
	}
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(paths))
	var doubtful []int
	for i := range paths {
		answers[i] = readMLST(cmds[i*per], replies[i*per])
		if lies {
			answers[i].unmaskFolder()
		}
		if per == 2 {
			answers[i].compare(cmds[i*per+1], replies[i*per+1])
		} else if lies && answers[i].refused != nil {
			doubtful = append(doubtful, i)
		}
		if lies && answers[i].refused == nil && maybeLink(answers[i].entry) {
			doubtful = append(doubtful, i)
		}
	}
	if len(doubtful) > 0 {
		err = p.askAgain(ctx, c, paths, answers, doubtful)
	}
	for i := range answers {
		answers[i].doubt()
	}
	return answers, err
}

// doubt has the folder's listing settle what a refusal leaves open: one for the moment (4yz, RFC 959 section 4.2.1) and one that
// names a kind of object do not say that nothing is there.
func (a *answer) doubt() {
	if a.refused == nil {
		return
	}
	v := judge(a.refused.Original())
	a.unclear = !v.sure && (a.refused.Reply.Code < 500 || v.kind == KindIsDir)
}

// maybeLink tells what ProFTPD's MLST may have made of a symlink to a file: everything with the mode 0777.
func maybeLink(e Entry) bool { return e.HasMode && e.Mode == 0o777 && e.Type == TypeFile }

// unmaskFolder makes a symlink of a "folder" that is one: real ones have no size in ProFTPD's MLST.
func (a *answer) unmaskFolder() {
	if e := &a.entry; a.refused == nil && e.Type == TypeDir && e.Size >= 0 && e.HasMode && e.Mode == 0o777 {
		e.Type = TypeSymlink
	}
}

// readMLST reads one reply.
func readMLST(cmd string, r wire.Reply) answer {
	if !r.OK() {
		return answer{refused: &wire.ReplyError{Cmd: cmd, Reply: r}}
	}
	for _, line := range r.Inner() {
		if e, err := listing.ParseMLST(line); err == nil {
			return answer{entry: e}
		}
	}
	return answer{unclear: true}
}

// compare uses a SIZE reply beside an MLST one: its text where MLST was refused, and its number, which is that of a link's target.
func (a *answer) compare(cmd string, r wire.Reply) {
	switch size, ok := readSize(r); {
	case a.refused != nil:
		if !ok && judge(r).sure {
			a.refused = &wire.ReplyError{Cmd: cmd, Reply: r}
		}
	case ok && maybeLink(a.entry) && size != a.entry.Size:
		a.entry.Type = TypeSymlink
	case ok && a.entry.Type == TypeFile:
		a.entry.Size = size
	}
}

// askAgain settles doubts: STAT tells links (RFC 959 section 4.1.3), SIZE tells why MLST refused. It is a second flight,
// for few names as a rule.
func (p *Pool) askAgain(ctx context.Context, c *conn, paths []string, answers []answer, doubtful []int) error {
	cmds := make([]string, len(doubtful))
	for i, j := range doubtful {
		abs := p.base() + paths[j]
		cmds[i] = "STAT " + abs
		if answers[j].refused != nil {
			cmds[i] = "SIZE " + abs
		}
	}
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return err
	}
	parser := listing.NewListParser(p.now(), nil)
	for i, j := range doubtful {
		a := &answers[j]
		if a.refused != nil {
			a.compare(cmds[i], replies[i])
		} else if e, ok := statLine(parser, replies[i], nameOf(paths[j])); ok && e.Type == TypeSymlink {
			a.entry.Type, a.entry.Target = TypeSymlink, e.Target
		}
	}
	return nil
}

// statLine finds one name in the reply to STAT with a path. Some servers give the path as the name, some other names too.
func statLine(parser *listing.ListParser, r wire.Reply, name string) (Entry, bool) {
	if !r.OK() {
		return Entry{}, false
	}
	for _, line := range r.Inner() {
		e, kind, err := parser.Parse(strings.TrimPrefix(line, " "))
		if err != nil || kind != listing.LineEntry {
			continue
		}
		if i := strings.LastIndexByte(e.Name, '/'); i >= 0 {
			e.Name = e.Name[i+1:]
		}
		if e.Name == name {
			return e, true
		}
	}
	return Entry{}, false
}

// askSize is for servers without MLST. Only files have a SIZE, and symlinks to files, which are told apart, like everything else
// about a single file, by STAT on the control connection; it must not be sent for a folder, as it would list it.
func (p *Pool) askSize(ctx context.Context, c *conn, paths []string) ([]answer, error) {
	if len(paths) == 1 && !isRoot(paths[0]) && p.listsByStat(parentOf(paths[0])) {
		if a, err := p.askFolder(ctx, c, paths[0]); err != nil || a.folder != nil || a.unclear {
			return []answer{a}, err
		}
	}
	cmds := make([]string, 0, 2*len(paths))
	for _, path := range paths {
		cmds = append(cmds, "SIZE "+p.base()+path, "MDTM "+p.base()+path)
	}
	replies, err := c.flight(ctx, cmds...)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, len(paths))
	for i := range paths {
		answers[i] = readSizeTime(cmds[2*i], replies[2*i], replies[2*i+1])
	}
	if len(paths) == 1 && !answers[0].unclear {
		err = p.askRest(ctx, c, paths[0], &answers[0])
	}
	return answers, err
}

// askRest completes what SIZE and MDTM told of a file.
func (p *Pool) askRest(ctx context.Context, c *conn, path string, a *answer) error {
	replies, err := c.flight(ctx, "STAT "+p.base()+path)
	if err != nil {
		return err
	}
	e, ok := statLine(p.listParser(), replies[0], nameOf(path))
	if !ok || e.Type != TypeFile {
		a.unclear = true // a link, or a server that does not tell: the folder's listing does
		return nil
	}
	e.Size, e.ModTime, e.Exact = a.entry.Size, a.entry.ModTime, a.entry.Exact
	a.entry = e
	return nil
}

// readSizeTime reads the replies to SIZE and MDTM. A refused SIZE may be a folder, a device, or nothing.
func readSizeTime(cmd string, sizeReply, timeReply wire.Reply) answer {
	a := answer{entry: Entry{Type: TypeFile, Size: -1, UID: -1, GID: -1}}
	if t, ok := readTime(timeReply); ok {
		a.entry.ModTime, a.entry.Exact = t, true
	}
	size, ok := readSize(sizeReply)
	a.entry.Size = size
	if !ok || !a.entry.Exact {
		a.unclear = true
		a.refused = &wire.ReplyError{Cmd: cmd, Reply: sizeReply}
	}
	return a
}

// readSize reads the reply to SIZE (RFC 3659 section 4).
func readSize(r wire.Reply) (int64, bool) {
	if r.Code != 213 {
		return -1, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(r.Last()), 10, 64)
	if err != nil || n < 0 {
		return -1, false
	}
	return n, true
}

// readTime reads the reply to MDTM (RFC 3659 section 3).
func readTime(r wire.Reply) (time.Time, bool) {
	if r.Code != 213 {
		return time.Time{}, false
	}
	return listing.ParseTime(strings.TrimSpace(r.Last()))
}

// findFolded looks a name up that may be listed in another case. The entry has the name asked for.
func findFolded(l *Listing, name string) (Entry, bool) {
	for _, e := range l.Entries {
		if strings.EqualFold(e.Name, name) {
			e.Name = name
			return e, true
		}
	}
	return Entry{}, false
}

// find looks a name up in a listing.
func find(l *Listing, name string) (Entry, bool) {
	low, high := 0, len(l.Entries)
	for low < high {
		mid := (low + high) / 2
		if l.Entries[mid].Name < name {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(l.Entries) && l.Entries[low].Name == name {
		return l.Entries[low], true
	}
	return Entry{}, false
}
