package listing

import "strings"

// unix reads what ls -l prints: permissions, then any of link count, owner and group, then size, date and name. Only
// the date has a shape of its own, so it is looked for, and what stands before it is told apart by position.
func (p *ListParser) unix(line string) (Entry, bool) {
	e := newEntry("")
	rest, ok := permissions(&e, line)
	if !ok {
		return Entry{}, false
	}
	words := split(rest)
	for _, sized := range []bool{true, false} {
		for i := range words {
			if sized && (i == 0 || !isSize(words[i-1].text)) {
				continue
			}
			d, ok := p.date(rest, words[i:])
			if !ok {
				continue
			}
			name, ok := nameAfter(rest, d.end)
			if !ok {
				continue
			}
			e.Name, e.ModTime = name, d.time
			columns(&e, rest, words[:i], sized)
			splitLink(&e)
			return e, e.Name != ""
		}
	}
	return Entry{}, false
}

// permissions reads the first column and gives the rest of the line. SELinux's "." and an ACL's "+" may follow it.
func permissions(e *Entry, line string) (rest string, ok bool) {
	if line == "" {
		return "", false
	}
	switch line[0] {
	case '-':
		e.Type = TypeFile
	case 'd':
		e.Type = TypeDir
	case 'l':
		e.Type = TypeSymlink
	case 'b', 'c', 'p', 's', 'D', 'P', 'n':
		e.Type = TypeOther
	default:
		return "", false
	}
	if rest, ok = netwareRights(line[1:]); ok {
		return rest, true
	}
	if len(line) < 11 {
		return "", false
	}
	if e.Mode, e.HasMode, ok = modeBits(line[1:10]); !ok {
		return "", false
	}
	rest = strings.TrimLeft(line[10:], ".+@")
	// The link count may touch a column that is too narrow for it.
	return rest, rest != "" && (rest[0] == ' ' || rest[0] >= '0' && rest[0] <= '9')
}

// netwareRights passes over the rights that NetWare prints in place of permissions: [RWCEAFMS].
func netwareRights(s string) (rest string, ok bool) {
	s = strings.TrimLeft(s, " ")
	if !strings.HasPrefix(s, "[") {
		return "", false
	}
	rights, rest, ok := strings.Cut(s[1:], "]")
	return rest, ok && len(rights) <= 10 && strings.Trim(rights, "RWCEAFMS- ") == ""
}

// modeBits reads rwxr-xr-x. A server may hide bits behind "?": then the mode is unknown.
func modeBits(s string) (mode uint32, known, ok bool) {
	known = true
	for i := range len(s) {
		bit := uint32(1) << (8 - i)
		special := uint32(0o4000) >> (i / 3)
		switch c := s[i]; {
		case c == '-':
		case c == '?' || c == '*':
			known = false
		case c == "rwx"[i%3]:
			mode |= bit
		case i%3 == 2 && (c == 's' || c == 't'):
			mode |= bit | special
		case i%3 == 2 && (c == 'S' || c == 'T'):
			mode |= special
		case i%3 == 2 && (c == 'l' || c == 'L'): // mandatory locking: setgid without the right to execute
			mode |= special
		default:
			return 0, false, false
		}
	}
	return mode, known, true
}

// columns reads link count, owner, group and size out of the words before the date.
func columns(e *Entry, rest string, words []word, sized bool) {
	if sized {
		last := words[len(words)-1]
		words = words[:len(words)-1]
		if e.Type != TypeOther {
			e.Size, _ = parseSize(last.text)
		} else if n := len(words); n > 0 && strings.HasSuffix(words[n-1].text, ",") {
			words = words[:n-1] // "8, 0": major and minor number of a device
		}
	}
	if len(words) > 0 && isDigits(words[0].text) {
		words = words[1:] // the link count
	}
	if len(words) == 0 {
		return
	}
	e.UID, e.Owner = ownerOf(words[0].text, -1, "")
	if len(words) > 1 {
		// A group's name may have spaces in it.
		group := rest[words[1].start:words[len(words)-1].end]
		e.GID, e.Group = ownerOf(group, -1, "")
	}
}

// isSize tells the column before the date: bytes, or a device's "8,0".
func isSize(s string) bool {
	if major, minor, ok := strings.Cut(s, ","); ok {
		return isDigits(major) && isDigits(minor)
	}
	return isDigits(s)
}

// splitLink parts a link's name from its target. Both may contain the arrow; ls gives the length of the target as the
// size of the link, which tells where it begins. Without that the first arrow is taken.
func splitLink(e *Entry) {
	const arrow = " -> "
	if e.Type != TypeSymlink {
		return
	}
	line := e.Name
	at := -1
	for from := 0; ; {
		i := strings.Index(line[from:], arrow)
		if i < 0 {
			break
		}
		i += from
		if at < 0 {
			at = i
		}
		if int64(len(line)-i-len(arrow)) == e.Size {
			at = i
			break
		}
		from = i + 1
	}
	if at > 0 {
		e.Name, e.Target = line[:at], line[at+len(arrow):]
	}
}

// word is a run of bytes without a space, and where it stands.
type word struct {
	text       string
	start, end int
}

// maxWords is far behind the date of any listing; a name may have any number of words.
const maxWords = 24

func split(s string) []word {
	words := make([]word, 0, 12)
	for i := 0; i < len(s) && len(words) < maxWords; {
		for i < len(s) && s[i] == ' ' {
			i++
		}
		start := i
		for i < len(s) && s[i] != ' ' {
			i++
		}
		if i > start {
			words = append(words, word{s[start:i], start, i})
		}
	}
	return words
}

// nameAfter gives what follows the one space behind the date: more spaces belong to the name.
func nameAfter(s string, end int) (string, bool) {
	if end+1 >= len(s) || s[end] != ' ' {
		return "", false
	}
	return s[end+1:], true
}
