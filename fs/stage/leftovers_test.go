package stage

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func leftovers(t *testing.T, s *Store) []Leftover {
	t.Helper()
	left, err := s.Leftovers()
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// die closes what a process has open, as the kernel does for one that is killed.
func die(s *Store, files []*File, entries []*Entry) {
	for _, f := range files {
		f.data.Close()
		f.meta.close()
	}
	for _, e := range entries {
		e.lines.close()
	}
	s.run.lock.Close()
	s.closed = true
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	mtime := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	base := Base{Exists: true, Size: 20000, ModTime: mtime, Unique: "u1"}
	s := openStore(t, dir)

	committed := create(t, s, "/old name", base)
	write(t, committed, 5000, "dirty")
	if err := committed.Fill([]byte("filled"), 0); err != nil {
		t.Fatal(err)
	}
	if err := committed.Retarget("/new \xff name"); err != nil {
		t.Fatal(err)
	}
	if _, err := committed.Commit(); err != nil {
		t.Fatal(err)
	}
	written := create(t, s, "/written", Base{})
	write(t, written, 0, "never closed")
	settled := create(t, s, "/settled", Base{})
	write(t, settled, 0, "x")
	snap, err := settled.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if err := settled.Settle(snap.Gen, Base{Exists: true, Size: 1}); err != nil {
		t.Fatal(err)
	}
	opened := create(t, s, "/opened only", base)
	again := create(t, s, "/settled, then written", Base{Exists: true, Size: 1})
	if err := again.Settle(0, again.Base()); err != nil {
		t.Fatal(err)
	}
	write(t, again, 0, "y")

	rec := Record{Op: OpReplace, Path: "/p\xff", Temp: "/t", Aside: "/a", Base: base, New: Base{Exists: true, Size: 3}}
	entry, err := s.Begin(rec)
	if err != nil {
		t.Fatal(err)
	}
	if err := entry.Step("aside"); err != nil {
		t.Fatal(err)
	}
	done, err := s.Begin(Record{Op: OpHide})
	if err != nil {
		t.Fatal(err)
	}
	if err := done.Done(); err != nil {
		t.Fatal(err)
	}

	other := openStore(t, dir, func(c *Config) { c.Mount = "m2" })
	if left := leftovers(t, other); len(left) != 0 {
		t.Fatalf("leftovers of a run that lives: %+v", left)
	}
	elsewhere := openStore(t, dir, func(c *Config) { c.Server = "ftps://u@h2:21/r" })
	die(s, []*File{committed, written, settled, opened, again}, []*Entry{entry})
	if left := leftovers(t, elsewhere); len(left) != 0 {
		t.Fatalf("leftovers of another server: %+v", left)
	}

	left := leftovers(t, other)
	if len(left) != 4 {
		t.Fatalf("%d leftovers: %+v", len(left), left)
	}
	c, w, a, e := left[0], left[1], left[2], left[3]
	if c.File.Target() != "/new \xff name" || !c.File.Base().ModTime.Equal(mtime) || c.File.Base().Unique != "u1" || c.File.Size() != 20000 ||
		!c.Committed || c.Complete || c.Mount != "m1" || !slices.Equal(c.File.Dirty(), []Range{{5000, 5}}) ||
		!slices.Equal(c.File.Missing(0, 20000), []Range{{6, 4994}, {5005, 14995}}) {
		t.Errorf("committed: %+v %+v", c, c.File.Base())
	}
	p := make([]byte, 12)
	if n, err := w.File.ReadAt(p, 0); w.File.Target() != "/written" || w.Committed || string(p[:n]) != "never closed" || err != nil {
		t.Errorf("written: %+v %q %v", w, p[:n], err)
	}
	if a.File.Target() != "/settled, then written" || a.Committed {
		t.Errorf("written after settling: %+v", a)
	}
	rec.Step = "aside"
	if got := e.Entry.Record(); got.Path != rec.Path || got.Temp != rec.Temp || got.Aside != rec.Aside || got.Step != "aside" || got.Op != OpReplace ||
		!got.Base.ModTime.Equal(mtime) || got.New.Size != 3 {
		t.Errorf("entry: %+v", got)
	}
	if st := other.Stats(); st.Files != 3 || st.Journal != 1 || st.Allocated == 0 {
		t.Errorf("%+v", st)
	}
	third := openStore(t, dir)
	if left := leftovers(t, third); len(left) != 0 {
		t.Errorf("leftovers that somebody owns already: %+v", left)
	}

	// What is adopted can be worked on, and is left again if its owner dies, too.
	write(t, c.File, 0, "more")
	if _, err := c.File.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := e.Entry.Step("rename"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.File.Keep("test"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.File.Close(false); err != nil {
		t.Fatal(err)
	}
	for _, r := range other.adopted {
		r.lock.Close()
	}
	other.adopted = nil
	die(other, []*File{c.File}, []*Entry{e.Entry})
	left = leftovers(t, third)
	if len(left) != 2 || left[0].File.Target() != "/new \xff name" || left[1].Entry.Record().Step != "rename" {
		t.Fatalf("%+v", left)
	}
	if _, err := left[0].File.Close(false); err != nil {
		t.Fatal(err)
	}
	if err := left[1].Entry.Done(); err != nil {
		t.Fatal(err)
	}
	third.Close()
	elsewhere.Close()
	noRunsLeft(t, dir)
}

// noRunsLeft checks that no folder of a run is left behind.
func noRunsLeft(t *testing.T, dir string) {
	t.Helper()
	runs, err := filepath.Glob(filepath.Join(dir, "stage", "*", "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range runs {
		if !strings.HasSuffix(r, ".lock") {
			names, _ := os.ReadDir(r)
			t.Errorf("left behind: %s: %v", r, names)
		}
	}
}

func TestCommittedContentAndLaterChanges(t *testing.T) {
	mixed := strings.Repeat("a", 3*blockSize)
	for _, c := range []struct {
		name   string
		after  func(f *File) error
		size   int64
		misses bool
	}{
		{"longer", func(f *File) error { _, err := f.WriteAt([]byte("b"), 10*blockSize); return err }, 3 * blockSize, false},
		{"shorter", func(f *File) error { return f.Truncate(100) }, 100, false},
		{"shorter, longer", func(f *File) error {
			if err := f.Truncate(100); err != nil {
				return err
			}
			return f.Truncate(3 * blockSize)
		}, 100, false},
		{"punched", func(f *File) error { f.Clean(1); return f.Punch(0, 2*blockSize) }, 3 * blockSize, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := openStore(t, dir)
			f := create(t, s, "/f", Base{})
			write(t, f, 0, mixed)
			if _, err := f.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := c.after(f); err != nil {
				t.Fatal(err)
			}
			die(s, []*File{f}, nil)
			left := leftovers(t, openStore(t, dir))
			if len(left) != 1 || !left[0].Committed || left[0].File.Size() != c.size || left[0].Complete == c.misses {
				t.Fatalf("%+v, size %d", left, left[0].File.Size())
			}
			got := make([]byte, c.size)
			n, err := left[0].File.ReadAt(got, 0)
			if c.misses {
				if n != 0 || err != ErrMissing {
					t.Errorf("%d, %v", n, err)
				}
			} else if string(got) != mixed[:c.size] || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			left[0].File.Close(false)
		})
	}
}

func TestDamagedRemains(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	f, empty := create(t, s, "/f", Base{}), create(t, s, "/e", Base{})
	write(t, f, 0, "precious")
	e, err := s.Begin(Record{Op: OpHide, Path: "/h"})
	if err != nil {
		t.Fatal(err)
	}
	die(s, []*File{f, empty}, []*Entry{e})
	for _, path := range []string{f.meta.path, empty.meta.path, e.lines.path} {
		if err := os.WriteFile(path, []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, stray := range []string{"0000000099.meta", "0000000098.meta.new"} {
		if err := os.WriteFile(filepath.Join(s.run.dir, stray), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := openStore(t, dir)
	if left := leftovers(t, next); len(left) != 0 {
		t.Errorf("%+v", left)
	}
	kept, err := filepath.Glob(filepath.Join(next.RecoveryDir(), "*unnamed"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept %v, %v", kept, err)
	}
	if b, err := os.ReadFile(kept[0]); string(b) != "precious" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	next.Close()
	noRunsLeft(t, dir)
}

// Many mounts of one user come, leave something and go at once: each thing left must get exactly one new owner.
func TestManyMountsShareTheFolder(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	adopted := map[string]int{}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			for i := range 10 {
				s, err := Open(Config{Dir: dir, Server: "s", Mount: fmt.Sprintf("m%d", g)})
				if err != nil {
					t.Error(err)
					return
				}
				left, err := s.Leftovers()
				if err != nil {
					t.Error(err)
				}
				for _, l := range left {
					mu.Lock()
					adopted[l.File.Target()]++
					mu.Unlock()
					if _, err := l.File.Close(false); err != nil {
						t.Error(err)
					}
				}
				f, err := s.Create(fmt.Sprintf("/%d-%d", g, i), Base{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := f.WriteAt([]byte("x"), 0); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil { // the file stays: as if the process had died
					t.Error(err)
				}
				f.data.Close()
				f.meta.close()
			}
		})
	}
	wg.Wait()
	last := openStore(t, dir, func(c *Config) { c.Server = "s" })
	for _, l := range leftovers(t, last) {
		adopted[l.File.Target()]++
		l.File.Close(false)
	}
	last.Close()
	for target, n := range adopted {
		if n != 1 {
			t.Errorf("%s adopted %d times", target, n)
		}
	}
	if len(adopted) != 60 {
		t.Errorf("%d of 60 adopted", len(adopted))
	}
	noRunsLeft(t, dir)
}

// TestMounts tells who runs from who is gone, of all servers, and takes nothing away.
func TestMounts(t *testing.T) {
	dir := t.TempDir()
	if all, err := Mounts(dir); err != nil || len(all) != 0 {
		t.Errorf("of nothing: %v, %v", all, err)
	}
	dead := openStore(t, dir)
	entry, err := dead.Begin(Record{Op: OpUpload, Path: "/p", Temp: "/t"})
	if err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, func(c *Config) { c.Mount, c.Server = "m2", "ftps://elsewhere" })
	ended := openStore(t, dir, func(c *Config) { c.Mount = "m3" })
	if err := ended.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"m1": true, "m2": true}
	if all, err := Mounts(dir); err != nil || !maps.Equal(all, want) {
		t.Errorf("while both run: %v, %v", all, err)
	}
	die(dead, nil, []*Entry{entry})
	want["m1"] = false
	for range 2 {
		if all, err := Mounts(dir); err != nil || !maps.Equal(all, want) {
			t.Errorf("one has died: %v, %v", all, err)
		}
	}
	next := openStore(t, dir, func(c *Config) { c.Mount = "m4" })
	if left := leftovers(t, next); len(left) != 1 {
		t.Errorf("leftovers: %v", left)
	}
}
