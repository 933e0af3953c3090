//go:build linux

package mount_test

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var renamePromises = []promise{
	{"rename.file", func(s *scene) {
		s.put("a", []byte("content"))
		s.putDir("d")
		s.ok(os.Rename(s.path("a"), s.path("b")))
		s.missing("a")
		s.onDisk("b", []byte("content"))
		s.ok(os.Rename(s.path("b"), s.path("d/c")))
		s.missing("b")
		s.onDisk("d/c", []byte("content"))
		s.inMount("d/c", []byte("content"))
		s.ok(os.Rename(s.path("d/c"), s.path("d/c")))
		s.onDisk("d/c", []byte("content"))
	}},
	{"rename.over", func(s *scene) {
		s.put("a", []byte("new"))
		s.put("b", []byte("old content"))
		s.inMount("b", []byte("old content"))
		s.ok(os.Rename(s.path("a"), s.path("b")))
		s.missing("a")
		s.onDisk("b", []byte("new"))
		s.inMount("b", []byte("new"))
	}},
	{"rename.directory", func(s *scene) {
		unseen := []string{"unseen1", "unseen2", "unseen3"}
		for _, name := range unseen {
			s.putDir(name)
		}
		s.putDir("d")
		s.putDir("d/e")
		s.put("d/e/f", []byte("deep"))
		s.inMount("d/e/f", []byte("deep"))
		s.ok(os.Rename(s.path("d"), s.path("moved")))
		s.missing("d")
		s.inMount("moved/e/f", []byte("deep"))
		s.onDisk("moved/e/f", []byte("deep"))
		s.fails("into itself", os.Rename(s.path("moved"), s.path("moved/e/x")), syscall.EINVAL)
		// Listing a folder that was called full may enter it, and Pure-FTPd looks back at where it was.
		s.fails("rmdir of a full folder", syscall.Rmdir(s.path("moved/e")), syscall.ENOTEMPTY)
		_, err := os.ReadDir(s.path("moved/e"))
		s.ok(err)
		s.ok(os.Rename(s.path("moved/e"), s.path("moved/again")))
		for _, name := range unseen {
			_, err := os.ReadDir(s.path(name))
			s.ok(err)
		}
	}},
	{"rename.over-empty", func(s *scene) {
		s.putDir("d")
		s.put("d/f", []byte("x"))
		s.putDir("empty")
		s.ok(syscall.Rename(s.path("d"), s.path("empty")))
		s.missing("d")
		s.inMount("empty/f", []byte("x"))
	}},
	{"rename.over-full", func(s *scene) {
		for _, d := range []string{"d", "e"} {
			s.putDir(d)
			s.put(d+"/f", []byte(d))
		}
		s.fails("rename", syscall.Rename(s.path("d"), s.path("e")), syscall.ENOTEMPTY)
		s.onDisk("d/f", []byte("d"))
		s.onDisk("e/f", []byte("e"))
		s.inMount("d/f", []byte("d"))
		s.inMount("e/f", []byte("e"))
	}},
	{"rename.kinds", func(s *scene) {
		s.put("f", []byte("f"))
		s.putDir("d")
		s.fails("file over folder", syscall.Rename(s.path("f"), s.path("d")), syscall.EISDIR)
		s.fails("folder over file", syscall.Rename(s.path("d"), s.path("f")), syscall.ENOTDIR)
		s.fails("missing", syscall.Rename(s.path("none"), s.path("g")), syscall.ENOENT)
		s.onDisk("f", []byte("f"))
		s.missing("g")
	}},
	{"rename.noreplace", func(s *scene) {
		s.put("a", []byte("a"))
		s.put("b", []byte("b"))
		flagged := func(from, to string, flags uint) error {
			return unix.Renameat2(unix.AT_FDCWD, s.path(from), unix.AT_FDCWD, s.path(to), flags)
		}
		s.fails("over an existing file", flagged("a", "b", unix.RENAME_NOREPLACE), syscall.EEXIST)
		s.onDisk("b", []byte("b"))
		s.ok(flagged("a", "c", unix.RENAME_NOREPLACE))
		s.onDisk("c", []byte("a"))
	}},
	{"rename.exchange", func(s *scene) {
		s.put("a", []byte("a"))
		s.put("b", []byte("b"))
		for _, flags := range []uint{unix.RENAME_EXCHANGE, unix.RENAME_WHITEOUT} {
			s.fails("rename", unix.Renameat2(unix.AT_FDCWD, s.path("a"), unix.AT_FDCWD, s.path("b"), flags), syscall.EINVAL)
		}
		s.onDisk("a", []byte("a"))
		s.onDisk("b", []byte("b"))
	}},
	{"rename.open", func(s *scene) { s.renameOpen(func(from, to string) (string, string) { return from, to }, "") }},
	{"rename.above-open", func(s *scene) {
		s.putDir("above")
		s.renameOpen(func(string, string) (string, string) { return "above", "moved" }, "above/")
	}},
}

// renameOpen renames while a writer of one file and a reader of another are in their middle. moved tells what is
// renamed for a file; dir is the folder that the files are in.
func (s *scene) renameOpen(moved func(from, to string) (string, string), dir string) {
	s.Helper()
	want := randomBytes(50, 6<<20)
	half := len(want) / 2
	s.put(dir+"read", want)
	r := s.open(dir+"read", os.O_RDONLY)
	got := make([]byte, len(want))
	_, err := r.ReadAt(got[:100_000], 0)
	s.ok(err)
	w := s.open(dir+"written", os.O_WRONLY|os.O_CREATE)
	_, err = w.Write(want[:half])
	s.ok(err)
	done := map[string]bool{}
	for _, name := range []string{"read", "written"} {
		from, to := moved(dir+name, dir+name+"-new")
		if !done[from] {
			s.ok(os.Rename(s.path(from), s.path(to)))
			done[from] = true
		}
	}
	_, err = w.Write(want[half:])
	s.ok(err)
	_, err = r.ReadAt(got, 0)
	s.ok(err)
	s.same("of the renamed file", got, want)
	s.ok(w.Close())
	s.ok(r.Close())
	if dir == "" {
		s.onDisk("written-new", want)
		s.inMount("read-new", want)
		s.missing("written")
		s.missing("read")
		return
	}
	s.onDisk("moved/written", want)
	s.inMount("moved/read", want)
	s.missing("above")
}
