package listing

import (
	"strconv"
	"strings"
	"time"
)

// ParseFacts reads one line of an MLSD listing, or the line in the middle of an MLST reply, without its line end
// (RFC 3659 section 7.2). Name is given as the server sent it: in an MLST reply it may be a whole path ([ParseMLST] cuts
// it). Facts that are unknown, or whose value makes no sense, are passed over. An error wraps [ErrLine].
//
// The name begins after the first "; ", so it may hold anything, and so may the names of owners and groups. The space
// before the facts, which MLST replies begin with, is tolerated.
func ParseFacts(line string) (Entry, LineKind, error) {
	facts, name, ok := splitFacts(line)
	if !ok {
		return Entry{}, LineNone, badLine("no facts", line)
	}
	if name == "" {
		return Entry{}, LineNone, badLine("no name", line)
	}
	e := newEntry(name)
	f := factReader{e: &e, kind: kindOfName(name)}
	f.all(facts)
	f.finish()
	return e, f.kind, nil
}

// ParseMLST reads the line in the middle of an MLST reply, whose path is cut down to its last element. For the root
// folder the name is "". A type of cdir, which some servers give to any folder asked for, is a folder here.
func ParseMLST(line string) (Entry, error) {
	e, _, err := ParseFacts(line)
	if err != nil {
		return Entry{}, err
	}
	path := strings.TrimRight(e.Name, "/")
	e.Name = path[strings.LastIndexByte(path, '/')+1:]
	return e, nil
}

// splitFacts cuts a line at the space between facts and name.
func splitFacts(line string) (facts, name string, ok bool) {
	if rest, found := strings.CutPrefix(line, " "); found {
		if facts, name, ok = splitFacts(rest); ok && strings.Contains(facts, "=") && rest[0] != ' ' {
			return facts, name, true
		}
		return "", rest, true // no facts at all: the name alone
	}
	if i := strings.Index(line, "; "); i >= 0 && strings.IndexByte(line[:i], '=') > 0 {
		return line[:i], line[i+2:], true
	}
	// Without the last semicolon the first space has to do.
	facts, name, ok = strings.Cut(line, " ")
	if ok && strings.IndexByte(facts, '=') > 0 {
		return facts, name, true
	}
	return "", "", false
}

// factReader puts facts into an entry. Those that can be told twice, better and worse, are kept aside until finish.
type factReader struct {
	e          *Entry
	kind       LineKind
	sizd       int64
	hasSizd    bool
	slink      bool // the fact before was a type with a link's target
	ownerValue string
	groupValue string
}

func (f *factReader) all(facts string) {
	for facts != "" {
		var fact string
		fact, facts, _ = strings.Cut(facts, ";")
		name, value, ok := strings.Cut(fact, "=")
		if !ok {
			// A semicolon in the target of a link has no escape: what follows it belongs to the target.
			if f.slink && fact != "" {
				f.e.Target += ";" + fact
			}
			continue
		}
		f.slink = false
		f.fact(strings.ToLower(name), value)
	}
}

func (f *factReader) fact(name, value string) {
	switch name {
	case "type":
		f.typeFact(value)
	case "size":
		if n, ok := parseSize(value); ok {
			f.e.Size = n
		}
	case "sizd":
		f.sizd, f.hasSizd = parseSize(value)
	case "modify":
		if t, ok := ParseTime(value); ok {
			f.e.ModTime, f.e.Exact = t, true
		}
	case "perm":
		f.e.Perm = value
	case "unique":
		f.e.Unique = value
	case "unix.mode":
		f.e.Mode, f.e.HasMode = parseMode(value)
	case "unix.uid":
		f.e.UID = parseID(value)
	case "unix.gid":
		f.e.GID = parseID(value)
	case "unix.owner":
		f.ownerValue = value
	case "unix.group":
		f.groupValue = value
	case "unix.ownername":
		_, f.e.Owner = ownerOf(value, 0, "")
	case "unix.groupname":
		_, f.e.Group = ownerOf(value, 0, "")
	}
}

// typeFact reads the value of the type fact (RFC 3659 section 7.5.1), which is as case-insensitive as the names.
func (f *factReader) typeFact(value string) {
	lower := strings.ToLower(value)
	switch lower {
	case "":
		return
	case "file":
		f.e.Type = TypeFile
	case "dir":
		f.e.Type = TypeDir
	case "cdir":
		f.e.Type, f.kind = TypeDir, LineSelf
	case "pdir":
		f.e.Type, f.kind = TypeDir, LineParent
	default:
		sub, osType := strings.CutPrefix(lower, "os.unix=")
		switch {
		case sub == "symlink", sub == "slink":
			f.e.Type = TypeSymlink
		case osType && strings.HasPrefix(sub, "slink:"):
			f.e.Type, f.slink = TypeSymlink, true
			f.e.Target = value[len("os.unix=slink:"):]
		default: // devices, fifos, and what the server itself calls unknown
			f.e.Type = TypeOther
		}
	}
}

// finish settles what depends on more than one fact.
func (f *factReader) finish() {
	e := f.e
	if e.Size < 0 && f.hasSizd {
		e.Size = f.sizd
	}
	// ProFTPD's owner and group are numbers with the names apart, others' are names.
	e.UID, e.Owner = ownerOf(f.ownerValue, e.UID, e.Owner)
	e.GID, e.Group = ownerOf(f.groupValue, e.GID, e.Group)
}

// ownerOf adds value, a number or a name, to what is known of an owner already.
func ownerOf(value string, id int32, name string) (int32, string) {
	if value == "" {
		return id, name
	}
	if isDigits(value) {
		if id < 0 {
			id = parseID(value)
		}
	} else if name == "" {
		name = value
	}
	return id, name
}

// ParseTime reads the time of a modify fact or of an MDTM reply: YYYYMMDDhhmmss in UTC, a fraction is cut off
// (RFC 3659 section 2.3).
func ParseTime(s string) (time.Time, bool) {
	s, fraction, hasFraction := strings.Cut(s, ".")
	if len(s) != 14 || !isDigits(s) || hasFraction && fraction != "" && !isDigits(fraction) {
		return time.Time{}, false
	}
	n := func(from, to int) int { v, _ := strconv.Atoi(s[from:to]); return v }
	second := n(12, 14)
	if second == 60 { // a leap second, which POSIX time has not
		second = 59
	}
	return checkedDate(n(0, 4), n(4, 6), n(6, 8), n(8, 10), n(10, 12), second, time.UTC)
}

// checkedDate is time.Date without its kindness to the 31st of November.
func checkedDate(year, month, day, hour, minute, second int, zone *time.Location) (time.Time, bool) {
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 || hour < 0 || minute < 0 || second < 0 {
		return time.Time{}, false
	}
	if year < 1 || year > 9999 || day > daysIn(year, month) {
		return time.Time{}, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, zone).UTC(), true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// parseSize reads a decimal number of bytes; leading zeros do not make it octal.
func parseSize(s string) (int64, bool) {
	if !isDigits(s) {
		return -1, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1, false
	}
	return n, true
}

// parseMode reads permission bits, written 0644, 644 or (pyftpdlib) 0o644; the bits of the type are cut off.
func parseMode(s string) (uint32, bool) {
	s = strings.TrimPrefix(strings.ToLower(s), "0o")
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil {
		return 0, false
	}
	return uint32(n) & 0o7777, true
}

// parseID reads a numeric user or group id, -1 when it is none.
func parseID(s string) int32 {
	if !isDigits(s) {
		return -1
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return -1
	}
	return int32(n)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
