//go:build linux

package mount_test

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// someday is a time that nothing has by itself.
var someday = time.Date(2015, 6, 7, 8, 9, 10, 123_456_789, time.UTC)

// hasTime checks a modification time on the server and in the mount.
func (s *scene) hasTime(name string, want time.Time) {
	s.Helper()
	for _, place := range []string{s.disk(name), s.path(name)} {
		fi, err := os.Stat(place)
		s.ok(err)
		if !fi.ModTime().Truncate(time.Second).Equal(want.Truncate(time.Second)) {
			s.Errorf("%s: %v, want %v", place, fi.ModTime().UTC(), want.UTC())
		}
	}
}

// hasMode checks permission bits on the server and in the mount.
func (s *scene) hasMode(name string, want os.FileMode) {
	s.Helper()
	for _, place := range []string{s.disk(name), s.path(name)} {
		fi, err := os.Stat(place)
		s.ok(err)
		if got := fi.Mode() & (os.ModePerm | os.ModeSetuid | os.ModeSetgid | os.ModeSticky); got != want {
			s.Errorf("%s: %v, want %v", place, got, want)
		}
	}
}

var attributePromises = []promise{
	{"times.mtime", func(s *scene) {
		s.put("f", []byte("x"))
		s.ok(os.Chtimes(s.path("f"), someday, someday))
		s.hasTime("f", someday)
		s.inMount("f", []byte("x"))
		s.hasTime("f", someday)
		if fi, err := os.Stat(s.path("f")); err != nil || fi.ModTime().Nanosecond() != 0 {
			s.Errorf("%v, %v: not in whole seconds", fi.ModTime(), err)
		}
		now := time.Now()
		s.ok(os.Chtimes(s.path("f"), now, now))
		s.hasTime("f", now)
	}},
	{"times.before-close", func(s *scene) {
		set := func(f *os.File) {
			at := unix.NsecToTimespec(someday.UnixNano())
			s.ok(unix.UtimesNanoAt(unix.AT_FDCWD, "/proc/self/fd/"+itoa(int(f.Fd())), []unix.Timespec{at, at}, 0))
		}
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		_, err := f.Write(randomBytes(60, 100_000))
		s.ok(err)
		set(f)
		s.ok(f.Sync())
		s.ok(f.Close())
		s.hasTime("f", someday)
		// As rsync does: the time on the temporary name, then the rename, with the descriptor still open or not.
		g := s.open(".f.tmp", os.O_WRONLY|os.O_CREATE)
		_, err = g.Write([]byte("content"))
		s.ok(err)
		set(g)
		s.ok(os.Rename(s.path(".f.tmp"), s.path("g")))
		s.ok(g.Close())
		s.hasTime("g", someday)
		s.onDisk("g", []byte("content"))
	}},
	{"times.directory", func(s *scene) {
		s.putDir("d")
		err := os.Chtimes(s.path("d"), someday, someday)
		if s.is(lab.VSFTPD) {
			s.fails("utimes of a folder", err, syscall.EOPNOTSUPP)
			return
		}
		s.ok(err)
		s.hasTime("d", someday)
	}},
	{"times.atime", func(s *scene) {
		s.put("f", []byte("x"))
		s.ok(os.Chtimes(s.disk("f"), someday, someday))
		var times [2]unix.Timespec
		times[0] = unix.NsecToTimespec(time.Now().UnixNano())
		times[1].Nsec = unix.UTIME_OMIT
		s.ok(unix.UtimesNanoAt(unix.AT_FDCWD, s.path("f"), times[:], 0))
		var st syscall.Stat_t
		s.ok(syscall.Stat(s.path("f"), &st))
		if want := someday.Unix(); st.Mtim.Sec != want || st.Atim.Sec != want || st.Ctim.Sec != want {
			s.Errorf("mtime %d, atime %d, ctime %d; want %d", st.Mtim.Sec, st.Atim.Sec, st.Ctim.Sec, want)
		}
	}},
	{"mode.chmod", func(s *scene) {
		s.put("f", []byte("x"))
		s.putDir("d")
		s.ok(os.Chmod(s.path("f"), 0o640))
		s.hasMode("f", 0o640)
		s.ok(os.Chmod(s.path("f"), 0o755))
		s.hasMode("f", 0o755)
		s.ok(os.Chmod(s.path("d"), 0o700))
		s.hasMode("d", 0o700)
	}},
	{"mode.create", func(s *scene) {
		for name, mode := range map[string]os.FileMode{"a": 0o600, "b": 0o644, "c": 0o755, "e": 0o664} {
			f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
			s.ok(err)
			s.ok(f.Close())
			s.hasMode(name, mode&^0o022)
		}
		s.ok(os.Mkdir(s.path("d"), 0o700))
		s.hasMode("d", 0o700)
	}},
	{"mode.before-close", func(s *scene) {
		f := s.open("f", os.O_WRONLY|os.O_CREATE)
		_, err := f.Write([]byte("x"))
		s.ok(err)
		s.ok(f.Chmod(0o600))
		if fi, err := f.Stat(); err != nil || fi.Mode().Perm() != 0o600 {
			s.Errorf("before close: %v, %v", fi.Mode(), err)
		}
		s.ok(f.Close())
		s.hasMode("f", 0o600)
	}},
	{"mode.setuid", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server sets modes and does not tell them")
		}
		s.put("f", []byte("x"))
		s.ok(os.Chmod(s.disk("f"), os.ModeSetuid|os.ModeSetgid|0o755))
		fi, err := os.Stat(s.path("f"))
		s.ok(err)
		if fi.Mode() != 0o755 {
			s.Errorf("shown as %v", fi.Mode())
		}
		s.put("g", []byte("x"))
		_ = os.Chmod(s.path("g"), os.ModeSetuid|0o755) // succeeds without the bit, or fails
		if fi, err = os.Stat(s.disk("g")); err != nil || fi.Mode()&os.ModeSetuid != 0 {
			s.Errorf("on the server: %v, %v", fi.Mode(), err)
		}
	}},
	{"owner.shown", func(s *scene) {
		s.put("f", nil)
		owner := func(m *mnt) (uint32, uint32) {
			var st syscall.Stat_t
			s.ok(syscall.Stat(m.path(s.dir, "f"), &st))
			return st.Uid, st.Gid
		}
		if uid, gid := owner(s.m); uid != uint32(os.Getuid()) || gid != uint32(os.Getgid()) {
			s.Errorf("owner %d:%d", uid, gid)
		}
		if uid, gid := owner(s.mount("uid=1234", "gid=4321")); uid != 1234 || gid != 4321 {
			s.Errorf("owner %d:%d with uid=1234,gid=4321", uid, gid)
		}
	}},
	{"owner.chown", func(s *scene) {
		s.put("f", nil)
		s.ok(os.Chown(s.path("f"), os.Getuid(), os.Getgid()))
		s.ok(os.Chown(s.path("f"), -1, -1))
		s.fails("to another user", os.Chown(s.path("f"), 12345, -1), syscall.EPERM)
		s.fails("to another group", os.Chown(s.path("f"), -1, 12345), syscall.EPERM)
	}},
}

