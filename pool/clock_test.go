package pool

import (
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

func TestGreetedClock(t *testing.T) {
	at := func(s string) time.Time {
		at, err := time.Parse(time.DateTime, "2026-11-21 "+s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	zone := func(minutes int) *int { return &minutes }
	for _, c := range []struct {
		greeting string
		at       time.Time
		zone     *int
		ahead    int64 // seconds
		ok       bool
	}{
		{"Local time is now 15:54. Server port: 21.", at("15:54:00"), zone(0), 0, true},
		{"Local time is now 15:54. Server port: 21.", at("15:54:59"), zone(0), 0, true},
		{"Welcome\nLocal time is now 21:39.", at("15:54:26"), zone(345), 0, true},
		{"Local time is now 21:45.", at("15:54:30"), zone(345), 360, true},
		{"Local time is now 10:24.", at("15:54:30"), zone(-300), -1800, true},
		{"Local time is now 00:01.", at("23:59:30"), zone(0), 120, true},
		{"Local time is now 23:58.", at("00:01:30"), zone(0), -180, true},
		{"Local time is now 02:00.", at("23:50:30"), zone(120), 600, true}, // of the next day there, and of the next here
		{"Local time is now 15:54.", at("15:54:30"), nil, 0, false},
		{"Local time is now 15:54.", time.Time{}, zone(0), 0, false},
		{"ProFTPD Server ready", at("15:54:30"), zone(0), 0, false},
	} {
		if ahead, ok := greetedClock(c.greeting, c.at, c.zone); ahead != c.ahead || ok != c.ok {
			t.Errorf("%q at %v: %d, %v, want %d, %v", c.greeting, c.at, ahead, ok, c.ahead, c.ok)
		}
	}
}

// TestClock: the freshest source counts, and a listed time in the future is a bound where there is none.
func TestClock(t *testing.T) {
	p, err := New(Config{Session: sessionFor("localhost")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	now := time.Date(2026, 11, 21, 12, 0, 30, 0, time.UTC)
	p.now = func() time.Time { return now }
	l := &Listing{Entries: []Entry{
		{Name: "old", ModTime: now.Add(-time.Hour), Exact: true},
		{Name: "soon", ModTime: now.Add(90 * time.Second), Exact: true},
		{Name: "rough", ModTime: now.Add(time.Hour)}, // in a zone that is not known
		{Name: "none"},
	}}
	var r Report
	if r.Clock = p.clock(session.Info{}, l); r.Clock != (Clock{AtLeast: 90, Latest: "soon"}) {
		t.Errorf("at first: %+v", r.Clock)
	}
	if r.judgeClock(); len(r.Problems) != 1 {
		t.Errorf("problems: %v", r.Problems)
	}
	expect := func(when string, ahead int64, from ClockSource) {
		t.Helper()
		greeted := session.Info{Greeting: "Local time is now 12:03.", Greeted: now}
		if c := p.clock(greeted, nil); c.Ahead == nil || *c.Ahead != ahead || c.From != from {
			t.Errorf("%s: %+v, want %d by %s", when, c, ahead, from)
		}
	}
	seven, zone := int64(7), 0
	p.memory.set(func(m *learned) { m.Clock = &seven })
	expect("of an earlier mount", 7, ClockMemory)
	p.memory.set(func(m *learned) { m.Zone = &zone })
	expect("the zone of the greeting is known", 180, ClockGreeting)
	p.noteClock(-5)
	expect("a file was written", -5, ClockFile)
}
