package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openStore(t *testing.T, dir string, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Dir: dir, Server: "ftps://u@h:21/r", Mount: "m1", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func create(t *testing.T, s *Store, target string, base Base) *File {
	t.Helper()
	f, err := s.Create(target, base)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, f *File, off int64, p string) {
	t.Helper()
	if n, err := f.WriteAt([]byte(p), off); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d) = %d, %v", off, n, err)
	}
}

func TestReadOfMissingBytes(t *testing.T) {
	s := openStore(t, t.TempDir())
	f := create(t, s, "/f", Base{Exists: true, Size: 100})
	defer f.Close(false)
	write(t, f, 10, "0123456789")
	p := make([]byte, 20)
	if n, err := f.ReadAt(p, 12); n != 8 || err != ErrMissing || string(p[:n]) != "23456789" {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := f.ReadAt(p, 0); n != 0 || err != ErrMissing {
		t.Errorf("%d, %v", n, err)
	}
	if got := f.Missing(0, 1000); !slices.Equal(got, []Range{{0, 10}, {20, 80}}) {
		t.Errorf("missing %v", got)
	}
	if err := f.Fill(bytes.Repeat([]byte{'s'}, 200), 0); err != nil {
		t.Fatal(err)
	}
	if f.Size() != 100 || len(f.Missing(0, 1000)) != 0 {
		t.Errorf("size %d, missing %v", f.Size(), f.Missing(0, 1000))
	}
	all := make([]byte, 120)
	n, err := f.ReadAt(all, 0)
	if want := strings.Repeat("s", 10) + "0123456789" + strings.Repeat("s", 80); n != 100 || err != io.EOF || string(all[:n]) != want {
		t.Errorf("%d, %v, %q", n, err, all[:n])
	}
	if got := f.Dirty(); !slices.Equal(got, []Range{{10, 10}}) {
		t.Errorf("dirty %v", got)
	}
}

func TestGenerations(t *testing.T) {
	s := openStore(t, t.TempDir())
	f := create(t, s, "/f", Base{})
	defer f.Close(false)
	write(t, f, 0, "aaaaaaaaaa")
	snap := f.Snapshot()
	if snap.Size != 10 || !slices.Equal(snap.Dirty, []Range{{0, 10}}) {
		t.Errorf("%+v", snap)
	}
	write(t, f, 3, "bb") // during the upload
	write(t, f, 10, "c")
	f.Clean(snap.Gen)
	if got := f.Dirty(); !slices.Equal(got, []Range{{3, 2}, {10, 1}}) {
		t.Errorf("dirty %v", got)
	}
	snap = f.Snapshot()
	f.Clean(snap.Gen)
	if got := f.Dirty(); len(got) != 0 {
		t.Errorf("dirty %v", got)
	}
}

// TestFileAgainstBytes runs random operations on a staging file and on a plain byte slice.
func TestFileAgainstBytes(t *testing.T) {
	dir := t.TempDir()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		s := openStore(t, dir)
		remote := make([]byte, rnd.IntN(40000))
		for i := range remote {
			remote[i] = byte(rnd.Uint32())
		}
		want := slices.Clone(remote)
		fromServer := int64(len(want)) // what of want may still be fetched from there
		f := create(t, s, "/f", Base{Exists: true, Size: int64(len(want))})
		for range 200 {
			off, n := rnd.IntN(50000), 1+rnd.IntN(9000)
			switch rnd.IntN(6) {
			case 0, 1:
				p := make([]byte, n)
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				write(t, f, int64(off), string(p))
				if grow := off + n - len(want); grow > 0 {
					want = append(want, make([]byte, grow)...)
				}
				copy(want[off:], p)
			case 2:
				if err := f.Truncate(int64(off)); err != nil {
					t.Fatal(err)
				}
				fromServer = min(fromServer, int64(off))
				if off > len(want) {
					want = append(want, make([]byte, off-len(want))...)
				}
				want = want[:off]
			case 3:
				if err := f.Punch(int64(off), int64(n)); err != nil {
					t.Fatal(err)
				}
			default:
				if off >= len(want) {
					continue
				}
				for _, r := range f.Missing(int64(off), int64(n)) {
					if r.End() > fromServer {
						t.Fatalf("%v is missing, but the server has it no more (%d)", r, fromServer)
					}
					if err := f.Fill(remote[r.Off:r.End()], r.Off); err != nil {
						t.Fatal(err)
					}
				}
				got := make([]byte, n)
				m, err := f.ReadAt(got, int64(off))
				if wantN := min(n, len(want)-off); m != wantN || err != nil && err != io.EOF || !bytes.Equal(got[:m], want[off:off+m]) {
					t.Fatalf("seed %d: ReadAt(%d, %d) = %d, %v; want %d", seed, off, n, m, err, wantN)
				}
			}
			if f.Size() != int64(len(want)) {
				t.Fatalf("size %d, want %d", f.Size(), len(want))
			}
			checkAccount(t, s, f)
		}
		if _, err := f.Close(false); err != nil {
			t.Fatal(err)
		}
		if st := s.Stats(); st.Allocated != 0 || st.Files != 0 {
			t.Fatalf("%+v", st)
		}
		s.Close()
	}
}

// checkAccount compares what is counted with what the disk says.
func checkAccount(t *testing.T, s *Store, f *File) {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(f.path, &st); err != nil {
		t.Fatal(err)
	}
	if counted := s.Stats().Allocated; st.Blocks*512 > counted || st.Size != f.Size() {
		t.Fatalf("disk has %d bytes and size %d, counted %d and %d", st.Blocks*512, st.Size, counted, f.Size())
	}
}

