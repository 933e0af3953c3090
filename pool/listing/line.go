package listing

import (
	"errors"
	"fmt"
	"strconv"
)

// LineKind says what a line of a listing stands for.
type LineKind uint8

// The kinds of lines. Callers keep LineEntry and drop the others, which carry nothing that a folder shows.
const (
	LineEntry  LineKind = iota // a member of the folder
	LineSelf                   // the folder itself: type=cdir, or the name "."
	LineParent                 // the folder above: type=pdir, or the name ".."
	LineNone                   // no file at all: empty, or the "total 12" of ls
)

// ErrLine is what every error of the parsers wraps: the line is in no known form. It may still name a file, so it
// belongs into Listing.Unparsed and not into the bin.
var ErrLine = errors.New("line not understood")

// maxQuoted bounds how much of a line goes into an error or a report.
const maxQuoted = 300

func badLine(why, line string) error {
	return fmt.Errorf("%w: %s: %s", ErrLine, why, quote(line))
}

// quote gives line for a log: one line, no control characters, bounded.
func quote(line string) string {
	if len(line) > maxQuoted {
		return strconv.Quote(line[:maxQuoted]) + "..."
	}
	return strconv.Quote(line)
}

// kindOfName tells the two names that every folder has from those of its members.
func kindOfName(name string) LineKind {
	switch name {
	case ".":
		return LineSelf
	case "..":
		return LineParent
	}
	return LineEntry
}

// newEntry is an entry of which nothing is known but the name.
func newEntry(name string) Entry {
	return Entry{Name: name, Size: -1, UID: -1, GID: -1}
}
