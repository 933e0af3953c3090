package reader

import "testing"

func TestCourse(t *testing.T) {
	const k = 1 << 10
	type read struct {
		pos int64
		n   int
	}
	back := func(n int, from, step int64, reads int) (all []read) {
		for i := range int64(reads) {
			all = append(all, read{from + i*step, n})
		}
		return all
	}
	for name, c := range map[string]struct {
		reads []read
		want  course
	}{
		"nothing":                      {nil, courseNone},
		"one":                          {[]read{{50 * mib, 4 * k}}, courseNone},
		"forwards":                     {back(128*k, 0, 128*k, 100), courseNone},
		"forwards with small gaps":     {back(4*k, 0, 12*k, 100), courseNone},
		"two ranges backwards":         {back(64*k, 50*mib, -64*k, 2), courseNone},
		"three ranges backwards":       {back(64*k, 50*mib, -64*k, 3), courseBack},
		"backwards with small gaps":    {back(4*k, 50*mib, -20*k, 3), courseBack},
		"backwards, overlapping":       {back(64*k, 50*mib, -60*k, 3), courseBack},
		"three steps":                  {back(64*k, 50*mib, 4*mib, 3), courseNone},
		"four steps":                   {back(64*k, 50*mib, 4*mib, 4), courseStride},
		"four steps backwards":         {back(64*k, 50*mib, -4*mib, 4), courseStride},
		"small steps":                  {back(4*k, 50*mib, 512*k, 4), courseThrough},
		"another step":                 {append(back(64*k, 50*mib, 4*mib, 9), read{90 * mib, 64 * k}), courseNone},
		"backwards, then elsewhere":    {append(back(64*k, 50*mib, -64*k, 9), read{90 * mib, 64 * k}), courseNone},
		"backwards, then forwards":     {append(back(64*k, 50*mib, -64*k, 3), back(64*k, 51*mib, 64*k, 3)...), courseNone},
		"each range twice":             {[]read{{9 * mib, k}, {9 * mib, k}, {5 * mib, k}, {5 * mib, k}, {mib, k}, {mib, k}}, courseNone},
		"ranges of several READs back": {[]read{{8 * mib, mib}, {9 * mib, mib}, {6 * mib, mib}, {7 * mib, mib}, {4 * mib, mib}}, courseBack},
	} {
		var m moves
		for _, r := range c.reads {
			m.note(r.pos, r.n, false)
		}
		if got := m.course(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// READs of one reader that goes forwards overtake each other: that is no way back.
func TestOvertakingIsNoWayBack(t *testing.T) {
	var m moves
	for i := int64(20); i >= 0; i-- {
		m.note(i*128<<10, 128<<10, i < 20)
	}
	if got := m.course(); got == courseBack {
		t.Errorf("%d", got)
	}
}
