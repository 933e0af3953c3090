//go:build linux

package mount_test

import (
	"bytes"
	"os"
	"strings"
	"syscall"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

var replacePromises = []promise{
	{"replace.old-until-new", func(s *scene) {
		old := randomBytes(30, 3_000_000)
		s.put("f", old)
		w := startWriter(s.T, s.path("f"))
		for range 5 {
			w.write(4_000_000)
			s.onDisk("f", old)
		}
		s.ok(w.close())
		s.onDisk("f", writerBytes(20_000_000))
		s.inMount("f", writerBytes(20_000_000))
	}},
	{"replace.mode", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server sets modes and does not tell them")
		}
		s.put("f", []byte("#!/bin/sh\n"))
		s.ok(os.Chmod(s.disk("f"), 0o750))
		s.write("f", []byte("#!/bin/sh\necho new\n"))
		fi, err := os.Stat(s.disk("f"))
		s.ok(err)
		if fi.Mode().Perm() != 0o750 {
			s.Errorf("mode %v on the server", fi.Mode())
		}
	}},
	{"replace.hidden-names", func(s *scene) {
		s.put("f", []byte("old"))
		w := startWriter(s.T, s.path("f"))
		w.write(20 << 20)
		var onServer []os.DirEntry
		var err error
		s.eventually("there is a temporary name on the server", quiet, func() bool { // bytes may still be on their way
			onServer, err = os.ReadDir(s.disk(""))
			return err != nil || len(onServer) > 1
		})
		s.ok(err)
		shown := s.names("")
		for _, e := range onServer {
			if e.Name() == "f" {
				continue
			}
			if !tempName.MatchString(e.Name()) {
				s.Errorf("the temporary name %q does not look like one", e.Name())
			}
			if _, err := os.Lstat(s.path(e.Name())); !os.IsNotExist(err) {
				s.Errorf("%q can be looked up: %v", e.Name(), err)
			}
		}
		if len(shown) != 1 || shown[0] != "f" {
			s.Errorf("the mount shows %q", shown)
		}
		s.ok(w.close())
		if onServer, err = os.ReadDir(s.disk("")); err != nil || len(onServer) != 1 {
			s.Errorf("on the server afterwards: %v, %v", onServer, err)
		}
	}},
	{"replace.crash", func(s *scene) {
		old := randomBytes(33, 1_000_000)
		s.put("f", old)
		doomed := s.mount()
		w := startWriter(s.T, doomed.path(s.dir, "f"))
		w.write(20 << 20)
		doomed.kill()
		if w.close() == nil {
			s.Error("close of a file of a dead mount succeeds")
		}
		s.onDisk("f", old)
		s.cleanUpAfter(doomed)
	}},
	{"replace.in-place", func(s *scene) {
		s.put("f", []byte("old"))
		before := inode(s, s.disk("f"))
		m := s.mount("replace=inplace")
		s.ok(os.WriteFile(m.path(s.dir, "f"), []byte("new and longer"), 0o644))
		s.onDisk("f", []byte("new and longer"))
		if inode(s, s.disk("f")) != before {
			s.Error("it is another file now")
		}
	}},
	{"replace.symlink", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server shows no symlinks")
		}
		s.put("target", []byte("old"))
		s.ok(os.Symlink("target", s.disk("link")))
		s.write("link", []byte("new"))
		s.onDisk("target", []byte("new"))
		if to, err := os.Readlink(s.disk("link")); err != nil || to != "target" {
			s.Errorf("the link leads to %q, %v", to, err)
		}
	}},
}

// cleanUpAfter mounts once more with the state of a mount that died, so that it removes what that one left.
func (s *scene) cleanUpAfter(dead *mnt) {
	s.Helper()
	s.mount("state_dir=" + dead.stateDir)
	for _, path := range tempFiles(s.T, s.server.Root) {
		if strings.Contains(path, s.dir) {
			s.Errorf("the next mount left %s", path)
		}
	}
}

func inode(s *scene, path string) uint64 {
	s.Helper()
	var st syscall.Stat_t
	s.ok(syscall.Stat(path, &st))
	return st.Ino
}

