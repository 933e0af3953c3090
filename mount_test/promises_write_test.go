//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

var writePromises = []promise{
	{"write.sequential", func(s *scene) {
		for i, size := range []int{1, 4096, 100_000, 5<<20 + 17} {
			name := fmt.Sprint("f", i)
			s.write(name, randomBytes(uint64(i), size))
			s.onDisk(name, randomBytes(uint64(i), size))
		}
	}},
	{"write.append", func(s *scene) {
		s.put("f", []byte("one\n"))
		for _, line := range []string{"two\n", "three\n"} {
			f := s.open("f", os.O_WRONLY|os.O_APPEND)
			_, err := f.WriteString(line)
			s.ok(err)
			s.ok(f.Close())
		}
		s.onDisk("f", []byte("one\ntwo\nthree\n"))
		f := s.open("new", os.O_WRONLY|os.O_APPEND|os.O_CREATE)
		_, err := f.WriteString("first\n")
		s.ok(err)
		s.ok(f.Close())
		s.onDisk("new", []byte("first\n"))
	}},
	{"write.append-shared", func(s *scene) {
		const each = 50
		var writers sync.WaitGroup
		for w := range 2 {
			f := s.open("f", os.O_WRONLY|os.O_APPEND|os.O_CREATE)
			writers.Go(func() {
				for i := range each {
					if _, err := fmt.Fprintf(f, "writer %d line %02d\n", w, i); err != nil {
						s.Error(err)
					}
				}
				if err := f.Close(); err != nil {
					s.Error(err)
				}
			})
		}
		writers.Wait()
		got, err := os.ReadFile(s.disk("f"))
		s.ok(err)
		for w := range 2 {
			for i := range each {
				if line := fmt.Sprintf("writer %d line %02d\n", w, i); bytes.Count(got, []byte(line)) != 1 {
					s.Errorf("%q is there %d times", line, bytes.Count(got, []byte(line)))
				}
			}
		}
	}},
	{"write.middle", func(s *scene) {
		want := randomBytes(10, 2<<20)
		s.put("f", want)
		f := s.open("f", os.O_WRONLY)
		for _, off := range []int64{1_000_000, 5, 2<<20 - 3} {
			_, err := f.WriteAt([]byte("changed"), off)
			s.ok(err)
			want = append(want, make([]byte, max(0, int(off)+7-len(want)))...)
			copy(want[off:], "changed")
		}
		s.ok(f.Close())
		s.onDisk("f", want)
		s.inMount("f", want)
	}},
	{"write.hole", func(s *scene) {
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		_, err := f.WriteString("begin")
		s.ok(err)
		_, err = f.WriteAt([]byte("end"), 300_000)
		s.ok(err)
		s.ok(f.Close())
		want := make([]byte, 300_003)
		copy(want, "begin")
		copy(want[300_000:], "end")
		s.onDisk("f", want)
		s.inMount("f", want)
	}},
	{"write.update", func(s *scene) {
		want := randomBytes(11, 1<<20)
		s.put("f", want)
		f := s.open("f", os.O_RDWR)
		p := make([]byte, 10)
		_, err := f.ReadAt(p, 500_000)
		s.ok(err)
		s.same("before", p, want[500_000:500_010])
		_, err = f.WriteAt([]byte("HELLO"), 500_002)
		s.ok(err)
		copy(want[500_002:], "HELLO")
		_, err = f.ReadAt(p, 500_000)
		s.ok(err)
		s.same("after", p, want[500_000:500_010])
		s.ok(f.Close())
		s.onDisk("f", want)
	}},
	{"write.truncate", func(s *scene) {
		want := randomBytes(12, 400_000)
		s.put("a", want)
		s.put("b", want)
		s.ok(os.Truncate(s.path("a"), 100_000))
		s.onDisk("a", want[:100_000])
		s.ok(os.Truncate(s.path("a"), 150_000))
		s.onDisk("a", append(bytes.Clone(want[:100_000]), make([]byte, 50_000)...))
		f := s.open("b", os.O_RDWR)
		s.ok(f.Truncate(1000))
		_, err := f.WriteAt([]byte("tail"), 1000)
		s.ok(err)
		s.ok(f.Truncate(2000))
		s.ok(f.Close())
		s.onDisk("b", append(append(bytes.Clone(want[:1000]), "tail"...), make([]byte, 996)...))
	}},
	{"write.create-truncate", func(s *scene) {
		s.put("f", []byte("old"))
		s.put("g", []byte("old and longer"))
		f := s.open("f", os.O_WRONLY|os.O_TRUNC)
		s.ok(f.Close())
		s.onDisk("f", nil)
		s.write("g", []byte("new"))
		s.onDisk("g", []byte("new"))
	}},
	{"write.mmap", func(s *scene) {
		want := randomBytes(13, 600_000)
		s.put("f", want)
		f := s.open("f", os.O_RDWR)
		p, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		s.ok(err)
		copy(p[300_000:], "through the mapping")
		copy(want[300_000:], "through the mapping")
		s.ok(f.Sync()) // msync(2) of a shared mapping is fsync(2) of its file
		s.onDisk("f", want)
		copy(p[10:], "once more")
		copy(want[10:], "once more")
		s.ok(syscall.Munmap(p))
		s.ok(f.Close())
		s.onDisk("f", want)
	}},
	{"write.mmap-late", func(s *scene) {
		want := randomBytes(14, 200_000)
		s.put("f", want)
		f := s.open("f", os.O_RDWR)
		p, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
		s.ok(err)
		s.ok(f.Close())
		copy(p[100_000:], "after the close")
		copy(want[100_000:], "after the close")
		s.ok(syscall.Munmap(p))
		s.eventually("the bytes are on the server", 10*time.Second, func() bool {
			got, err := os.ReadFile(s.disk("f"))
			return err == nil && bytes.Equal(got, want)
		})
	}},
	{"write.shared-descriptor", func(s *scene) {
		before := s.m.number(s.m.status(), sent)
		script := `i=0; while [ $i -lt 20 ]; do head -c 10000 /dev/zero; i=$((i+1)); done > "$1"`
		out, err := output(exec.Command("sh", "-c", script, "sh", s.path("f")), time.Minute)
		if err != nil {
			s.Fatalf("%v: %s", err, out)
		}
		s.onDisk("f", make([]byte, 200_000))
		if n := s.m.number(s.m.status(), sent) - before; n > 2*200_000 {
			s.Errorf("%d bytes sent for 200000", n)
		}
	}},
	{"write.directory", func(s *scene) {
		s.putDir("d")
		_, err := os.OpenFile(s.path("d"), os.O_WRONLY, 0)
		s.fails("open for writing", err, syscall.EISDIR)
	}},
	{"write.denied", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server runs as root and may write everywhere")
		}
		s.putDir("d")
		s.ok(os.Chown(s.disk("d"), 0, 0))
		err := os.WriteFile(s.path("d/f"), []byte("x"), 0o644)
		s.fails("create", err, syscall.EACCES)
		s.eventually("the name is gone", quiet, func() bool { // the kernel tells of the close later
			_, err := os.Lstat(s.path("d/f"))
			return os.IsNotExist(err)
		})
		s.missing("d/f")
	}},
	{"write.read-only", func(s *scene) {
		s.put("f", []byte("old"))
		s.putDir("d")
		ro := s.mount("ro")
		at := func(name string) string { return ro.path(s.dir, name) }
		for what, err := range map[string]error{
			"create": os.WriteFile(at("new"), nil, 0o644), "rewrite": os.WriteFile(at("f"), nil, 0o644),
			"mkdir": os.Mkdir(at("e"), 0o755), "unlink": os.Remove(at("f")), "rename": os.Rename(at("f"), at("g")),
			"truncate": os.Truncate(at("f"), 0), "chmod": os.Chmod(at("f"), 0o600), "rmdir": syscall.Rmdir(at("d")),
			"utimes": os.Chtimes(at("f"), time.Unix(1e9, 0), time.Unix(1e9, 0)),
		} {
			s.fails(what, err, syscall.EROFS)
		}
		if b, err := os.ReadFile(at("f")); err != nil || string(b) != "old" {
			s.Errorf("read %q, %v", b, err)
		}
	}},
}

