//go:build linux

package mount_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

var readPromises = []promise{
	{"read.whole", func(s *scene) {
		for name, size := range map[string]int{"small": 5, "medium": 300_001, "large": 5 << 20} {
			s.put(name, randomBytes(1, size))
		}
		for name, size := range map[string]int{"small": 5, "medium": 300_001, "large": 5 << 20} {
			s.inMount(name, randomBytes(1, size))
		}
	}},
	{"read.offset", func(s *scene) {
		want := randomBytes(2, 3<<20)
		s.put("f", want)
		f := s.open("f", os.O_RDONLY)
		rng := rand.New(rand.NewPCG(2, 2))
		for range 60 {
			p := make([]byte, 1+rng.IntN(20_000))
			off := rng.Int64N(int64(len(want) - len(p)))
			if _, err := f.ReadAt(p, off); err != nil {
				s.Fatal(err)
			}
			s.same("random read", p, want[off:off+int64(len(p))])
		}
		for off := int64(len(want)) - 50_000; off > int64(len(want))-500_000; off -= 50_000 {
			p := make([]byte, 50_000)
			if _, err := f.ReadAt(p, off); err != nil {
				s.Fatal(err)
			}
			s.same("backward read", p, want[off:off+50_000])
		}
	}},
	{"read.end", func(s *scene) {
		s.put("f", []byte("0123456789"))
		f := s.open("f", os.O_RDONLY)
		p := make([]byte, 20)
		if n, err := f.ReadAt(p, 8); n != 2 || err != io.EOF {
			s.Errorf("across the end: %d, %v", n, err)
		}
		for _, off := range []int64{10, 11, 1 << 20, 1 << 40} {
			if n, err := syscall.Pread(int(f.Fd()), p, off); n != 0 || err != nil {
				s.Errorf("at %d: %d, %v", off, n, err)
			}
		}
	}},
	{"read.empty", func(s *scene) {
		s.put("f", nil)
		s.inMount("f", nil)
		if fi, err := os.Stat(s.path("f")); err != nil || fi.Size() != 0 {
			s.Errorf("%v, %v", fi, err)
		}
	}},
	{"read.parallel", func(s *scene) {
		want := randomBytes(3, 4<<20)
		s.put("f", want)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				f, err := os.Open(s.path("f"))
				if err != nil {
					s.Error(err)
					return
				}
				defer f.Close()
				part := want[i<<20 : (i+1)<<20]
				got, err := io.ReadAll(io.NewSectionReader(f, int64(i)<<20, 1<<20))
				if err != nil || !bytes.Equal(got, part) {
					s.Errorf("part %d: %d bytes, %v", i, len(got), err)
				}
			})
		}
		all.Wait()
	}},
	{"read.mmap", func(s *scene) {
		want := randomBytes(4, 1<<20)
		s.put("f", want)
		f := s.open("f", os.O_RDONLY)
		for _, flags := range []int{syscall.MAP_SHARED, syscall.MAP_PRIVATE} {
			p, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ, flags)
			s.ok(err)
			s.same("in the mapping", p, want)
			s.ok(syscall.Munmap(p))
		}
	}},
	{"read.directory", func(s *scene) {
		s.putDir("d")
		f := s.open("d", os.O_RDONLY)
		_, err := syscall.Read(int(f.Fd()), make([]byte, 10))
		s.fails("read of a folder", err, syscall.EISDIR)
	}},
	{"read.denied", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server runs as root and may read everything")
		}
		s.put("f", []byte("secret"))
		s.ok(os.Chown(s.disk("f"), 0, 0))
		s.ok(os.Chmod(s.disk("f"), 0o600))
		_, err := os.ReadFile(s.path("f"))
		s.fails("read", err, syscall.EACCES)
		_, err = os.ReadFile(s.path("missing"))
		s.fails("read of a missing file", err, syscall.ENOENT)
	}},
	{"read.written", func(s *scene) {
		want := randomBytes(5, 3<<20)
		w := s.open("f", os.O_WRONLY|os.O_CREATE)
		for n := 1 << 20; n <= len(want); n += 1 << 20 {
			_, err := w.Write(want[n-1<<20 : n])
			s.ok(err)
			fi, err := os.Stat(s.path("f"))
			s.ok(err)
			if fi.Size() != int64(n) {
				s.Errorf("size %d after %d bytes", fi.Size(), n)
			}
			s.inMount("f", want[:n])
		}
		s.ok(w.Close())
		s.onDisk("f", want)
	}},
	{"read.special", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server opens no special files for anybody")
		}
		s.ok(syscall.Mkfifo(s.disk("fifo"), 0o644))
		s.ok(os.Chown(s.disk("fifo"), s.server.UID, s.server.GID))
		done := make(chan error, 1)
		go func() {
			b, err := os.ReadFile(s.path("fifo"))
			if err == nil && len(b) == 0 && s.is(lab.ProFTPD) { // it calls a fifo an empty file
				err = io.EOF
			}
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil {
				s.Error("a fifo was read")
			}
		case <-time.After(20 * time.Second):
			s.Error("opening a fifo blocks")
		}
	}},
}