var unlinkPromises = []promise{
	{"unlink.file", func(s *scene) {
		s.put("f", []byte("x"))
		s.ok(os.Remove(s.path("f")))
		s.missing("f")
	}},
	{"unlink.kinds", func(s *scene) {
		s.putDir("d")
		s.put("f", nil)
		s.fails("unlink of a folder", syscall.Unlink(s.path("d")), syscall.EISDIR)
		s.fails("rmdir of a file", syscall.Rmdir(s.path("f")), syscall.ENOTDIR)
		s.fails("unlink of nothing", syscall.Unlink(s.path("none")), syscall.ENOENT)
		s.fails("rmdir of nothing", syscall.Rmdir(s.path("none")), syscall.ENOENT)
	}},
	{"unlink.open-read", func(s *scene) {
		want := randomBytes(40, 3<<20)
		s.put("f", want)
		f := s.open("f", os.O_RDONLY)
		p := make([]byte, len(want))
		_, err := f.ReadAt(p[:1000], 0)
		s.ok(err)
		s.ok(os.Remove(s.path("f")))
		if names := s.names(""); len(names) != 0 {
			s.Errorf("the folder shows %q", names)
		}
		_, err = f.ReadAt(p, 0)
		s.ok(err)
		s.same("after unlink", p, want)
		s.ok(f.Close())
		s.goneOnDisk()
	}},
	{"unlink.open-write", func(s *scene) {
		f := s.open("f", os.O_RDWR|os.O_CREATE)
		content := randomBytes(41, 2<<20)
		_, err := f.Write(content)
		s.ok(err)
		s.ok(os.Remove(s.path("f")))
		_, err = f.Write([]byte("more"))
		s.ok(err)
		p := make([]byte, len(content)+4)
		_, err = f.ReadAt(p, 0)
		s.ok(err)
		s.same("of the unlinked file", p, append(content, "more"...))
		s.ok(f.Sync())
		s.ok(f.Close())
		s.goneOnDisk()
	}},
	{"unlink.recreate", func(s *scene) {
		s.put("f", []byte("first"))
		old := s.open("f", os.O_RDONLY)
		s.ok(os.Remove(s.path("f")))
		s.write("f", []byte("second"))
		p := make([]byte, 5)
		_, err := old.ReadAt(p, 0)
		s.ok(err)
		s.same("of the old file", p, []byte("first"))
		s.inMount("f", []byte("second"))
		s.ok(old.Close())
		s.onDisk("f", []byte("second"))
	}},
	{"rmdir.empty", func(s *scene) {
		s.putDir("d")
		s.ok(syscall.Rmdir(s.path("d")))
		s.missing("d")
	}},
	{"rmdir.full", func(s *scene) {
		s.putDir("d")
		s.put("d/f", []byte("x"))
		s.fails("rmdir", syscall.Rmdir(s.path("d")), syscall.ENOTEMPTY)
		s.onDisk("d/f", []byte("x"))
		s.putDir("hidden")
		s.put("hidden/.f", []byte("x"))
		s.fails("rmdir of a folder with a dot file", syscall.Rmdir(s.path("hidden")), syscall.ENOTEMPTY)
	}},
	{"rmdir.unlinked-open", func(s *scene) {
		s.putDir("d")
		s.put("d/f", bytes.Repeat([]byte("kept "), 1000))
		f := s.open("d/f", os.O_RDONLY)
		s.ok(os.Remove(s.path("d/f")))
		s.ok(syscall.Rmdir(s.path("d")))
		s.missing("d")
		p := make([]byte, 5000)
		_, err := f.ReadAt(p, 0)
		s.ok(err)
		s.same("of the unlinked file", p, bytes.Repeat([]byte("kept "), 1000))
		s.ok(f.Close())
	}},
}

// goneOnDisk waits until the scene's folder is empty on the server: what is kept for an open descriptor goes after its
// close, which the kernel tells of later.
func (s *scene) goneOnDisk() {
	s.Helper()
	s.eventually("the folder is empty on the server", quiet, func() bool {
		entries, err := os.ReadDir(s.disk(""))
		return err == nil && len(entries) == 0
	})
}
