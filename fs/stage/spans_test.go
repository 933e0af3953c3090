package stage

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// naive is the same set, byte by byte; 0 means not in the set.
type naive [256]uint64

func (n *naive) gaps(off, end int64) []Range {
	var out []Range
	for i := off; i < end; i++ {
		if n[i] != 0 {
			continue
		}
		if k := len(out); k > 0 && out[k-1].End() == i {
			out[k-1].Len++
		} else {
			out = append(out, Range{i, 1})
		}
	}
	return out
}

func (n *naive) ranges() []Range {
	var inverse naive
	for i, g := range n {
		if g == 0 {
			inverse[i] = 1
		}
	}
	return inverse.gaps(0, int64(len(n)))
}

// applySpans runs a program of four bytes an instruction against both and compares.
func applySpans(t *testing.T, program []byte) {
	var s spans
	var n naive
	for ; len(program) >= 4; program = program[4:] {
		off, end := int64(program[1]), int64(program[2])
		gen := uint64(program[3]%5 + 1)
		switch program[0] % 4 {
		case 0, 1:
			s.add(off, end, gen)
			for i := off; i < end; i++ {
				n[i] = gen
			}
		case 2:
			s.remove(off, end)
			for i := off; i < end; i++ {
				n[i] = 0
			}
		case 3:
			s.clean(gen)
			for i := range n {
				if n[i] <= gen {
					n[i] = 0
				}
			}
		}
		compareSpans(t, &s, &n, off, end)
	}
}

func compareSpans(t *testing.T, s *spans, n *naive, off, end int64) {
	t.Helper()
	var bytes int64
	for i, sp := range s.list {
		if sp.off >= sp.end || i > 0 && (sp.off < s.list[i-1].end || sp.off == s.list[i-1].end && sp.gen == s.list[i-1].gen) {
			t.Fatalf("not in normal form: %v", s.list)
		}
		for j := sp.off; j < sp.end; j++ {
			if n[j] != sp.gen {
				t.Fatalf("byte %d has generation %d, want %d", j, sp.gen, n[j])
			}
		}
		bytes += sp.end - sp.off
	}
	if s.bytes != bytes {
		t.Fatalf("%d bytes, counted %d", bytes, s.bytes)
	}
	if got, want := s.ranges(), n.ranges(); !slices.Equal(got, want) {
		t.Fatalf("ranges %v, want %v", got, want)
	}
	if got, want := s.gaps(off, end), n.gaps(off, end); !slices.Equal(got, want) {
		t.Fatalf("gaps(%d, %d) = %v, want %v", off, end, got, want)
	}
}

func TestSpansAgainstBytes(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 400)
		for i := range program {
			program[i] = byte(rnd.Uint32())
		}
		applySpans(t, program)
	}
}

func FuzzSpans(f *testing.F) {
	f.Add([]byte{0, 10, 20, 0, 0, 20, 30, 0, 2, 15, 25, 0, 3, 0, 255, 0})
	f.Add([]byte{0, 0, 255, 4, 0, 100, 101, 1, 3, 0, 0, 2})
	f.Fuzz(func(t *testing.T, program []byte) { applySpans(t, program[:min(len(program), 1<<10)]) })
}
