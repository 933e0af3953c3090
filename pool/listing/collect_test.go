package listing

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestCollector(t *testing.T) {
	var c Collector
	for _, name := range []string{"b", "a", "", "c", ".", "..", "x/y", "/etc/passwd", "nul\x00", "a", "../x", " ", "..."} {
		c.Add(Entry{Name: name, Size: int64(c.Len())})
	}
	c.Unparsed("what?\x1b")
	l := c.Listing()
	var names []string
	for _, e := range l.Entries {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, "|"); got != " |...|a|b|c" {
		t.Errorf("names %q", got)
	}
	if l.Entries[2].Size != 3 {
		t.Errorf("the last one of two does not count: %+v", l.Entries[2])
	}
	want := []string{`name refused: ""`, `name refused: "x/y"`, `name refused: "/etc/passwd"`, `name refused: "nul\x00"`,
		`name refused: "../x"`, `"what?\x1b"`}
	if !slices.Equal(l.Unparsed, want) {
		t.Errorf("reported %q", l.Unparsed)
	}
	if l := c.Listing(); len(l.Entries) != 0 || len(l.Unparsed) != 0 {
		t.Errorf("not empty afterwards: %+v", l)
	}
}

func TestCollectorBoundsReports(t *testing.T) {
	var c Collector
	long := strings.Repeat("x", 10000)
	for range maxReports + 5 {
		c.Unparsed(long)
	}
	l := c.Listing()
	if len(l.Unparsed) != maxReports+1 || l.Unparsed[maxReports] != "and 5 more" || len(l.Unparsed[0]) > 2*maxQuoted {
		t.Errorf("%d reports, the last %q", len(l.Unparsed), l.Unparsed[len(l.Unparsed)-1])
	}
}

func TestCollectorSortsLikeAMap(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var c Collector
		want := map[string]int64{}
		for i := range r.IntN(5000) {
			name := fmt.Sprintf("%x", r.IntN(3000))
			c.Add(Entry{Name: name, Size: int64(i), Owner: "o", Target: name})
			want[name] = int64(i)
		}
		l := c.Listing()
		if len(l.Entries) != len(want) {
			t.Fatalf("%d entries, want %d", len(l.Entries), len(want))
		}
		for i, e := range l.Entries {
			if want[e.Name] != e.Size || e.Target != e.Name || i > 0 && l.Entries[i-1].Name >= e.Name {
				t.Fatalf("%d: %+v", i, e)
			}
		}
	}
}

func TestAddLineAndStat(t *testing.T) {
	p := NewListParser(testNow, nil)
	tests := []struct {
		name   string
		lines  string
		want   string
		folder bool
	}{
		{"vsftpd", "-rw-r--r--    1 1003     1003            0 Nov 21 10:06  lead\ndrwxr-xr-x    3 1003     1003         4096 Nov 21 10:06 .\n" +
			"drwxr-xr-x    3 1003     1003         4096 Nov 21 10:06 ..", " lead", true},
		{"ProFTPD", " -rw-r--r--   1 ftptest  1003            0 Nov 21 10:06 f\n drwxr-xr-x   3 ftptest  1003         4096 Nov 21 10:06 .\n" +
			" drwxr-xr-x   3 ftptest  1003         4096 Nov 21 10:06 d", "d|f", true},
		{"repeated code", "213-total 5\n213-drwxr-xr-x   3 ftptest  1003         4096 Nov 21 10:06 .", "", true},
		{"nothing", "", "", false},
	}
	for _, test := range tests {
		var c Collector
		folder := c.AddStat(strings.Split(test.lines, "\n"), p)
		var names []string
		l := c.Listing()
		for _, e := range l.Entries {
			names = append(names, e.Name)
		}
		if strings.Join(names, "|") != test.want || folder != test.folder || len(l.Unparsed) > 0 {
			t.Errorf("%s: %q, %v, %q", test.name, names, folder, l.Unparsed)
		}
	}
	var c Collector
	c.AddLine("type=cdir; .", ParseFacts)
	c.AddLine("type=file; a", ParseFacts)
	c.AddLine("garbage", ParseFacts)
	if l := c.Listing(); len(l.Entries) != 1 || len(l.Unparsed) != 1 {
		t.Errorf("%+v", l)
	}
}

// TestListingsAreCompact measures what a folder takes in memory, for each entry.
func TestListingsAreCompact(t *testing.T) {
	const n = 100000
	var before, after runtime.MemStats
	var c Collector
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		line := fmt.Sprintf("type=file;size=%d;modify=20261121024825;perm=adfrw;unique=fe00g%07x;UNIX.mode=0644;"+
			"UNIX.ownername=somebody;UNIX.groupname=domain users; some-file-name-%07d.txt", i, i, i)
		c.AddLine(line, ParseFacts)
	}
	l := c.Listing()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := float64(after.HeapAlloc-before.HeapAlloc) / n; per > 230 {
		t.Errorf("%.0f bytes for each entry", per)
	}
	if len(l.Entries) != n {
		t.Errorf("%d entries", len(l.Entries))
	}
}

func FuzzStat(f *testing.F) {
	f.Add(" -rw-r--r--   1 ftptest  1003            0 Nov 21 10:06 f\n drwxr-xr-x   3 ftptest  1003         4096 Nov 21 10:06 .")
	f.Add("213-total 5\n213-x")
	f.Add("-rw-r--r--    1 1003     1003            0 Nov 21 10:06 a/b\n\n")
	p := NewListParser(testNow, nil)
	f.Fuzz(func(t *testing.T, text string) {
		var c Collector
		c.AddStat(strings.Split(text, "\n"), p)
		for i, e := range c.Listing().Entries {
			if !ValidName(e.Name) {
				t.Errorf("%d: name %q", i, e.Name)
			}
		}
	})
}