var exclusivePromises = []promise{
	{"exclusive.exists", func(s *scene) {
		s.put("f", []byte("x"))
		s.putDir("d")
		for _, name := range []string{"f", "d"} {
			_, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			s.fails(name, err, syscall.EEXIST)
		}
		s.onDisk("f", []byte("x"))
	}},
	{"exclusive.one-wins", func(s *scene) {
		for range 5 {
			var winners atomic.Int32
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					f, err := os.OpenFile(s.path("lock"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
					if err == nil {
						winners.Add(1)
						f.Close()
					} else {
						s.fails("loser", err, syscall.EEXIST)
					}
				})
			}
			all.Wait()
			if winners.Load() != 1 {
				s.Errorf("%d winners", winners.Load())
			}
			s.ok(os.Remove(s.path("lock")))
		}
	}},
	{"exclusive.fresh", func(s *scene) {
		m := s.mount("neg_ttl=1h", "dir_ttl=1h", "attr_ttl=1h")
		lock := m.path(s.dir, "lock")
		if _, err := os.Stat(lock); !os.IsNotExist(err) {
			s.Fatal(err)
		}
		s.put("lock", []byte("held by another host"))
		time.Sleep(1100 * time.Millisecond) // the promise speaks of a second
		_, err := os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		s.fails("exclusive create", err, syscall.EEXIST)
		s.onDisk("lock", []byte("held by another host"))
	}},
}

