package stage

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNamesSurvive(t *testing.T) {
	for _, s := range []string{"/a", "", "/ü \u2028<>&", "/\xff\xfe", "=x", "%41", "\x00\n"} {
		b, err := name(s).MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var n name
		if err := n.UnmarshalText(b); err != nil || string(n) != s {
			t.Errorf("%q became %q, %v", s, n, err)
		}
	}
	for _, bad := range []string{"", "%4", "%zz"} {
		var n name
		if n.UnmarshalText([]byte(bad)) == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestLastGoodLineCounts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	l, err := createLines(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := l.put(map[string]int{"n": i}, i == 2); err != nil {
			t.Fatal(err)
		}
	}
	l.close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lineLen := len(whole) / 3
	for cut := range len(whole) + 1 {
		// A torn tail of any length, also with garbage behind it.
		for _, tail := range []string{"", "garbage\n", "\x00\x00\x00\x00"} {
			if err := os.WriteFile(path, append(whole[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			var v map[string]int
			l, ok, err := openLines(path, &v)
			if err != nil {
				t.Fatal(err)
			}
			good := cut / lineLen
			if ok != (good > 0) || ok && v["n"] != good-1 {
				t.Fatalf("cut at %d: %v, %t", cut, v, ok)
			}
			// Going on after the torn tail must leave a readable file.
			if err := l.put(map[string]int{"n": 77}, false); err != nil {
				t.Fatal(err)
			}
			l.close()
			l, ok, err = openLines(path, &v)
			if err != nil || !ok || v["n"] != 77 {
				t.Fatalf("cut at %d, then continued: %v, %t, %v", cut, v, ok, err)
			}
			l.close()
		}
	}
}

func TestLineFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	l, err := createLines(path)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 10<<10)
	for i := range 100 {
		if err := l.put(map[string]any{"n": i, "long": long}, false); err != nil {
			t.Fatal(err)
		}
	}
	l.close()
	if fi, err := os.Stat(path); err != nil || fi.Size() > compactAt+20<<10 {
		t.Errorf("%d bytes, %v", fi.Size(), err)
	}
	var v struct{ N int }
	l, ok, err := openLines(path, &v)
	if err != nil || !ok || v.N != 99 {
		t.Errorf("%v, %t, %v", v, ok, err)
	}
	l.close()
}

// FuzzLastLine: of lines that are complete the last one counts, wherever the file was cut off and whatever follows.
func FuzzLastLine(f *testing.F) {
	f.Add([]byte("{}\n{\"op\":1}\nx"), 30, []byte("00000000 {}\n"))
	f.Add([]byte("\n\n"), 19, []byte("\x00\x00\n"))
	f.Add([]byte(""), 0, []byte("00000000 \n"))
	f.Fuzz(func(t *testing.T, payload []byte, cut int, tail []byte) {
		if len(payload) > 4<<10 || len(tail) > 4<<10 {
			return
		}
		var file, want []byte
		var size int64
		for line := range bytes.SplitSeq(payload, []byte("\n")) {
			file = appendLine(file, line)
			if cut >= len(file) {
				want, size = line, int64(len(file))
			}
		}
		file = file[:max(0, min(cut, len(file)))]
		last, got := lastLine(file)
		if got != size || !bytes.Equal(last, want) || (last == nil) != (size == 0) {
			t.Fatalf("line %q, size %d, want %q, %d", last, got, want, size)
		}
		file = append(file, tail...)
		last, got = lastLine(file)
		if got < size || got > int64(len(file)) || got > 0 && file[got-1] != '\n' || got == size && !bytes.Equal(last, want) {
			t.Fatalf("with a tail: line %q, size %d, want %q, %d", last, got, want, size)
		}
	})
}
