//go:build linux

package mount_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// oddNames survive on every server.
var oddNames = []string{
	" leading", "two  spaces", "-rf", "--", "-la x", ".hidden", "..twodots", "...", "~", "~root", "*", "?", "[ab]", "{a,b}",
	"semi;colon", "a -> b", `"quoted"`, `a"b`, "it's", "$HOME", "`id`", "#1", "100%", "a&b", "x=y", "(x)", "<x>", "|", "!",
	"type=file; x", "drwxr-xr-x 2 root", "150 226", "grüße", "日本語", "e\u0301", "\u00e9", "😀", "total 3",
	strings.Repeat("n", 255), strings.Repeat("ü", 127),
}

// somewhere are names that some servers take and others do not.
var somewhere = map[string][]lab.Kind{
	"trailing ":   {lab.VSFTPD, lab.ProFTPD, lab.Embedded},
	`back\slash`:  {lab.VSFTPD, lab.ProFTPD, lab.Embedded},
	"tab\there":   {lab.VSFTPD, lab.ProFTPD, lab.Embedded},
	"\x01control": {lab.VSFTPD, lab.ProFTPD, lab.Embedded},
}

var folderPromises = []promise{
	{"mkdir.new", func(s *scene) {
		s.ok(os.Mkdir(s.path("d"), 0o755))
		if fi, err := os.Stat(s.disk("d")); err != nil || !fi.IsDir() {
			s.Errorf("%v, %v", fi, err)
		}
		s.ok(os.MkdirAll(s.path("d/e/f/g"), 0o755))
		if names := s.names("d/e/f"); len(names) != 1 {
			s.Errorf("listing %q", names)
		}
	}},
	{"mkdir.kinds", func(s *scene) {
		s.putDir("d")
		s.put("f", nil)
		s.fails("over a folder", os.Mkdir(s.path("d"), 0o755), syscall.EEXIST)
		s.fails("over a file", os.Mkdir(s.path("f"), 0o755), syscall.EEXIST)
		s.fails("below nothing", os.Mkdir(s.path("none/d"), 0o755), syscall.ENOENT)
		s.fails("below a file", os.Mkdir(s.path("f/d"), 0o755), syscall.ENOTDIR)
	}},
	{"mkdir.others", func(s *scene) {
		s.ok(os.Mkdir(s.path("usual"), 0o755))
		s.ok(os.Mkdir(s.path("private"), 0o700)) // from now on it is known how modes are set
		s.missing("folder")
		s.missing("file")
		s.putDir("folder")
		s.put("file", nil)
		s.ok(os.Chmod(s.disk("folder"), 0o751))
		s.fails("over another host's folder", os.Mkdir(s.path("folder"), 0o700), syscall.EEXIST)
		s.fails("over another host's file", os.Mkdir(s.path("file"), 0o700), syscall.EEXIST)
		for name, want := range map[string]os.FileMode{"folder": 0o751, "file": 0o644} {
			if fi, err := os.Stat(s.disk(name)); err != nil || fi.Mode().Perm() != want {
				s.Errorf("%s: mode %v, %v; want %v", name, fi.Mode(), err, want)
			}
		}
	}},
	{"list.complete", func(s *scene) {
		var want []string
		for i := range 50 {
			name := fmt.Sprintf("file%02d", i)
			s.put(name, nil)
			want = append(want, name)
		}
		want = append(want, ".dot", ".dotdir")
		s.put(".dot", nil)
		s.putDir(".dotdir")
		out := runTool(s.T, "/", "ls", "-fa", s.path(""))
		got := strings.Fields(out)
		want = append(want, ".", "..")
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			s.Errorf("listed %q, want %q", got, want)
		}
	}},
	{"list.case", func(s *scene) {
		s.put("Makefile", []byte("listed"))
		s.names("")
		s.missing("makefile")
		s.write("makefile", []byte("new"))
		s.write("MAKEFILE", []byte("newest"))
		for name, content := range map[string]string{"Makefile": "listed", "makefile": "new", "MAKEFILE": "newest"} {
			s.inMount(name, []byte(content))
			s.onDisk(name, []byte(content))
		}
		s.ok(os.Remove(s.path("makefile")))
		s.inMount("Makefile", []byte("listed"))
		s.ok(os.Rename(s.path("MAKEFILE"), s.path("makefile")))
		s.inMount("makefile", []byte("newest"))
		s.missing("MAKEFILE")
	}},
	{"list.names", func(s *scene) {
		var all []string
		all = append(all, oddNames...)
		for name, kinds := range somewhere {
			if s.is(kinds...) {
				all = append(all, name)
				continue
			}
			err := os.WriteFile(s.path(name), nil, 0o644)
			s.fails(fmt.Sprintf("create %q", name), err, syscall.EINVAL)
		}
		for _, name := range all {
			if err := os.WriteFile(s.path(name), []byte(name), 0o644); err != nil {
				s.Error(err)
				continue
			}
			if got, err := os.ReadFile(s.disk(name)); err != nil || string(got) != name {
				s.Errorf("%q on the server: %q, %v", name, got, err)
			}
		}
		slices.Sort(all)
		if got := s.names(""); !slices.Equal(got, all) {
			s.Errorf("listed %q, want %q", got, all)
		}
		// Another mount knows nothing yet and must find them by itself.
		fresh := s.mount()
		for _, name := range all {
			if got, err := os.ReadFile(fresh.path(s.dir, name)); err != nil || string(got) != name {
				s.Errorf("%q on a fresh mount: %q, %v", name, got, err)
			}
		}
		for _, name := range all {
			s.ok(os.Rename(s.path(name), s.path("x")))
			s.ok(os.Rename(s.path("x"), s.path(name)))
			s.ok(os.Remove(s.path(name)))
			if s.is(lab.ProFTPD) && strings.Contains(name, "*") {
				continue // it refuses folders with a star
			}
			if err := os.Mkdir(s.path(name), 0o755); err != nil {
				s.Error(err)
			} else if err := syscall.Rmdir(s.path(name)); err != nil {
				s.Errorf("rmdir %q: %v", name, err)
			}
		}
		if left, err := os.ReadDir(s.disk("")); err != nil || len(left) != 0 {
			s.Errorf("left on the server: %v, %v", left, err)
		}
	}},
	{"list.refused-names", func(s *scene) {
		for _, name := range []string{"line\nfeed", "carriage\rreturn", "a\r\nDELE f", "byte\xff"} {
			s.fails(fmt.Sprintf("create %q", name), os.WriteFile(s.path(name), nil, 0o644), syscall.EINVAL)
			s.fails(fmt.Sprintf("mkdir %q", name), os.Mkdir(s.path(name), 0o755), syscall.EINVAL)
		}
		s.fails("256 bytes", os.WriteFile(s.path(strings.Repeat("n", 256)), nil, 0o644), syscall.ENAMETOOLONG)
		if left, err := os.ReadDir(s.disk("")); err != nil || len(left) != 0 {
			s.Errorf("on the server: %v, %v", left, err)
		}
	}},
	{"list.attributes", func(s *scene) {
		times := []time.Time{
			time.Now().Add(-time.Minute), time.Now().Add(-100 * 24 * time.Hour), time.Date(2001, 2, 3, 4, 5, 59, 0, time.UTC),
			time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC), time.Now().Add(-5 * time.Second),
		}
		for i, mtime := range times {
			name := fmt.Sprint("f", i)
			s.put(name, make([]byte, i*1000))
			s.ok(os.Chtimes(s.disk(name), mtime, mtime))
		}
		entries, err := os.ReadDir(s.path(""))
		s.ok(err)
		if len(entries) != len(times) {
			s.Fatalf("%d entries", len(entries))
		}
		for i, e := range entries {
			fi, err := e.Info()
			s.ok(err)
			if want := times[i].Truncate(time.Second); !fi.ModTime().Equal(want) || fi.Size() != int64(i*1000) {
				s.Errorf("%s: %v, %d bytes; want %v, %d", e.Name(), fi.ModTime(), fi.Size(), want, i*1000)
			}
		}
	}},
	{"list.types", func(s *scene) {
		want := map[string]os.FileMode{"d": os.ModeDir, "f": 0}
		s.putDir("d")
		s.put("f", nil)
		if !s.is(lab.Embedded) {
			s.ok(os.Symlink("f", s.disk("l")))
			want["l"] = os.ModeSymlink
		}
		entries, err := os.ReadDir(s.path(""))
		s.ok(err)
		for _, e := range entries {
			if e.Type() != want[e.Name()] {
				s.Errorf("%s is listed as %v", e.Name(), e.Type())
			}
			if fi, err := os.Lstat(s.path(e.Name())); err != nil || fi.Mode().Type() != want[e.Name()] {
				s.Errorf("%s: %v, %v", e.Name(), fi, err)
			}
		}
		if len(entries) != len(want) {
			s.Errorf("%d entries, want %d", len(entries), len(want))
		}
	}},
	{"list.empty", func(s *scene) {
		s.putDir("d")
		if names := s.names("d"); len(names) != 0 {
			s.Errorf("listed %q", names)
		}
		_, err := os.ReadDir(s.path("none"))
		s.fails("a missing folder", err, syscall.ENOENT)
	}},
	{"list.unreadable", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server runs as root and may list everything")
		}
		s.putDir("d")
		s.put("d/f", nil)
		s.ok(os.Chmod(s.disk("d"), 0))
		s.Cleanup(func() { _ = os.Chmod(s.disk("d"), 0o755) })
		entries, err := os.ReadDir(s.path("d"))
		if err == nil {
			s.Errorf("listed %v", entries)
		}
		s.fails("readdir", err, syscall.EACCES, syscall.EIO)
	}},
	{"list.large", func(s *scene) {
		const most = 10_000
		s.putDir("d")
		for i := range 3000 {
			s.ok(os.WriteFile(s.disk(fmt.Sprintf("d/%05d", i)), nil, 0o644))
		}
		names := s.names("d")
		if len(names) != 3000 || names[2999] != "02999" {
			s.Errorf("%d names", len(names))
		}
		if !s.is(lab.PureFTPd) {
			return
		}
		s.putDir("e")
		for i := range most + 10 {
			s.ok(os.WriteFile(s.disk(fmt.Sprintf("e/%05d", i)), nil, 0o644))
		}
		_, err := os.ReadDir(s.path("e"))
		s.fails("readdir of too many", err, syscall.EIO)
		for _, i := range []int{0, most - 1, most + 9} {
			if _, err := os.Stat(filepath.Join(s.path("e"), fmt.Sprintf("%05d", i))); err != nil {
				s.Errorf("lookup in a folder that is too large: %v", err)
			}
		}
	}},
}
