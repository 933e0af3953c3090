package listing

import (
	"strings"
	"time"
)

// A ListParser reads the lines of a LIST listing, for whose form there is no standard (RFC 959 section 4.1.3): what ls -l
// prints, what Windows servers print, and EPLF. Times come without a zone, often without a year, and without seconds:
// entries are not Exact, EPLF's excepted. Immutable, safe for concurrent use.
type ListParser struct {
	now  time.Time
	zone *time.Location
}

// NewListParser makes a parser. now is the moment of the listing, from which missing years are concluded; zone is the one
// that the server writes its times in, nil for UTC.
func NewListParser(now time.Time, zone *time.Location) *ListParser {
	if zone == nil {
		zone = time.UTC
	}
	return &ListParser{now: now, zone: zone}
}

// Parse reads one line without its line end. An error wraps [ErrLine]; such a line may name a file all the same, and
// callers report it.
func (p *ListParser) Parse(line string) (Entry, LineKind, error) {
	if isNoise(line) {
		return Entry{}, LineNone, nil
	}
	for _, dialect := range []func(string) (Entry, bool){p.unix, p.dos, p.eplf} {
		if e, ok := dialect(line); ok {
			return e, kindOfName(e.Name), nil
		}
	}
	return Entry{}, LineNone, badLine("no known form", line)
}

// totals are the words that ls begins with, in the languages it was seen to speak.
var totals = map[string]bool{
	"total": true, "totale": true, "totaal": true, "totalt": true, "insgesamt": true, "gesamt": true, "итого": true,
	"razem": true, "celkem": true, "spolu": true, "toplam": true, "yhteensä": true, "összesen": true, "всего": true,
	"合計": true, "总用量": true, "總計": true, "합계": true,
}

// isNoise tells the lines that stand for no file.
func isNoise(line string) bool {
	fields := strings.Fields(line)
	switch len(fields) {
	case 0:
		return true
	case 2:
		_, size := parseSize(fields[1])
		return size && totals[strings.ToLower(fields[0])]
	}
	return false
}