var closePromises = []promise{
	{"close.durable", func(s *scene) {
		for i := range 10 {
			name := fmt.Sprint("f", i)
			f := s.open(name, os.O_WRONLY|os.O_CREATE)
			_, err := f.Write(randomBytes(uint64(i), 100_000*i+1))
			s.ok(err)
			s.ok(f.Close())
			s.onDisk(name, randomBytes(uint64(i), 100_000*i+1)) // at once, without any waiting
		}
	}},
	{"close.empty", func(s *scene) {
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		s.ok(f.Close())
		s.onDisk("f", nil)
		// A descriptor of another open(2) promises nothing for this one.
		s.put("g", []byte("old"))
		r := s.open("g", os.O_RDONLY)
		f = s.open("g", os.O_WRONLY|os.O_TRUNC)
		s.ok(f.Close())
		s.onDisk("g", nil)
		s.ok(r.Close())
	}},
	{"close.error", func(s *scene) {
		s.full()
	}},
	{"fsync.durable", func(s *scene) {
		want := lines(300_000)
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		third := len(want) / 3
		for i := range 3 {
			from, to := i*third, (i+1)*third
			_, err := f.Write(want[from:to])
			s.ok(err)
			if i == 1 {
				s.ok(syscall.Fdatasync(int(f.Fd())))
			} else {
				s.ok(f.Sync())
			}
			s.onDisk("f", want[:to])
		}
		s.ok(f.Close())
		s.onDisk("f", want[:3*third])
	}},
	{"fsync.directory", func(s *scene) {
		s.putDir("d")
		s.ok(os.Mkdir(s.path("d/e"), 0o755))
		f := s.open("d", os.O_RDONLY)
		s.ok(f.Sync())
		if _, err := os.Stat(s.disk("d/e")); err != nil {
			s.Error(err)
		}
	}},
	{"close.twice", func(s *scene) {
		content := randomBytes(20, 500_000)
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		_, err := f.Write(content)
		s.ok(err)
		closeCopy := func() {
			fd, err := syscall.Dup(int(f.Fd()))
			s.ok(err)
			s.ok(syscall.Close(fd))
		}
		closeCopy()
		s.onDisk("f", content)
		if n := s.m.spent(sent, func() {
			for range 20 {
				closeCopy()
			}
			s.ok(f.Close())
		}); n != 0 {
			s.Errorf("%d bytes sent by closing without new data", n)
		}
		s.onDisk("f", content)
	}},
}

