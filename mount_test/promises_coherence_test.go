//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// ttl and slack: how long the mounts of these tests believe an answer, and how much later at most it is noticed.
const (
	ttl   = "1s"
	slack = 10 * time.Second
)

func itoa(n int) string { return strconv.Itoa(n) }

var coherencePromises = []promise{
	{"coherence.own", func(s *scene) {
		m := s.mount("attr_ttl=1h", "dir_ttl=1h", "neg_ttl=1h")
		at := func(name string) string { return m.path(s.dir, name) }
		names := func() (names []string) {
			entries, err := os.ReadDir(at(""))
			s.ok(err)
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		}
		expect := func(want ...string) {
			s.Helper()
			if got := names(); !slices.Equal(got, want) {
				s.Errorf("listed %q, want %q", got, want)
			}
		}
		expect()
		s.ok(os.WriteFile(at("a"), []byte("one"), 0o644))
		expect("a")
		s.ok(os.Mkdir(at("d"), 0o755))
		expect("a", "d")
		s.ok(os.Rename(at("a"), at("b")))
		expect("b", "d")
		s.ok(os.WriteFile(at("b"), []byte("longer content"), 0o644))
		if fi, err := os.Stat(at("b")); err != nil || fi.Size() != 14 {
			s.Errorf("%v, %v", fi, err)
		}
		s.ok(os.Remove(at("b")))
		s.ok(os.Remove(at("d")))
		expect()
	}},
	{"coherence.attributes", func(s *scene) {
		s.put("f", []byte("old"))
		m := s.mount("attr_ttl="+ttl, "dir_ttl="+ttl)
		path := m.path(s.dir, "f")
		if b, err := os.ReadFile(path); err != nil || string(b) != "old" {
			s.Fatalf("%q, %v", b, err)
		}
		s.put("f", []byte("new and longer"))
		s.ok(os.Chtimes(s.disk("f"), someday, someday))
		s.eventually("the new size, time and content", slack, func() bool {
			fi, err := os.Stat(path)
			if err != nil || fi.Size() != 14 || !fi.ModTime().Equal(someday.Truncate(time.Second)) {
				return false
			}
			b, err := os.ReadFile(path)
			return err == nil && string(b) == "new and longer"
		})
		// The same length: only the time tells.
		s.put("f", []byte("new and LONGER"))
		s.eventually("content of the same length", slack, func() bool {
			b, err := os.ReadFile(path)
			return err == nil && string(b) == "new and LONGER"
		})
	}},
	{"coherence.directory", func(s *scene) {
		s.put("old", nil)
		m := s.mount("attr_ttl="+ttl, "dir_ttl="+ttl)
		list := func() int {
			entries, err := os.ReadDir(m.path(s.dir))
			s.ok(err)
			return len(entries)
		}
		if list() != 1 {
			s.Error("not one entry")
		}
		s.put("new", nil)
		s.eventually("the new name is listed", slack, func() bool { return list() == 2 })
		s.ok(os.Remove(s.disk("old")))
		s.eventually("the removed name is not listed", slack, func() bool { return list() == 1 })
		s.eventually("the removed name is not found", slack, func() bool {
			_, err := os.Stat(m.path(s.dir, "old"))
			return os.IsNotExist(err)
		})
	}},
	{"coherence.negative", func(s *scene) {
		m := s.mount("attr_ttl="+ttl, "dir_ttl="+ttl, "neg_ttl="+ttl)
		_, err := os.Stat(m.path(s.dir, "f"))
		s.fails("before", err, syscall.ENOENT)
		s.put("f", []byte("here"))
		s.eventually("the name is found", slack, func() bool {
			_, err := os.Stat(m.path(s.dir, "f"))
			return err == nil
		})
	}},
	{"coherence.read-ahead", func(s *scene) {
		const files = 60
		name := func(i int) string { return "f" + itoa(100+i) }
		for i := range files {
			s.put(name(i), lines(100))
		}
		m := s.mount("attr_ttl=3s", "dir_ttl=3s")
		read := func(i int) []byte {
			b, err := os.ReadFile(m.path(s.dir, name(i)))
			s.ok(err)
			return b
		}
		for i := range 20 {
			if !bytes.Equal(read(i), lines(100)) {
				s.Fatalf("%s is not what it was", name(i))
			}
		}
		// The reader may be through before there is a second connection: the next files are fetched then.
		s.eventually("files are fetched ahead", slack, func() bool { return m.number(m.status(), "read_ahead.files") > 0 })
		// By this mount: at once, also where the next ones are being fetched.
		s.ok(os.WriteFile(m.path(s.dir, name(20)), bytes.ToUpper(lines(100)), 0o644))
		s.ok(os.Rename(m.path(s.dir, name(20)), m.path(s.dir, name(22))))
		if got := read(22); !bytes.Equal(got, bytes.ToUpper(lines(100))) {
			s.Errorf("a file renamed over one that was fetched ahead: %q", got)
		}
		for i := 23; i < files; i++ { // by others: the same length
			s.put(name(i), bytes.ToUpper(lines(100)))
			s.ok(os.Chtimes(s.disk(name(i)), someday, someday))
		}
		s.eventually("the new content of all", slack, func() bool {
			for i := 23; i < files; i++ {
				// A descriptor of the old file may fail with ESTALE: see coherence.not-mixed.
				if b, err := os.ReadFile(m.path(s.dir, name(i))); err != nil || !bytes.Equal(b, bytes.ToUpper(lines(100))) {
					return false
				}
			}
			return true
		})
	}},
	{"coherence.open", func(s *scene) {
		s.put("f", lines(200_000))
		s.ok(os.Chtimes(s.disk("f"), someday, someday))
		m := s.mount("attr_ttl="+ttl, "dir_ttl=1h")
		path := m.path(s.dir, "f")
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, lines(200_000)) {
			s.Fatalf("%d bytes, %v", len(b), err)
		}
		other := bytes.ToUpper(lines(200_000))
		s.put("f", other)
		time.Sleep(1100 * time.Millisecond) // attr_ttl is over
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, other) {
			s.Errorf("after attr_ttl: %d bytes, %v, old content %v", len(b), err, bytes.Equal(b, lines(200_000)))
		}
	}},
	{"coherence.not-mixed", func(s *scene) {
		const size = 40 << 20
		old, next := bytes.Repeat([]byte{'o'}, size), bytes.Repeat([]byte{'n'}, size)
		s.put("f", old)
		s.ok(os.Chtimes(s.disk("f"), someday, someday))
		m := s.mount("attr_ttl=" + ttl)
		f, err := os.Open(m.path(s.dir, "f"))
		s.ok(err)
		defer f.Close()
		got := make([]byte, 1<<20)
		_, err = io.ReadFull(f, got)
		s.ok(err)
		s.ok(os.WriteFile(s.disk("new"), next, 0o644))
		s.ok(os.Chown(s.disk("new"), s.server.UID, s.server.GID))
		s.ok(os.Rename(s.disk("new"), s.disk("f")))
		// Jumps force new transfers; what they bring must be of the old file, or nothing.
		for _, off := range []int64{30 << 20, 5 << 20, 39 << 20, 20 << 20} {
			n, err := f.ReadAt(got, off)
			if err != nil {
				if !errors.Is(err, syscall.ESTALE) && !errors.Is(err, syscall.EIO) {
					s.Errorf("read at %d: %v", off, err)
				}
				continue
			}
			if bytes.IndexByte(got[:n], 'n') >= 0 {
				s.Errorf("read at %d: bytes of the new file through a descriptor of the old one", off)
			}
		}
	}},
}
