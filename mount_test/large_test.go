//go:build linux

package mount_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// maxResident is the promise about memory, in MiB.
const maxResident = 150

// serial keeps the tests that move much data from slowing each other down.
var serial sync.Mutex

func alone(t *testing.T) {
	serial.Lock()
	t.Cleanup(serial.Unlock)
}

// makeFile writes size seeded bytes and gives their SHA-256.
func makeFile(t testing.TB, path string, seed uint64, size int64) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var key [32]byte
	copy(key[:], fmt.Sprint(seed))
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(rand.NewChaCha8(key), size)); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func sumOf(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestLargeFile copies a large file in and out, and four at once, within the promised memory.
func TestLargeFile(t *testing.T) {
	local := lab.Folder(t, "ftpsfs-local-")
	size := pick[int64](256, 1024) << 20
	big := filepath.Join(local, "big")
	want := makeFile(t, big, 1, size)
	each(t, bothVersions, func(t *testing.T, c cell) {
		alone(t)
		m := mountServer(t, c.start(t))
		start := time.Now()
		runTool(t, "/", "cp", big, m.path("big"))
		in := time.Since(start)
		if got := sumOf(t, m.server.Disk("big")); got != want {
			t.Fatalf("on the server's disk: %s, want %s", got, want)
		}
		m.resident(maxResident)
		back := filepath.Join(lab.Folder(t, "ftpsfs-local-"), "back")
		start = time.Now()
		runTool(t, "/", "cp", m.path("big"), back)
		out := time.Since(start)
		if got := sumOf(t, back); got != want {
			t.Fatalf("read back: %s, want %s", got, want)
		}
		m.resident(maxResident)
		mib := float64(size >> 20)
		t.Logf("in %.0f MiB/s, out %.0f MiB/s", mib/in.Seconds(), mib/out.Seconds())
	})
}

// TestFourStreams copies four files in at once, and out at once.
func TestFourStreams(t *testing.T) {
	local := lab.Folder(t, "ftpsfs-local-")
	size := pick[int64](48, 256) << 20
	var want [4]string
	for i := range want {
		want[i] = makeFile(t, filepath.Join(local, fmt.Sprint(i)), uint64(i), size)
	}
	each(t, realServers, func(t *testing.T, c cell) {
		alone(t)
		m := mountServer(t, c.start(t))
		out := lab.Folder(t, "ftpsfs-local-")
		for _, way := range []struct{ from, to string }{{local, m.dir}, {m.dir, out}} {
			var all sync.WaitGroup
			for i := range want {
				all.Go(func() {
					name := fmt.Sprint(i)
					if text, err := tryTool(t, 5*time.Minute, "/", "cp", filepath.Join(way.from, name), filepath.Join(way.to, name)); err != nil {
						t.Errorf("cp: %v %s", err, text)
					}
				})
			}
			all.Wait()
		}
		for i := range want {
			if got := sumOf(t, m.server.Disk(fmt.Sprint(i))); got != want[i] {
				t.Errorf("file %d on the server: %s, want %s", i, got, want[i])
			}
			if got := sumOf(t, filepath.Join(out, fmt.Sprint(i))); got != want[i] {
				t.Errorf("file %d read back: %s, want %s", i, got, want[i])
			}
		}
		m.resident(maxResident)
	})
}

// TestManyUploads holds against the loss of the tail of an upload, which TLS 1.3's unread tickets cause.
func TestManyUploads(t *testing.T) {
	content := randomBytes(7, 24<<20)
	each(t, realServers, func(t *testing.T, c cell) {
		alone(t)
		m := mountServer(t, c.start(t))
		for i := range pick(25, 100) {
			name := fmt.Sprint("upload", i%4)
			if err := os.WriteFile(m.path(name), content, 0o644); err != nil {
				t.Fatalf("upload %d: %v", i, err)
			}
			if got, err := os.ReadFile(m.server.Disk(name)); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("upload %d: %d bytes on the server, %v", i, len(got), err)
			}
		}
		m.resident(maxResident)
	})
}