func TestLimit(t *testing.T) {
	s := openStore(t, t.TempDir(), func(c *Config) { c.Limit = 10 * blockSize })
	a, b := create(t, s, "/a", Base{}), create(t, s, "/b", Base{})
	defer a.Close(false)
	block := strings.Repeat("x", blockSize)
	for i := range int64(6) {
		write(t, a, i*blockSize, block)
	}
	for i := range int64(4) {
		write(t, b, i*blockSize*100, block) // sparse: only what is written counts
	}
	if n, err := a.WriteAt([]byte("y"), 6*blockSize); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d, %v", n, err)
	}
	if a.Size() != 6*blockSize {
		t.Errorf("a failed write changed the size to %d", a.Size())
	}
	write(t, a, 100, block) // in place
	if err := a.Truncate(5*blockSize - 1); err != nil {
		t.Fatal(err)
	}
	write(t, b, blockSize, block) // the space that a gave up
	if _, err := b.Close(false); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Allocated; got != 5*blockSize {
		t.Errorf("allocated %d", got)
	}
	snap := a.Snapshot()
	a.Clean(snap.Gen)
	if err := a.Punch(0, a.Size()); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Allocated; got != 0 {
		t.Errorf("allocated %d after punching", got)
	}
}

func TestPrivateFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := openStore(t, dir)
	f := create(t, s, "/f", Base{})
	defer f.Close(false)
	err := filepath.Walk(dir, func(path string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if fi.IsDir() {
			want = 0o700
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s has mode %o", path, fi.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadConfig(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{{Dir: dir}, {Dir: dir, Mount: "a/b"}, {Dir: plain, Mount: "m"}, {Dir: filepath.Join(plain, "x"), Mount: "m"}} {
		if s, err := Open(c); err == nil {
			t.Errorf("%+v accepted", c)
			s.Close()
		}
	}
}

func TestKeep(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	dir := t.TempDir()
	s := openStore(t, dir, func(c *Config) { c.Now = func() time.Time { return now } })
	seen := map[string]bool{}
	for i, target := range []string{"/a/b.txt", "/a/b.txt", "/", "/..", "/x/\xff\n" + strings.Repeat("ä", 200)} {
		f := create(t, s, target, Base{Exists: true, Size: 10, ModTime: now})
		write(t, f, 3, fmt.Sprint(i))
		place, err := f.Keep("the server said no")
		if err != nil || seen[place] || filepath.Dir(place) != s.RecoveryDir() || len(filepath.Base(place)) > 200 {
			t.Fatalf("%q: %q, %v", target, place, err)
		}
		seen[place] = true
		if b, err := os.ReadFile(place); err != nil || len(b) != 10 || b[3] != '0'+byte(i) {
			t.Errorf("%q, %v", b, err)
		}
		text, err := os.ReadFile(place + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"the server said no", fmt.Sprintf("%q", target), "2024-05-06T07:08:09Z", "bytes 3 to 3", "bytes 4 to 9 were never fetched"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("no %q in %s", want, text)
			}
		}
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrClosed) {
			t.Errorf("write after Keep: %v", err)
		}
		if place, err := f.Close(true); place != "" || err != nil {
			t.Errorf("second close: %q, %v", place, err)
		}
	}
	if !seen[filepath.Join(s.RecoveryDir(), "20240506T070809Z-m1-b.txt")] {
		t.Errorf("places: %v", seen)
	}
	if st := s.Stats(); st.Recovery != 5 || st.Files != 0 || st.Allocated != 0 {
		t.Errorf("%+v", st)
	}
}

func TestKeepLast(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	s := openStore(t, t.TempDir(), func(c *Config) { c.Now, c.Limit = func() time.Time { return now }, 1<<20 })
	names := func() []string {
		t.Helper()
		all, err := filepath.Glob(filepath.Join(s.RecoveryDir(), "*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	keep := func(target, content string, move func(*File) (string, error)) string {
		t.Helper()
		f := create(t, s, target, Base{})
		write(t, f, 0, content)
		place, err := move(f)
		if err != nil {
			t.Fatal(err)
		}
		return place
	}
	last := func(f *File) (string, error) { return f.KeepLast("the line was cut") }
	first := keep("/a/b", "one", last)
	if again := keep("/a/b", "two", last); again != first {
		t.Errorf("the same target is at %q and at %q", first, again)
	}
	if b, err := os.ReadFile(first); err != nil || string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
	other := keep("/c/b", "another", last)
	untold := keep("/a/b", "nobody knows", func(f *File) (string, error) { return f.Keep("the program ended") })
	if n := names(); len(n) != 6 {
		t.Errorf("%q", n)
	}
	if place := keep("/big", strings.Repeat("x", 200<<10), last); place != "" || len(names()) != 6 {
		t.Errorf("too large, and at %q", place)
	}
	now = now.Add(time.Second)
	big := keep("/big", strings.Repeat("x", 90<<10), last)
	now = now.Add(time.Second)
	large := keep("/large", strings.Repeat("x", 90<<10), last) // the older ones make room
	if n := names(); len(n) != 4 || !slices.Contains(n, large) || !slices.Contains(n, untold) || slices.Contains(n, big) || slices.Contains(n, other) {
		t.Errorf("%q", n)
	}
	now = now.Add(keptFor + time.Second)
	for i := range keptFiles + 5 {
		keep(fmt.Sprint("/f", i), "", last)
	}
	if n := names(); len(n) != 2*keptFiles+2 || slices.Contains(n, large) || !slices.Contains(n, untold) {
		t.Errorf("%d names", len(n))
	}
	if st := s.Stats(); st.Files != 0 || st.Allocated != 0 {
		t.Errorf("%+v", st)
	}
}