// full writes to a server whose disk is full.
func (s *scene) full() {
	root := lab.Folder(s.T, "ftpsfs-lab-small-")
	s.ok(syscall.Mount("tmpfs", root, "tmpfs", 0, "size=32m"))
	s.Cleanup(func() { _ = syscall.Unmount(root, syscall.MNT_DETACH) })
	server := lab.Start(s.T, lab.Options{Kind: s.c.kind, Version: s.c.version, Root: root})
	old := lines(100_000)
	s.ok(os.WriteFile(server.Disk("f"), old, 0o644))
	s.ok(os.Chown(server.Disk("f"), server.UID, server.GID))
	m := mountServer(s.T, server)
	chunk := randomBytes(21, 1<<20)
	for _, name := range []string{"new", "f"} {
		f, err := os.OpenFile(m.path(name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		s.ok(err)
		for range 40 { // MiB
			if _, err = f.Write(chunk); err != nil {
				break
			}
		}
		if e := f.Close(); err == nil {
			err = e
		}
		s.fails(name+": writing 40 MiB to a disk of 32", err, syscall.ENOSPC)
	}
	got, err := os.ReadFile(server.Disk("f"))
	s.ok(err)
	s.same("the old content", got, old)
	if err := os.Remove(m.path("new")); err != nil && !os.IsNotExist(err) { // a new file may be there, half
		s.Error(err)
	}
	s.ok(os.WriteFile(m.path("small"), []byte("goes on"), 0o644))
}

// eventually waits for something that the program learns of later by design, not for a race.
func (s *scene) eventually(what string, within time.Duration, is func() bool) {
	s.Helper()
	for deadline := time.Now().Add(within); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("not within %v: %s", within, what)
		}
	}
}