// TestRandomReads compares seeded reads at random places.
func TestRandomReads(t *testing.T) {
	content := randomBytes(8, pick(64, 256)<<20)
	each(t, realServers, func(t *testing.T, c cell) {
		alone(t)
		s := c.start(t)
		if err := os.WriteFile(s.Disk("f"), content, 0o644); err != nil {
			t.Fatal(err)
		}
		m := mountServer(t, s)
		f, err := os.Open(m.path("f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rng := rand.New(rand.NewPCG(8, 8))
		for i := range pick(300, 1000) {
			p := make([]byte, 1+rng.IntN(1<<rng.IntN(18)))
			off := rng.Int64N(int64(len(content)))
			n, err := f.ReadAt(p, off)
			if err != nil && err != io.EOF {
				t.Fatalf("read %d of %d bytes at %d: %v", i, len(p), off, err)
			}
			if want := content[off:min(int64(len(content)), off+int64(len(p)))]; !bytes.Equal(p[:n], want) {
				t.Fatalf("read %d of %d bytes at %d: %d bytes that are not right", i, len(p), off, n)
			}
		}
		m.resident(maxResident)
	})
}

// TestRandomWrites makes the same seeded writes and truncates on a file of the mount and on a local one.
func TestRandomWrites(t *testing.T) {
	each(t, realServers, func(t *testing.T, c cell) {
		s := c.start(t)
		start := randomBytes(9, 4<<20)
		local := filepath.Join(lab.Folder(t, "ftpsfs-local-"), "f")
		for _, place := range []string{local, s.Disk("f")} {
			if err := os.WriteFile(place, start, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(s.Disk("f"), s.UID, s.GID); err != nil {
			t.Fatal(err)
		}
		m := mountServer(t, s)
		rng := rand.New(rand.NewPCG(9, 9))
		const rounds = 10
		for round := range rounds {
			writeRound(t, rng, pick(30, 100), local, m.path("f"))
			want, err := os.ReadFile(local)
			if err != nil {
				t.Fatal(err)
			}
			for _, place := range []string{s.Disk("f"), m.path("f")} {
				if got, err := os.ReadFile(place); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("round %d: %s: %d bytes, want %d; %v", round, place, len(got), len(want), err)
				}
			}
		}
	})
}

// writeRound opens both files, makes the same changes to them, and closes them.
func writeRound(t *testing.T, rng *rand.Rand, changes int, paths ...string) {
	t.Helper()
	files := make([]*os.File, len(paths))
	for i, path := range paths {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	for range changes {
		off, p := rng.Int64N(5<<20), make([]byte, 1+rng.IntN(1<<rng.IntN(17)))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		kind := rng.IntN(20)
		for _, f := range files {
			var err error
			switch kind {
			case 0:
				err = f.Truncate(off)
			case 1:
				err = f.Sync()
			default:
				_, err = f.WriteAt(p, off)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHugeFolder lists a folder of many files with their attributes, within the promised memory. Not on Pure-FTPd,
// which cuts listings at 10,000 names.
func TestHugeFolder(t *testing.T) {
	entries := pick(30_000, 100_000)
	each(t, func(c cell) bool { return realServers(c) && c.kind != lab.PureFTPd }, func(t *testing.T, c cell) {
		alone(t)
		s := c.start(t)
		makeServed(t, s, "d")
		for i := range entries {
			if err := os.WriteFile(s.Disk("d", fmt.Sprintf("file-%06d", i)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		m := mountServer(t, s)
		out := runTool(t, "/", "ls", "-l", m.path("d"))
		if n := bytes.Count([]byte(out), []byte("file-")); n != entries {
			t.Errorf("%d of %d names", n, entries)
		}
		m.resident(300)
	})
}
