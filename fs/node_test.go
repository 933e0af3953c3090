package fs

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
)

func mustLookup(t *testing.T, dir *node, name string) *node {
	t.Helper()
	var out fuse.EntryOut
	in, errno := dir.Lookup(quiet(), name, &out)
	if errno != 0 {
		t.Fatalf("lookup of %q: %v", name, errno)
	}
	return in.Operations().(*node)
}

func wantErrno(t *testing.T, what string, got, want syscall.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantCalls(t *testing.T, r *fakeRemote, want ...string) {
	t.Helper()
	if got := r.took(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestRenameRules(t *testing.T) {
	tree := map[string]pool.Type{
		"/file": pool.TypeFile, "/other": pool.TypeFile, "/dir": pool.TypeDir, "/empty": pool.TypeDir,
		"/full": pool.TypeDir, "/full/x": pool.TypeFile,
	}
	for _, tc := range []struct {
		name, from, to string
		flags          uint32
		want           syscall.Errno
	}{
		{"to a free name", "file", "new", 0, 0},
		{"file over file", "file", "other", 0, 0},
		{"folder over an empty folder", "dir", "empty", 0, 0},
		{"folder over a full folder", "dir", "full", 0, syscall.ENOTEMPTY},
		{"file over folder", "file", "empty", 0, syscall.EISDIR},
		{"folder over file", "dir", "file", 0, syscall.ENOTDIR},
		{"nothing", "missing", "new", 0, syscall.ENOENT},
		{"noreplace to a free name", "file", "new", renameNoReplace, 0},
		{"noreplace over file", "file", "other", renameNoReplace, syscall.EEXIST},
		{"noreplace over folder", "dir", "empty", renameNoReplace, syscall.EEXIST},
		{"exchange", "file", "other", 2, syscall.EINVAL},
		{"whiteout", "file", "other", 4, syscall.EINVAL},
		{"a name that FTP cannot carry", "file", "a\nb", 0, syscall.EINVAL},
		{"one of our temporary names", "file", ".ftpsfs-0123abcd-1", 0, syscall.EINVAL},
		{"a long name", "file", string(make([]byte, 256)), 0, syscall.ENAMETOOLONG},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, r := newTestServerOver(t, Config{})
			r.can = map[pool.Capability]bool{pool.CapRenameOverDir: true}
			for p, kind := range tree {
				r.put(p, pool.Entry{Type: kind})
			}
			var n *node
			if tc.from != "missing" {
				n = mustLookup(t, s.root, tc.from)
			}
			got := s.root.Rename(quiet(), tc.from, s.root, tc.to, tc.flags)
			wantErrno(t, "rename", got, tc.want)
			if tc.want != 0 {
				wantCalls(t, r)
				return
			}
			wantCalls(t, r, "rename /"+tc.from+" /"+tc.to)
			wantPath(t, n, "/"+tc.to, true)
			if mustLookup(t, s.root, tc.to) != n {
				t.Error("the renamed object is not the same node")
			}
		})
	}
}

// TestRenameOverAnEmptyFolder: whatever the server does by itself, and whether or not that could be found out.
func TestRenameOverAnEmptyFolder(t *testing.T) {
	can := func(yes bool) map[pool.Capability]bool { return map[pool.Capability]bool{pool.CapRenameOverDir: yes} }
	for name, tc := range map[string]struct {
		can    map[pool.Capability]bool
		refuse map[string]pool.Kind
		want   syscall.Errno
		calls  []string
	}{
		"in one step":           {can(true), nil, 0, []string{"rename /dir /empty"}},
		"the empty one first":   {can(false), nil, 0, []string{"rmdir /empty", "rename /dir /empty"}},
		"not to be found out":   {nil, nil, 0, []string{"rmdir /empty", "rename /dir /empty"}},
		"refused all the same":  {can(true), map[string]pool.Kind{"rename": pool.KindExists}, 0, []string{"rename /dir /empty", "rmdir /empty", "rename /dir /empty"}},
		"not empty any more":    {can(false), map[string]pool.Kind{"rmdir": pool.KindNotEmpty}, syscall.ENOTEMPTY, []string{"rmdir /empty"}},
		"not empty, in a step":  {can(true), map[string]pool.Kind{"rename": pool.KindNotEmpty}, syscall.ENOTEMPTY, []string{"rename /dir /empty"}},
		"then it cannot be":     {can(false), map[string]pool.Kind{"rename": pool.KindPermission}, syscall.EACCES, []string{"rmdir /empty", "rename /dir /empty", "mkdir /empty"}},
		"then the line is lost": {can(false), map[string]pool.Kind{"rename": pool.KindNetwork}, syscall.EIO, []string{"rmdir /empty", "rename /dir /empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newTestServerOver(t, Config{})
			r.put("/dir", pool.Entry{Type: pool.TypeDir})
			r.put("/empty", pool.Entry{Type: pool.TypeDir})
			r.can, r.refuse = tc.can, tc.refuse
			wantErrno(t, "rename", s.root.Rename(quiet(), "dir", s.root, "empty", 0), tc.want)
			wantCalls(t, r, tc.calls...)
		})
	}
}

// TestRenameWhereFoldersAreNotReplaced: a folder that others made at the new name meanwhile is seen before such a server is asked.
func TestRenameWhereFoldersAreNotReplaced(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.can = map[pool.Capability]bool{pool.CapRenameOverDir: false}
	r.known = map[pool.Capability]bool{pool.CapRenameOverDir: true}
	r.put("/file", pool.Entry{})
	var out fuse.EntryOut
	_, errno := s.root.Lookup(quiet(), "target", &out)
	wantErrno(t, "lookup", errno, syscall.ENOENT)
	r.put("/target", pool.Entry{Type: pool.TypeDir})
	s.cfg.Cache.ForgetDir("/") // an absence of more than a second ago
	wantErrno(t, "rename", s.root.Rename(quiet(), "file", s.root, "target", 0), syscall.EISDIR)
	wantCalls(t, r)
}

func TestReplacedFolderIsKnownToThoseWhoHaveItOpen(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.put("/dir", pool.Entry{Type: pool.TypeDir})
	r.put("/old", pool.Entry{Type: pool.TypeDir, Mode: 0o700, HasMode: true})
	old := mustLookup(t, s.root, "old")
	wantErrno(t, "rename", s.root.Rename(quiet(), "dir", s.root, "old", 0), 0)
	var out fuse.AttrOut
	wantErrno(t, "fstat", old.Getattr(quiet(), nil, &out), 0)
	if out.Nlink != 0 || out.Mode&0o777 != 0o700 {
		t.Errorf("nlink %d mode %o, want 0 and 700", out.Nlink, out.Mode)
	}
}

func TestRemove(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.put("/f", pool.Entry{})
	r.put("/d", pool.Entry{Type: pool.TypeDir})
	f := mustLookup(t, s.root, "f")
	d := mustLookup(t, s.root, "d")
	wantErrno(t, "unlink", s.root.Unlink(quiet(), "f"), 0)
	wantErrno(t, "rmdir", s.root.Rmdir(quiet(), "d"), 0)
	wantCalls(t, r, "remove /f", "rmdir /d")
	wantPath(t, f, "/f", false)
	wantPath(t, d, "/d", false)
	var out fuse.EntryOut
	_, errno := s.root.Lookup(quiet(), "f", &out)
	wantErrno(t, "lookup after unlink", errno, syscall.ENOENT)
	_, errno = d.Mkdir(quiet(), "x", 0o755, &out)
	wantErrno(t, "mkdir in a removed folder", errno, syscall.ENOENT)
	r.refuse = map[string]pool.Kind{"rmdir": pool.KindNotEmpty}
	r.put("/full", pool.Entry{Type: pool.TypeDir})
	wantErrno(t, "rmdir of a full folder", s.root.Rmdir(quiet(), "full"), syscall.ENOTEMPTY)
}

func TestMkdirLearnsTheModeOfNewFolders(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	var out fuse.EntryOut
	for _, name := range []string{"a", "b"} {
		_, errno := s.root.Mkdir(quiet(), name, 0o755, &out)
		wantErrno(t, "mkdir", errno, 0)
	}
	wantCalls(t, r, "mkdir /a", "mkdir /b")
	_, errno := s.root.Mkdir(quiet(), "private", 0o700|syscall.S_ISGID, &out)
	wantErrno(t, "mkdir", errno, 0)
	wantCalls(t, r, "mkdir /private", "setattrs /private")
	if out.Mode&0o7777 != 0o700 {
		t.Errorf("mode %o, want 700", out.Mode&0o7777)
	}
	r.modesAtOnce = true
	_, errno = s.root.Mkdir(quiet(), "at-once", 0o700, &out)
	wantErrno(t, "mkdir", errno, 0)
	wantCalls(t, r, "mkdir /at-once")
	if out.Mode&0o7777 != 0o700 {
		t.Errorf("mode %o, want 700", out.Mode&0o7777)
	}
	r.modesAtOnce = false
	r.refuse = map[string]pool.Kind{"setattrs": pool.KindUnsupported}
	_, errno = s.root.Mkdir(quiet(), "c", 0o700, &out)
	wantErrno(t, "mkdir where modes cannot be set", errno, 0)
	if out.Mode&0o777 != 0o755 {
		t.Errorf("mode %o, want what the server made of it", out.Mode&0o777)
	}
}

// The first folder tells what mode folders get by themselves, however it gets its own.
func TestMkdirLearnsTheModeOfTheFirstFolder(t *testing.T) {
	for _, atOnce := range []bool{true, false} {
		s, r := newTestServerOver(t, Config{})
		r.modesAtOnce = atOnce
		var out fuse.EntryOut
		_, errno := s.root.Mkdir(quiet(), "private", 0o700, &out)
		wantErrno(t, "mkdir", errno, 0)
		if atOnce {
			wantCalls(t, r, "mkdir /private")
		} else {
			wantCalls(t, r, "mkdir /private", "setattrs /private")
		}
		if e := r.objects["/private"]; out.Mode&0o7777 != 0o700 || e.Mode != 0o700 {
			t.Errorf("at once %v: mode %o, %o on the server; want 700", atOnce, out.Mode&0o7777, e.Mode)
		}
		if usual := s.folderMode.Load(); usual == nil || usual.Mode != 0o755 {
			t.Errorf("at once %v: usual mode %v, want 755", atOnce, usual)
		}
	}
}

// What the server cannot do leaves what is known as it is; any other failure does not.
func TestSetattrRefused(t *testing.T) {
	for kind, stays := range map[pool.Kind]bool{pool.KindUnsupported: true, pool.KindRefused: false} {
		s, r := newTestServerOver(t, Config{})
		r.put("/d", pool.Entry{Type: pool.TypeDir})
		d := mustLookup(t, s.root, "d")
		r.refuse = map[string]pool.Kind{"setattrs": kind}
		in := &fuse.SetAttrIn{}
		in.Valid, in.Mtime = fuse.FATTR_MTIME, 1_000_000_000
		if errno := d.Setattr(quiet(), nil, in, &fuse.AttrOut{}); errno == 0 {
			t.Errorf("%v: no error", kind)
		}
		if _, fresh := s.cfg.Cache.Peek("/d"); fresh != stays {
			t.Errorf("%v: known afterwards: %v, want %v", kind, fresh, stays)
		}
	}
}

func TestSetattr(t *testing.T) {
	s, r := newTestServerOver(t, Config{UID: 5, GID: 6})
	r.put("/f", pool.Entry{Mode: 0o644, HasMode: true})
	r.put("/l", pool.Entry{Type: pool.TypeSymlink, Target: "f"})
	f, l := mustLookup(t, s.root, "f"), mustLookup(t, s.root, "l")
	set := func(n *node, fill func(*fuse.SetAttrIn)) (fuse.AttrOut, syscall.Errno) {
		in, out := &fuse.SetAttrIn{}, fuse.AttrOut{}
		fill(in)
		errno := n.Setattr(quiet(), nil, in, &out)
		return out, errno
	}
	_, errno := set(f, func(in *fuse.SetAttrIn) { in.Valid, in.Uid = fuse.FATTR_UID, 0 })
	wantErrno(t, "chown to another", errno, syscall.EPERM)
	_, errno = set(f, func(in *fuse.SetAttrIn) { in.Valid, in.Uid, in.Gid = fuse.FATTR_UID|fuse.FATTR_GID, 5, 6 })
	wantErrno(t, "chown that changes nothing", errno, 0)
	_, errno = set(f, func(in *fuse.SetAttrIn) { in.Valid, in.Atime = fuse.FATTR_ATIME, 77 })
	wantErrno(t, "atime alone", errno, 0)
	wantCalls(t, r)

	out, errno := set(f, func(in *fuse.SetAttrIn) { in.Valid, in.Mode = fuse.FATTR_MODE, 0o4750 })
	wantErrno(t, "chmod", errno, 0)
	if out.Mode&0o7777 != 0o750 || out.Ino != f.StableAttr().Ino {
		t.Errorf("mode %o inode %d", out.Mode, out.Ino)
	}
	out, errno = set(f, func(in *fuse.SetAttrIn) { in.Valid, in.Mtime, in.Mtimensec = fuse.FATTR_MTIME, 1e9, 5 })
	wantErrno(t, "utimes", errno, 0)
	if out.Mtime != 1e9 || out.Mtimensec != 0 {
		t.Errorf("mtime %d.%d, want what the server keeps", out.Mtime, out.Mtimensec)
	}
	wantCalls(t, r, "setattrs /f", "setattrs /f")
	_, errno = set(l, func(in *fuse.SetAttrIn) { in.Valid, in.Mtime = fuse.FATTR_MTIME, 5 })
	wantErrno(t, "utimes of a link", errno, syscall.EOPNOTSUPP)
	wantCalls(t, r)
}

func TestTruncateLeavesTheTimeToTheServer(t *testing.T) {
	now := time.Unix(50, 0)
	in := &fuse.SetAttrIn{}
	in.Valid = fuse.FATTR_SIZE | fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW
	if a := wanted(in, true, now); a != (pool.Attrs{}) {
		t.Errorf("%+v, want nothing beside the size", a)
	}
	in.Valid = fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW
	if a := wanted(in, false, now); a.ModTime == nil || !a.ModTime.Equal(now) {
		t.Errorf("%+v, want our clock for touch(1)", a)
	}
	in.Valid, in.Mtime = fuse.FATTR_SIZE|fuse.FATTR_MTIME, 9
	if a := wanted(in, true, now); a.ModTime == nil || a.ModTime.Unix() != 9 {
		t.Errorf("%+v, want the time that was set", a)
	}
}

func TestReadOnly(t *testing.T) {
	s, r := newTestServerOver(t, Config{ReadOnly: true})
	r.put("/f", pool.Entry{})
	r.put("/d", pool.Entry{Type: pool.TypeDir})
	f := mustLookup(t, s.root, "f")
	var out fuse.EntryOut
	_, _, _, errno := s.root.Create(quiet(), "n", syscall.O_WRONLY, 0o644, &out)
	wantErrno(t, "create", errno, syscall.EROFS)
	_, errno = s.root.Mkdir(quiet(), "n", 0o755, &out)
	wantErrno(t, "mkdir", errno, syscall.EROFS)
	_, errno = s.root.Symlink(quiet(), "f", "n", &out)
	wantErrno(t, "symlink", errno, syscall.EROFS)
	wantErrno(t, "unlink", s.root.Unlink(quiet(), "f"), syscall.EROFS)
	wantErrno(t, "rmdir", s.root.Rmdir(quiet(), "d"), syscall.EROFS)
	wantErrno(t, "rename", s.root.Rename(quiet(), "f", s.root, "g", 0), syscall.EROFS)
	_, _, errno = f.Open(quiet(), syscall.O_RDWR)
	wantErrno(t, "open for writing", errno, syscall.EROFS)
	in := &fuse.SetAttrIn{}
	in.Valid, in.Mode = fuse.FATTR_MODE, 0o600
	wantErrno(t, "chmod", f.Setattr(quiet(), nil, in, &fuse.AttrOut{}), syscall.EROFS)
	wantCalls(t, r)
}

func TestWhatFTPDoesNotHave(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	var out fuse.EntryOut
	_, errno := s.root.Link(quiet(), s.root, "l", &out)
	wantErrno(t, "link", errno, syscall.EPERM)
	_, errno = s.root.Mknod(quiet(), "p", syscall.S_IFIFO|0o644, 0, &out)
	wantErrno(t, "mkfifo", errno, syscall.EPERM)
	r.refuse = map[string]pool.Kind{"symlink": pool.KindUnsupported}
	_, errno = s.root.Symlink(quiet(), "x", "l", &out)
	wantErrno(t, "symlink where the server has none", errno, syscall.EPERM)
}

func TestLinksAreShownContained(t *testing.T) {
	for _, tc := range []struct {
		mode   Symlinks
		target string
		want   string
		errno  syscall.Errno
	}{
		{SymlinksContain, "/srv/data/x", "x", 0},
		{SymlinksContain, "/etc/passwd", "", syscall.EACCES},
		{SymlinksContain, "../x", "", syscall.EACCES},
		{SymlinksRaw, "/etc/passwd", "/etc/passwd", 0},
		{SymlinksOff, "x", "", syscall.EACCES},
	} {
		s, r := newTestServerOver(t, Config{Symlinks: tc.mode, Root: "/srv/data"})
		r.put("/l", pool.Entry{Type: pool.TypeSymlink, Target: tc.target})
		got, errno := mustLookup(t, s.root, "l").Readlink(quiet())
		if string(got) != tc.want || errno != tc.errno {
			t.Errorf("mode %d target %q: %q %v, want %q %v", tc.mode, tc.target, got, errno, tc.want, tc.errno)
		}
	}
}

func TestLinkMadeHereReadsBackAsGiven(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	var out fuse.EntryOut
	in, errno := s.root.Symlink(quiet(), "/foobar", "l", &out)
	wantErrno(t, "symlink", errno, 0)
	l := in.Operations().(*node)
	got, errno := l.Readlink(quiet())
	if string(got) != "/foobar" || errno != 0 {
		t.Errorf("%q %v, want what was given", got, errno)
	}
	// A server that writes the same place in another way.
	r.put("/l", pool.Entry{Type: pool.TypeSymlink, Target: "foobar"})
	s.cfg.Cache.Forget("/l")
	if got, errno := l.Readlink(quiet()); string(got) != "/foobar" || errno != 0 {
		t.Errorf("%q %v, want what was given", got, errno)
	}
	// A server that does not tell targets.
	r.put("/l", pool.Entry{Type: pool.TypeSymlink})
	r.refuse = map[string]pool.Kind{"readlink": pool.KindUnsupported}
	s.cfg.Cache.Forget("/l")
	if got, errno := l.Readlink(quiet()); string(got) != "/foobar" || errno != 0 {
		t.Errorf("%q %v, want what was given", got, errno)
	}
	// Somebody has put another one there.
	r.put("/l", pool.Entry{Type: pool.TypeSymlink, Target: "/elsewhere"})
	s.cfg.Cache.Forget("/l")
	if got, errno := l.Readlink(quiet()); string(got) != "elsewhere" || errno != 0 {
		t.Errorf("%q %v, want it contained", got, errno)
	}
}

func TestAnotherKindOfObjectIsAnotherNode(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.put("/x", pool.Entry{})
	old := mustLookup(t, s.root, "x")
	if mustLookup(t, s.root, "x") != old {
		t.Error("the same object must be the same node")
	}
	r.put("/x", pool.Entry{Type: pool.TypeDir})
	s.cfg.Cache.Forget("/x")
	wantErrno(t, "stat of what was a file", old.Getattr(quiet(), nil, &fuse.AttrOut{}), syscall.ESTALE)
	if now := mustLookup(t, s.root, "x"); now == old || now.kind != pool.TypeDir {
		t.Error("a folder got the node of a file")
	}
}

func TestAttributes(t *testing.T) {
	s, _ := newTestServerOver(t, Config{UID: 5, GID: 6})
	masked, _ := newTestServerOver(t, Config{HasUmask: true, Umask: 0o027})
	for _, tc := range []struct {
		name string
		s    *Server
		e    pool.Entry
		mode uint32
		size uint64
	}{
		{"file", s, pool.Entry{Type: pool.TypeFile, Size: 5}, syscall.S_IFREG | 0o644, 5},
		{"unknown size", s, pool.Entry{Type: pool.TypeFile, Size: -1}, syscall.S_IFREG | 0o644, 0},
		{"setuid", s, pool.Entry{Type: pool.TypeFile, Mode: 0o6755, HasMode: true}, syscall.S_IFREG | 0o755, 0},
		{"folder", s, pool.Entry{Type: pool.TypeDir, Size: -1}, syscall.S_IFDIR | 0o755, folderSize},
		{"link", s, pool.Entry{Type: pool.TypeSymlink, Target: "abc", Size: 99}, syscall.S_IFLNK | 0o777, 3},
		{"fifo", s, pool.Entry{Type: pool.TypeOther}, syscall.S_IFSOCK | 0o644, 0},
		{"umask", masked, pool.Entry{Type: pool.TypeFile, Mode: 0o600, HasMode: true}, syscall.S_IFREG | 0o750, 0},
	} {
		var out fuse.Attr
		tc.s.attr(tc.e, tc.e.Type, &out)
		if out.Mode != tc.mode || out.Size != tc.size || out.Nlink != 1 {
			t.Errorf("%s: mode %o size %d nlink %d, want %o %d 1", tc.name, out.Mode, out.Size, out.Nlink, tc.mode, tc.size)
		}
	}
	var out fuse.Attr
	s.attr(pool.Entry{Type: pool.TypeFile, ModTime: time.Unix(7, 0)}, pool.TypeFile, &out)
	if out.Uid != 5 || out.Gid != 6 || out.Mtime != 7 || out.Ctime != 7 {
		t.Errorf("%+v", out)
	}
}

func TestRoughTimesAreNotForTheKernelToKeep(t *testing.T) {
	s, _ := newTestServerOver(t, Config{})
	n := put(s, s.root, "f", pool.TypeFile)
	d := put(s, s.root, "d", pool.TypeDir)
	var out fuse.EntryOut
	d.fillEntry(pool.Entry{Type: pool.TypeDir}, &out)
	if out.AttrTimeout() != s.kernelTTL {
		t.Errorf("rough folder: %v", out.AttrTimeout())
	}
	out = fuse.EntryOut{}
	n.fillEntry(pool.Entry{Type: pool.TypeFile, Exact: true}, &out)
	if out.AttrTimeout() != s.kernelTTL || out.EntryTimeout() != s.kernelTTL {
		t.Errorf("exact: %v %v", out.AttrTimeout(), out.EntryTimeout())
	}
	out = fuse.EntryOut{}
	n.fillEntry(pool.Entry{Type: pool.TypeFile}, &out)
	if out.AttrTimeout() != 0 || out.EntryTimeout() != s.kernelTTL {
		t.Errorf("rough: %v %v", out.AttrTimeout(), out.EntryTimeout())
	}
}

func TestFolderTimeFollowsOurChanges(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	now := time.Unix(1_000_000, 0)
	s.now = func() time.Time { return now }
	r.put("/d", pool.Entry{Type: pool.TypeDir, ModTime: time.Unix(500, 0)})
	d := mustLookup(t, s.root, "d")
	want := func(what string, mtime uint64) {
		t.Helper()
		var out fuse.AttrOut
		wantErrno(t, "stat", d.Getattr(quiet(), nil, &out), 0)
		if out.Mtime != mtime {
			t.Errorf("%s: mtime %d, want %d", what, out.Mtime, mtime)
		}
	}
	want("as the server says", 500)
	var out fuse.EntryOut
	_, errno := d.Mkdir(quiet(), "x", 0o755, &out)
	wantErrno(t, "mkdir", errno, 0)
	want("after a change in it", 1_000_000)
	in := &fuse.SetAttrIn{}
	in.Valid, in.Mtime = fuse.FATTR_MTIME, 700
	wantErrno(t, "utimes", d.Setattr(quiet(), nil, in, &fuse.AttrOut{}), 0)
	want("after utimes", 700)
	wantErrno(t, "rename", d.Rename(quiet(), "x", s.root, "y", 0), 0)
	want("after a rename out of it", 1_000_000)
	now = now.Add(2 * time.Minute)
	want("when the server's word is newer", 700)
}

// TestFolderTimeStays: the time of one change is told as one time, though the server's clock and the listing's minutes have it
// a little earlier, and another host's change shows.
func TestFolderTimeStays(t *testing.T) {
	const ours = 1_000_000 // 40 s into a minute
	for _, c := range []struct {
		what   string
		exact  bool
		server []int64 // times that the server tells, one after the other
		told   []int64
	}{
		{"a second earlier", true, []int64{ours - 1, ours - 1, ours + 50}, []int64{ours, ours, ours + 50}},
		{"another host within that second", true, []int64{ours - 1, ours, ours}, []int64{ours, ours, ours}},
		{"another host, by a slow clock", true, []int64{ours - 2, ours - 1, ours - 1}, []int64{ours, ours - 1, ours - 1}},
		{"another clock", true, []int64{ours - 3, ours - 3}, []int64{ours - 3, ours - 3}},
		{"a clock ahead", true, []int64{ours + 5, ours + 5}, []int64{ours + 5, ours + 5}},
		{"full minutes", false, []int64{ours - 40, ours - 40, ours + 80}, []int64{ours, ours, ours + 80}},
		{"another zone", false, []int64{ours - 3640, ours - 3640}, []int64{ours - 3640, ours - 3640}},
	} {
		var d touch
		d.now(time.Unix(ours, 0))
		for i := range c.server {
			told := d.over(pool.Entry{ModTime: time.Unix(c.server[i], 0), Exact: c.exact}, time.Unix(ours+100, 0), time.Minute).ModTime.Unix()
			if told != c.told[i] {
				t.Errorf("%s, look %d: %d, want %d", c.what, i, told-ours, c.told[i]-ours)
			}
		}
	}
}

func TestOpenFlags(t *testing.T) {
	for flags, want := range map[uint32]content.OpenFlags{
		syscall.O_RDONLY:                     {Read: true},
		syscall.O_WRONLY:                     {Write: true},
		syscall.O_RDWR:                       {Read: true, Write: true},
		syscall.O_WRONLY | syscall.O_APPEND:  {Write: true, Append: true},
		syscall.O_RDONLY | syscall.O_APPEND:  {Read: true},
		syscall.O_WRONLY | syscall.O_TRUNC:   {Write: true, Truncate: true},
		syscall.O_ACCMODE | syscall.O_APPEND: {Read: true, Write: true, Append: true},
	} {
		if got := openFlags(flags); got != want {
			t.Errorf("%#x: %+v, want %+v", flags, got, want)
		}
	}
}

func TestPagesAreKeptOnlyWhenCertain(t *testing.T) {
	s, _ := newTestServerOver(t, Config{})
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	n := put(s, s.root, "f", pool.TypeFile)
	e := pool.Entry{Name: "f", Size: 5, ModTime: time.Unix(999, 0), Exact: true}
	step := func(after time.Duration, e pool.Entry, want bool) {
		t.Helper()
		now = now.Add(after)
		if got := n.keepPages(e); got != want {
			t.Errorf("at %v: keep %v, want %v", now.Unix(), got, want)
		}
	}
	step(0, e, false)             // never read
	step(time.Second, e, false)   // may have changed twice in one second
	step(3*time.Second, e, false) // now it is certain that what is read from here on stays
	step(time.Second, e, true)
	changed := e
	changed.ModTime = time.Unix(1004, 0)
	step(time.Second, changed, false)
	step(3*time.Second, changed, false)
	step(0, changed, true)
	rough := changed
	rough.Exact = false
	step(0, rough, false)
	step(0, changed, false)
}

func TestReaddir(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	for _, name := range []string{"b", "a", "c"} {
		r.put("/"+name, pool.Entry{})
	}
	known := mustLookup(t, s.root, "b")
	fh, _, errno := s.root.OpendirHandle(quiet(), 0)
	wantErrno(t, "opendir", errno, 0)
	h := fh.(*dirHandle)
	defer h.Releasedir(quiet(), 0)
	read := func() (names []string, offs []uint64) {
		for {
			de, errno := h.Readdirent(quiet())
			wantErrno(t, "readdir", errno, 0)
			if de == nil {
				return names, offs
			}
			names, offs = append(names, de.Name), append(offs, de.Off)
			if de.Name == "b" && de.Ino != known.StableAttr().Ino {
				t.Errorf("inode of b: %d", de.Ino)
			}
		}
	}
	all := []string{".", "..", "a", "b", "c"}
	names, offs := read()
	if !slices.Equal(names, all) {
		t.Fatalf("%q, want %q", names, all)
	}
	for i, off := range offs {
		wantErrno(t, "seekdir", h.Seekdir(quiet(), off), 0)
		if names, _ := read(); !slices.Equal(names, all[i+1:]) {
			t.Errorf("from %d: %q, want %q", off, names, all[i+1:])
		}
	}
	s.cfg.Cache.Changed("/d", pool.Entry{Type: pool.TypeFile, Exact: true})
	wantErrno(t, "rewinddir", h.Seekdir(quiet(), 0), 0)
	if names, _ := read(); !slices.Equal(names, append(all, "d")) {
		t.Errorf("after rewinddir: %q", names)
	}
	if s.Status().OpenDirs != 1 {
		t.Errorf("open folders: %d", s.Status().OpenDirs)
	}
}

func TestReaddirPlusDoesNotBringBackWhatWasRemoved(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.put("/a", pool.Entry{})
	fh, _, _ := s.root.OpendirHandle(quiet(), 0)
	h := fh.(*dirHandle)
	defer h.Releasedir(quiet(), 0)
	var de *fuse.DirEntry
	for range 3 {
		de, _ = h.Readdirent(quiet())
	}
	if de == nil || de.Name != "a" {
		t.Fatalf("%v", de)
	}
	wantErrno(t, "unlink", s.root.Unlink(quiet(), "a"), 0)
	var out fuse.EntryOut
	_, errno := h.Lookup(quiet(), "a", &out)
	wantErrno(t, "lookup from the snapshot", errno, syscall.ENOENT)
}

func TestTruncatedListingEndsInAnError(t *testing.T) {
	s := newTestServer(t)
	h := &dirHandle{n: s.root, pos: 2, listing: &pool.Listing{Truncated: true, Entries: []pool.Entry{{Name: "a"}}}}
	if de, errno := h.Readdirent(quiet()); errno != 0 || de.Name != "a" {
		t.Fatalf("%v %v", de, errno)
	}
	_, errno := h.Readdirent(quiet())
	wantErrno(t, "the end", errno, syscall.EIO)
}

func TestHostileNamesAreNotShown(t *testing.T) {
	s := newTestServer(t)
	var entries []pool.Entry
	for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "a\x00b", string(make([]byte, 300)), "fine"} {
		entries = append(entries, pool.Entry{Name: name, Type: pool.TypeFile})
	}
	h := &dirHandle{n: s.root, pos: 2, listing: &pool.Listing{Entries: entries}}
	de, errno := h.Readdirent(quiet())
	if errno != 0 || de == nil || de.Name != "fine" {
		t.Fatalf("%v %v", de, errno)
	}
}

func TestKernelAndCacheShareTheTimeToLive(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Second, 2 * time.Second, 10 * time.Second, time.Hour} {
		if k, c := KernelTTL(ttl), CacheTTL(ttl); k+c != ttl || k > time.Second || k < 0 {
			t.Errorf("%v: kernel %v cache %v", ttl, k, c)
		}
	}
}

func TestLogLimit(t *testing.T) {
	var l logLimit
	now := time.Unix(100, 0)
	if _, ok := l.allow(syscall.EIO, now); !ok {
		t.Error("the first message must pass")
	}
	for range 3 {
		if _, ok := l.allow(syscall.EIO, now); ok {
			t.Error("a second message in the same second must not pass")
		}
	}
	if _, ok := l.allow(syscall.ENOSPC, now); !ok {
		t.Error("another errno has its own count")
	}
	if n, ok := l.allow(syscall.EIO, now.Add(time.Second)); !ok || n != 3 {
		t.Errorf("%d %v, want 3 suppressed", n, ok)
	}
}
