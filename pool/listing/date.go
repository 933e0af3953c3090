package listing

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// date is a moment read out of a line, and where its text ends.
type date struct {
	time time.Time
	end  int
}

// date reads the date that words begin with, in any of the forms that ls has for it.
func (p *ListParser) date(line string, words []word) (date, bool) {
	if d, ok := p.isoDate(line, words); ok {
		return d, true
	}
	if len(words) < 3 {
		return date{}, false
	}
	month, ok := monthOf(words[0].text)
	day, okDay := dayOf(words[1].text)
	if !ok || !okDay { // the day comes first in some languages
		month, ok = monthOf(words[1].text)
		day, okDay = dayOf(words[0].text)
	}
	if !ok || !okDay {
		return date{}, false
	}
	if t, ok := p.yearOf(words[2].text, month, day); ok {
		return date{t, words[2].end}, true
	}
	hour, minute, second, ok := clock(words[2].text)
	if !ok {
		return date{}, false
	}
	if len(words) > 3 && strings.Count(words[2].text, ":") == 2 { // BSD's ls -T: Nov 21 02:48:25 2026
		if year, ok := fourDigits(words[3].text); ok {
			t, ok := checkedDate(year, month, day, hour, minute, second, p.zone)
			return date{t, words[3].end}, ok
		}
	}
	t, ok := p.withoutYear(month, day, hour, minute, second)
	return date{t, words[2].end}, ok
}

// isoDate reads 2026-11-21, 2026-11-21 02:48, 2026-11-21 02:48:25.000000000 +0100, and GNU's 11-21 02:48.
func (p *ListParser) isoDate(line string, words []word) (date, bool) {
	if len(words) < 2 {
		return date{}, false
	}
	parts := strings.Split(words[0].text, "-")
	timeText, _, _ := strings.Cut(words[1].text, ".")
	hour, minute, second, hasTime := clock(timeText)
	var n [3]int
	for i, s := range parts {
		if i > 2 || !isDigits(s) || len(s) > 4 {
			return date{}, false
		}
		n[i], _ = strconv.Atoi(s)
	}
	switch {
	case len(parts) == 2 && len(parts[0]) == 2 && len(parts[1]) == 2 && hasTime:
		t, ok := p.withoutYear(n[0], n[1], hour, minute, second)
		return date{t, words[1].end}, ok
	case len(parts) != 3 || len(parts[0]) != 4:
		return date{}, false
	case !hasTime:
		t, ok := checkedDate(n[0], n[1], n[2], 0, 0, 0, p.zone)
		end := words[0].end
		if strings.HasPrefix(line[end:], "  ") {
			end++ // GNU ls pads the date to the width of one with a time
		}
		return date{t, end}, ok
	}
	if len(words) > 2 && strings.Count(timeText, ":") == 2 {
		if zone, ok := zoneOffset(words[2].text); ok {
			t, ok := checkedDate(n[0], n[1], n[2], hour, minute, second, zone)
			return date{t, words[2].end}, ok
		}
	}
	t, ok := checkedDate(n[0], n[1], n[2], hour, minute, second, p.zone)
	return date{t, words[1].end}, ok
}

// yearOf reads the third word of a date that tells a year and no time.
func (p *ListParser) yearOf(s string, month, day int) (time.Time, bool) {
	year, ok := fourDigits(s)
	if !ok {
		return time.Time{}, false
	}
	return checkedDate(year, month, day, 0, 0, 0, p.zone)
}

// withoutYear finds the year of a date that has none: the last time it came round. A day is allowed for clocks and zones
// that differ. Servers that print dates of the future this way cannot be understood. The 29th of February is looked for
// as far back as the years without one go (1897 to 1903).
func (p *ListParser) withoutYear(month, day, hour, minute, second int) (time.Time, bool) {
	limit := p.now.Add(24 * time.Hour)
	this := p.now.In(p.zone).Year()
	for year := this + 1; year >= this-8; year-- {
		t, ok := checkedDate(year, month, day, hour, minute, second, p.zone)
		if ok && !t.After(limit) {
			return t, true
		}
	}
	return time.Time{}, false
}

// clock reads 02:48 and 02:48:25.
func clock(s string) (hour, minute, second int, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, 0, 0, false
	}
	var n [3]int
	for i, part := range parts {
		if len(part) > 2 || !isDigits(part) || i > 0 && len(part) != 2 {
			return 0, 0, 0, false
		}
		n[i], _ = strconv.Atoi(part)
	}
	return n[0], n[1], n[2], n[0] < 24 && n[1] < 60 && n[2] < 60
}

// zoneOffset reads +0100.
func zoneOffset(s string) (*time.Location, bool) {
	if len(s) != 5 || s[0] != '+' && s[0] != '-' || !isDigits(s[1:]) {
		return nil, false
	}
	hours, _ := strconv.Atoi(s[1:3])
	minutes, _ := strconv.Atoi(s[3:])
	seconds := (hours*60 + minutes) * 60
	if s[0] == '-' {
		seconds = -seconds
	}
	return time.FixedZone(s, seconds), true
}

func fourDigits(s string) (int, bool) {
	if len(s) != 4 || !isDigits(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// dayOf reads the day of a month; German and Czech put a full stop after it, East Asian languages a word.
func dayOf(s string) (int, bool) {
	s = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(s, "."), "日"), "일")
	if len(s) > 2 || !isDigits(s) {
		return 0, false
	}
	n, _ := strconv.Atoi(s)
	return n, n >= 1 && n <= 31
}

// monthOf resolves the abbreviated name of a month in the languages that ls was seen to speak.
func monthOf(s string) (int, bool) {
	if len(s) > 32 {
		return 0, false
	}
	if n, ok := months[s]; ok {
		return n, true
	}
	for _, suffix := range []string{"月", "월"} {
		if digits, ok := strings.CutSuffix(s, suffix); ok && isDigits(digits) && len(digits) <= 2 {
			n, _ := strconv.Atoi(digits)
			return n, n >= 1 && n <= 12
		}
	}
	if !utf8.ValidString(s) {
		s = fromLatin1(s)
	}
	n, ok := months[strings.TrimSuffix(strings.ToLower(s), ".")]
	return n, ok
}

func fromLatin1(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// months maps lower-case names; the languages agree where they share one.
var months = monthNames()

func monthNames() map[string]int {
	names := make(map[string]int)
	for i, line := range [...]string{
		"jan jän ene gen janv ianv ian tammi sty led oca янв січ",
		"feb fev fév févr febr helmi lut úno şub фев лют",
		"mar mär mrz märz mars mrt maalis márc bře мар бер",
		"apr avr abr avril huhti kwi ápr dub nis апр кві",
		"may mai maj maggio mag mei mayo touko máj kvě май мая тра",
		"jun juin juni giu kesä cze jún iun čen haz июн чер",
		"jul juil juli lug heinä lip júl iul čvc tem июл лип",
		"aug ago aoû août elo sie srp ağu авг сер",
		"sep sept set syys wrz szept zář eyl сен вер",
		"oct okt out ott loka paź říj eki окт жов",
		"nov marras lis kas ноя лис",
		"dec déc dez dic des joulu gru pro ara дек гру",
	} {
		for _, name := range strings.Fields(line) {
			names[name] = i + 1
			if name[0] < utf8.RuneSelf { // the common case needs no folding
				names[strings.ToUpper(name[:1])+name[1:]] = i + 1
			}
		}
	}
	return names
}
