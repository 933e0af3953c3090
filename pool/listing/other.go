package listing

import (
	"strconv"
	"strings"
	"time"
)

// dosDirPadding is how many spaces IIS puts between <DIR> and the name of a folder.
const dosDirPadding = 10

// separators stand between the thousands of a size.
var separators = strings.NewReplacer(",", "", ".", "")

// dos reads what Windows servers print: 11-21-26  02:48AM       <DIR>          name.
func (p *ListParser) dos(line string) (Entry, bool) {
	words := split(line)
	if len(words) < 4 {
		return Entry{}, false
	}
	year, month, day, ok := dosDate(words[0].text)
	if !ok {
		return Entry{}, false
	}
	next := 2
	clockText := words[1].text
	if half := strings.ToUpper(words[2].text); half == "AM" || half == "PM" {
		clockText += half
		next = 3
	}
	hour, minute, ok := dosClock(clockText)
	if !ok || next+1 >= len(words) {
		return Entry{}, false
	}
	e := newEntry("")
	if e.ModTime, ok = checkedDate(year, month, day, hour, minute, 0, p.zone); !ok {
		return Entry{}, false
	}
	return dosName(e, line, words[next])
}

// dosName reads the type or size, and the name behind it.
func dosName(e Entry, line string, what word) (Entry, bool) {
	var ok bool
	if e.Name, ok = nameAfter(line, what.end); !ok {
		return Entry{}, false
	}
	if !strings.HasPrefix(what.text, "<") {
		e.Type = TypeFile
		e.Size, ok = parseSize(separators.Replace(what.text))
		return e, ok
	}
	padding := strings.Repeat(" ", dosDirPadding)
	if rest, padded := strings.CutPrefix(line[what.end:], padding); padded {
		e.Name = rest
	} else {
		e.Name = strings.TrimLeft(e.Name, " ")
	}
	switch strings.ToUpper(what.text) {
	case "<DIR>":
		e.Type = TypeDir
	case "<JUNCTION>", "<SYMLINK>", "<SYMLINKD>":
		e.Type = TypeSymlink
		if name, target, found := strings.Cut(e.Name, " ["); found && strings.HasSuffix(target, "]") {
			e.Name, e.Target = name, strings.TrimSuffix(target, "]")
		}
	default:
		return Entry{}, false
	}
	return e, e.Name != ""
}

// dosDate reads 11-21-26, 11/21/2026, 21.11.2026 and 2026-11-21. The month comes first, except with full stops or where
// it cannot be one.
func dosDate(s string) (year, month, day int, ok bool) {
	i := strings.IndexAny(s, "-/.")
	if i < 0 {
		return 0, 0, 0, false
	}
	parts := strings.Split(s, s[i:i+1])
	if len(parts) != 3 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, part := range parts {
		if !isDigits(part) || len(part) > 4 || len(part) == 3 {
			return 0, 0, 0, false
		}
		n[i], _ = strconv.Atoi(part)
	}
	if len(parts[0]) == 4 {
		return n[0], n[1], n[2], true
	}
	year, month, day = n[2], n[0], n[1]
	if s[i] == '.' || month > 12 {
		month, day = day, month
	}
	if len(parts[2]) <= 2 {
		year += 1900
		if year < 1970 {
			year += 100
		}
	}
	return year, month, day, true
}

// dosClock reads 02:48AM and 14:48.
func dosClock(s string) (hour, minute int, ok bool) {
	upper := strings.ToUpper(s)
	text := strings.TrimSuffix(strings.TrimSuffix(upper, "AM"), "PM")
	hour, minute, _, ok = clock(text)
	switch {
	case !ok || text == upper:
		return hour, minute, ok
	case hour < 1 || hour > 12:
		return 0, 0, false
	}
	hour %= 12
	if strings.HasSuffix(upper, "PM") {
		hour += 12
	}
	return hour, minute, true
}

// eplf reads Bernstein's Easily Parsed LIST Format: "+" and facts, each ended by a comma, a tab, the name. Its times are
// seconds since 1970 and therefore exact.
func (p *ListParser) eplf(line string) (Entry, bool) {
	rest, ok := strings.CutPrefix(line, "+")
	if !ok {
		return Entry{}, false
	}
	facts, name, ok := strings.Cut(rest, "\t")
	if !ok || name == "" {
		return Entry{}, false
	}
	e := newEntry(name)
	for fact := range strings.SplitSeq(facts, ",") {
		if fact == "" {
			continue
		}
		value := fact[1:]
		switch fact[0] {
		case '/':
			e.Type = TypeDir
		case 'r':
			e.Type = TypeFile
		case 's':
			e.Size, _ = parseSize(value)
		case 'm':
			if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 && n < 1<<37 {
				e.ModTime, e.Exact = time.Unix(n, 0).UTC(), true
			}
		case 'i':
			e.Unique = value
		case 'u':
			if mode, ok := strings.CutPrefix(value, "p"); ok {
				e.Mode, e.HasMode = parseMode(mode)
			}
		}
	}
	return e, true
}