var linkPromises = []promise{
	{"symlink.read", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server shows no symlinks")
		}
		s.put("f", []byte("content"))
		s.putDir("d")
		s.put("d/g", []byte("in a folder"))
		s.ok(os.Symlink("f", s.disk("l")))
		s.ok(os.Symlink("d", s.disk("m")))
		s.ok(os.Symlink("nowhere", s.disk("dangling")))
		s.names(".") // ProFTPD tells a dangling link in listings only
		for link, want := range map[string]string{"l": "f", "m": "d", "dangling": "nowhere"} {
			if to, err := os.Readlink(s.path(link)); err != nil || to != want {
				s.Errorf("%s leads to %q, %v; want %q", link, to, err, want)
			}
		}
		s.inMount("l", []byte("content"))
		s.inMount("m/g", []byte("in a folder"))
		_, err := os.ReadFile(s.path("dangling"))
		s.fails("read of a dangling link", err, syscall.ENOENT)
	}},
	{"symlink.contained", func(s *scene) {
		if s.is(lab.Embedded) {
			s.Skip("the embedded server shows no symlinks")
		}
		s.ok(os.Symlink("/etc/passwd", s.disk("absolute")))
		s.ok(os.Symlink("../../../../../../etc/passwd", s.disk("up")))
		for _, name := range []string{"absolute", "up"} {
			if b, err := os.ReadFile(s.path(name)); err == nil && strings.HasPrefix(string(b), "root:") {
				s.Errorf("%s shows this machine's /etc/passwd", name)
			}
		}
	}},
	{"symlink.create", func(s *scene) {
		s.put("f", []byte("content"))
		s.putDir("d")
		err := os.Symlink("f", s.path("l"))
		if !s.is(lab.ProFTPD) {
			s.fails("symlink", err, syscall.EPERM, syscall.EOPNOTSUPP)
			return
		}
		s.ok(err)
		if to, err := os.Readlink(s.path("l")); err != nil || to != "f" {
			s.Errorf("leads to %q, %v", to, err)
		}
		s.inMount("l", []byte("content"))
		s.ok(os.Symlink("later", s.path("early"))) // as tar does when the link comes first
		if to, err := os.Readlink(s.path("early")); err != nil || to != "later" {
			s.Errorf("leads to %q, %v", to, err)
		}
		s.missing("later")
		s.ok(os.WriteFile(s.path("later"), []byte("now"), 0o644))
		s.inMount("early", []byte("now"))
		// On the server's disk it may be another, equal target: ProFTPD writes them from the root that it shows.
		if b, err := os.ReadFile(s.mount().path(s.dir, "l")); err != nil || string(b) != "content" {
			s.Errorf("through another mount: %q, %v", b, err)
		}
	}},
	{"unsupported.link", func(s *scene) {
		s.put("f", nil)
		s.fails("link", os.Link(s.path("f"), s.path("g")), syscall.EPERM, syscall.EOPNOTSUPP)
	}},
	{"unsupported.mknod", func(s *scene) {
		for what, mode := range map[string]uint32{"fifo": syscall.S_IFIFO, "socket": syscall.S_IFSOCK, "device": syscall.S_IFCHR} {
			s.fails(what, syscall.Mknod(s.path(what), mode|0o644, 0x103), syscall.EPERM, syscall.EOPNOTSUPP)
		}
	}},
	{"unsupported.xattr", func(s *scene) {
		s.put("f", nil)
		s.fails("setxattr", unix.Setxattr(s.path("f"), "user.x", []byte("y"), 0), syscall.EOPNOTSUPP)
		_, err := unix.Getxattr(s.path("f"), "user.x", make([]byte, 10))
		s.fails("getxattr", err, syscall.EOPNOTSUPP)
		_, err = unix.Listxattr(s.path("f"), make([]byte, 10))
		s.fails("listxattr", err, syscall.EOPNOTSUPP)
	}},
	{"unsupported.fallocate", func(s *scene) {
		f := s.open("f", os.O_RDWR|os.O_CREATE)
		for mode, what := range []string{"allocate", "keep size"} {
			s.fails(what, syscall.Fallocate(int(f.Fd()), uint32(mode), 0, 1<<20), syscall.EOPNOTSUPP)
		}
		s.ok(f.Close())
		s.onDisk("f", nil)
	}},
	{"lock.flock", func(s *scene) {
		s.put("f", nil)
		f := s.open("f", os.O_RDWR)
		s.ok(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		if _, err := output(exec.Command("flock", "-n", s.path("f"), "true"), time.Minute); err == nil {
			s.Error("another program got the lock too")
		}
		s.ok(syscall.Flock(int(f.Fd()), syscall.LOCK_UN))
		if out, err := output(exec.Command("flock", "-n", s.path("f"), "true"), time.Minute); err != nil {
			s.Errorf("the lock was not given back: %v %s", err, out)
		}
	}},
	{"lock.fcntl", func(s *scene) {
		s.put("f", []byte("0123456789"))
		f, g := s.open("f", os.O_RDWR), s.open("f", os.O_RDWR)
		// Locks of open file descriptions conflict within one process too.
		lock := func(f *os.File, kind int16, start int64) error {
			l := unix.Flock_t{Type: kind, Start: start, Len: 1}
			return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l)
		}
		s.ok(lock(f, unix.F_WRLCK, 0))
		s.fails("the same byte", lock(g, unix.F_WRLCK, 0), syscall.EAGAIN, syscall.EACCES)
		s.ok(lock(g, unix.F_WRLCK, 1))
		s.ok(lock(f, unix.F_UNLCK, 0))
		s.ok(lock(g, unix.F_WRLCK, 0))
	}},
	{"statfs.plausible", func(s *scene) {
		var st syscall.Statfs_t
		s.ok(syscall.Statfs(s.path(""), &st))
		if free := int64(st.Bavail) * st.Bsize; free < 1<<30 || st.Namelen != 255 || st.Blocks < st.Bfree || st.Bfree < st.Bavail {
			s.Errorf("%+v", st)
		}
	}},
}
