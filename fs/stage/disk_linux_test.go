package stage

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"
)

// tmpfs mounts a small disk, or skips the test where that is not allowed (but not in CI).
func tmpfs(t *testing.T, options string) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no tmpfs to fill: %v", err)
		}
		t.Skipf("no tmpfs to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	s := openStore(t, tmpfs(t, "size=1m"))
	f := create(t, s, "/f", Base{})
	chunk := bytes.Repeat([]byte{'x'}, 64<<10)
	var size int64
	var err error
	for err == nil {
		var n int
		n, err = f.WriteAt(chunk, size)
		size += int64(n)
	}
	if !errors.Is(err, syscall.ENOSPC) || f.Size() != size {
		t.Errorf("%v; size %d, written %d", err, f.Size(), size)
	}
	got := make([]byte, size)
	if n, err := f.ReadAt(got, 0); int64(n) != size || err != nil || !bytes.Equal(got, bytes.Repeat([]byte{'x'}, n)) {
		t.Errorf("what was written before: %d, %v", n, err)
	}
	var entries []*Entry
	for err = nil; err == nil && len(entries) < 1000; {
		var e *Entry
		if e, err = s.Begin(Record{Op: OpUpload, Path: "/p"}); err == nil {
			entries = append(entries, e)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || s.Stats().Journal != len(entries) {
		t.Errorf("Begin on a full disk: %v; %d entries, %+v", err, len(entries), s.Stats())
	}
	for _, e := range entries {
		if err := e.Done(); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.Close(false); err != nil {
		t.Error(err)
	}
}

// A commit that finds no room for its note must not leave a half-written one that hides the older state.
func TestCommitOnAFullDisk(t *testing.T) {
	dir := tmpfs(t, "size=96k")
	s := openStore(t, dir)
	f := create(t, s, "/f", Base{})
	write(t, f, 0, "content")
	if _, err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	// Many ranges make a long note.
	var err error
	for off := int64(2); off < 60 && err == nil; off += 2 {
		_, err = f.WriteAt([]byte("y"), off*blockSize)
		if err == nil {
			_, err = f.Commit()
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk was not full: %v", err)
	}
	f.data.Close()
	f.meta.close()
	s.Close()
	left := leftovers(t, openStore(t, dir))
	if len(left) != 1 || !left[0].Committed {
		t.Fatalf("%+v", left)
	}
	p := make([]byte, 7)
	if _, err := left[0].File.ReadAt(p, 0); err != nil || string(p) != "content" {
		t.Errorf("%q, %v", p, err)
	}
	left[0].File.Close(false)
}
