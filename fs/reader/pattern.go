package reader

// How a reader moves is seen from its runs: READs that follow each other are one run, and a run begins with a jump. The begins
// of runs are compared. Nothing is concluded from fewer than three runs, so that reads at random places are left alone.
const (
	backRuns  = 2         // runs in a row, each just before the last, behind the first one
	sameSteps = 3         // equal distances in a row
	backGap   = 128 << 10 // between a run and the one behind it: sooner read and thrown away than asked for anew
)

// course is where a reader is heading.
type course uint8

const (
	courseNone    course = iota // no pattern
	courseBack                  // each run just before the last
	courseStride                // runs at equal distances, forwards or backwards
	courseThrough               // the same in steps so small that a stream that goes through is sooner there
)

// moves is what was seen of a reader. The zero value has seen nothing.
type moves struct {
	begun      bool
	start, end int64 // of the run under way
	first      int64 // length of its first READ
	length     int64 // of the run before
	step       int64 // from the begin of the run before to that of this one
	follows    bool  // a READ went on behind the first of this run
	same       int   // steps in a row that were equal, this one included
	back       int   // runs in a row each just before the last
}

// note takes a READ and tells whether a run begins with it. overlaps: others are not answered yet, which overtake each other
// where one reader goes forwards; one that goes backwards waits for each.
func (m *moves) note(pos int64, n int, overlaps bool) bool {
	end := pos + int64(n)
	switch {
	case !m.begun:
		*m = moves{begun: true, start: pos, end: end, first: int64(n)}
		return true
	case m.start <= pos && pos <= m.end+2*int64(n):
		m.follows = m.follows || end > m.end
		m.end = max(m.end, end)
		return false
	}
	length, step := m.end-m.start, pos-m.start
	if step == m.step {
		m.same++
	} else {
		m.same = 1
	}
	switch just := step < 0 && -step <= length+backGap; {
	case !just:
		m.back = 0
	case !overlaps:
		m.back++
	}
	m.start, m.end, m.first, m.length, m.step, m.follows = pos, end, int64(n), length, step, false
	return true
}

func (m *moves) course() course {
	switch {
	case m.back >= backRuns:
		return courseBack
	case m.same < sameSteps:
		return courseNone
	case 0 < m.step && m.step-m.length <= reach(m.first):
		return courseThrough
	}
	return courseStride
}

// span is how long a run is likely to be.
func (m *moves) span() int64 { return max(m.length, m.end-m.start) }
