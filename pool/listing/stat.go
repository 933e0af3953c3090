package listing

import "strings"

// AddStat takes the lines between the first and the last of a 211, 212 or 213 reply to STAT with a path (RFC 959 section
// 4.1.3), which is a LIST listing on the control connection. The space that some servers begin each line with, so that no
// line looks like the end of the reply, and a repeated code are taken off.
//
// folder tells that "." was among the names: only then was path surely a folder. A reply without lines proves nothing, as
// it is what servers give for a path that does not exist; and for a file they give the file, under any form of its
// path, sometimes with links to it.
func (c *Collector) AddStat(lines []string, p *ListParser) (folder bool) {
	strip := statPrefix(lines)
	for _, line := range lines {
		line = line[strip:]
		e, kind, err := p.Parse(line)
		switch {
		case err != nil:
			c.Unparsed(line)
		case kind == LineEntry:
			c.Add(e)
		case kind == LineSelf:
			folder = true
		}
	}
	return folder
}

// statPrefix is the number of bytes that every line begins with and that are not part of the listing.
func statPrefix(lines []string) int {
	for _, prefix := range []string{"211-", "212-", "213-"} {
		if allHave(lines, prefix) {
			return len(prefix)
		}
	}
	if allHave(lines, " ") {
		return 1
	}
	return 0
}

func allHave(lines []string, prefix string) bool {
	for _, line := range lines {
		if !strings.HasPrefix(line, prefix) {
			return false
		}
	}
	return true
}
