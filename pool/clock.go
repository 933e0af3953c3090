package pool

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// Clock is what Check knows of the server's clock.
type Clock struct {
	// Ahead is how many seconds it is ahead of ours (less than 0: behind), nil: not known.
	Ahead *int64 `json:"ahead_seconds"`
	// From says what tells it, or told it once. ClockGreeting is good to a minute, the others to a second or two.
	From ClockSource `json:"from,omitempty"`
	// AtLeast is how many seconds the latest time in the folder's listing lies in our future, 0: none does. The server's clock is
	// ahead so much, unless a program gave Latest that time.
	AtLeast int64  `json:"at_least_seconds,omitempty"`
	Latest  string `json:"latest,omitempty"` // name of that file
}

// ClockSource is what shows a server's clock.
type ClockSource string

// The sources.
const (
	ClockFile     ClockSource = "file"     // one that was written just now
	ClockGreeting ClockSource = "greeting" // it has the time of day (Pure-FTPd)
	ClockMemory   ClockSource = "memory"   // a file that an earlier mount wrote
)

// clock says what is known of the server's clock without another question. i is a session's.
func (p *Pool) clock(i session.Info, l *Listing) Clock {
	m := p.memory.get()
	c := Clock{Ahead: m.Clock, From: ClockMemory}
	if written := p.counters.clockAhead.Load(); written != nil {
		c.Ahead, c.From = written, ClockFile
	} else if told, ok := greetedClock(i.Greeting, i.Greeted, m.Zone); ok {
		c.Ahead, c.From = &told, ClockGreeting
	} else if c.Ahead == nil {
		c.From = ""
	}
	if l == nil {
		return c
	}
	now := p.now()
	for _, e := range l.Entries {
		if !e.Exact && m.Zone == nil || e.ModTime.IsZero() {
			continue
		}
		if ahead := int64(e.ModTime.Sub(now) / time.Second); ahead > clockSlack && ahead > c.AtLeast {
			c.AtLeast, c.Latest = ahead, e.Name
		}
	}
	return c
}

// badClock is a difference of clocks that programs notice, in seconds.
const badClock = 60

// judgeClock tells of such a difference.
func (r *Report) judgeClock() {
	const todo = "make and rsync -u compare times: set the clock of one of the two machines"
	switch c := r.Clock; {
	case c.Ahead != nil && max(*c.Ahead, -*c.Ahead) > badClock:
		r.note(fmt.Sprintf("the server's clock differs by %d seconds", *c.Ahead), todo)
	case c.Ahead == nil && c.AtLeast > badClock:
		r.note(fmt.Sprintf("the time of %q lies %d seconds in the future: the server's clock is ahead, or a program set that time", c.Latest, c.AtLeast),
			"ftpsfs check --try tells; if it is the clock, "+todo)
	}
}

// localTime finds the time of day in a greeting: Pure-FTPd says "Local time is now 21:39."
var localTime = regexp.MustCompile(`(?i)local time is now ([0-9]{1,2}):([0-9]{2})\b`)

// greetedClock compares a greeting that has the time of day, in the zone of the server's listings, with our clock at that
// moment. The date is not told, so what comes out is the nearest that can be.
func greetedClock(greeting string, at time.Time, zone *int) (ahead int64, ok bool) {
	m := localTime.FindStringSubmatch(greeting)
	if m == nil || zone == nil || at.IsZero() {
		return 0, false
	}
	hour, _ := strconv.Atoi(m[1]) // digits
	minute, _ := strconv.Atoi(m[2])
	const day = int64(24 * time.Hour / time.Second)
	at = at.UTC()
	ours := int64(at.Hour())*3600 + int64(at.Minute())*60 + int64(at.Second())
	theirs := int64(hour)*3600 + int64(minute-*zone)*60 + 30 // the middle of the minute
	ahead = ((theirs-ours+day/2)%day+day)%day - day/2
	return (ahead+3*day+29)/60*60 - 3*day, true // to a minute: 29 s behind to 30 ahead is one and the same
}
