package pool

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

func forReal(t *testing.T, test func(t *testing.T, e *env)) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) { test(t, newReal(t, lab.Options{Kind: kind, Version: "1.3"})) })
	}
}

func TestSymlinks(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		write(t, e, "file", "content")
		mkdir(t, e, "dir")
		write(t, e, "wide open", "1234")
		if err := os.Chmod(filepath.Join(e.root, "wide open"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(e.root, "dir"), 0o777); err != nil {
			t.Fatal(err)
		}
		targets := map[string]string{"flink": "file", "dlink": "dir", "dangling": "nowhere", "same": "file"}
		for name, target := range targets {
			link(t, e, target, name)
		}
		l, err := e.List(e.ctx, "/")
		if err != nil {
			t.Fatal(err)
		}
		for name, target := range targets {
			if got, ok := find(l, name); !ok || got.Type != TypeSymlink || got.Target != target {
				t.Errorf("listed %s: %+v, %v", name, got, ok)
			}
			if got, err := e.Readlink(e.ctx, "/"+name); err != nil || got != target {
				t.Errorf("Readlink(%s) = %q, %v", name, got, err)
			}
			got, err := e.Stat(e.ctx, "/"+name)
			if name == "dangling" && e.kind == lab.ProFTPD {
				continue // shows in LIST only
			}
			if err != nil || got.Type != TypeSymlink {
				t.Errorf("Stat(%s) = %+v, %v", name, got, err)
			}
		}
		for name, want := range map[string]Type{"file": TypeFile, "dir": TypeDir, "wide open": TypeFile} {
			if got, err := e.Stat(e.ctx, "/"+name); err != nil || got.Type != want {
				t.Errorf("Stat(%s) = %+v, %v", name, got, err)
			}
		}
		_, err = e.Readlink(e.ctx, "/file")
		wantKind(t, "Readlink of a file", err, KindRefused)
		if e.kind != lab.PureFTPd { // which does not write through links
			put(t, e, "/flink", UploadOptions{Mode: UploadAppend}, []byte(" and more"), Finish{Size: 16})
		}
	})
}

func TestSymlinkIsMade(t *testing.T) {
	e := newReal(t, lab.Options{Kind: lab.ProFTPD})
	mkdir(t, e, "d")
	write(t, e, "d/file", "x")
	if err := e.Symlink(e.ctx, "file", "/d/link"); err != nil {
		t.Fatal(err)
	}
	if got, err := e.Readlink(e.ctx, "/d/link"); err != nil || got != "file" {
		t.Errorf("Readlink = %q, %v", got, err)
	}
	wantKind(t, "again", e.Symlink(e.ctx, "file", "/d/link"), KindExists)
	v := newReal(t, lab.Options{Kind: lab.VSFTPD})
	wantKind(t, "vsftpd", v.Symlink(v.ctx, "file", "/link"), KindUnsupported)
}

func TestCapabilitiesOfRealServers(t *testing.T) {
	want := map[lab.Kind]map[Capability]bool{
		lab.VSFTPD: {CapAppend: true, CapResumeStore: true, CapKeepsTail: true, CapRenameReplace: true, CapSetModTime: true,
			CapSetDirModTime: false, CapChmod: true, CapSymlink: false, CapExactTimes: false, CapVerify: true, CapRenameOverDir: true, CapFoldsCase: false},
		lab.ProFTPD: {CapAppend: true, CapResumeStore: true, CapKeepsTail: true, CapRenameReplace: true, CapSetModTime: true,
			CapSetDirModTime: true, CapChmod: true, CapSymlink: true, CapExactTimes: true, CapVerify: true, CapRenameOverDir: true, CapFoldsCase: false},
		lab.PureFTPd: {CapAppend: true, CapResumeStore: true, CapKeepsTail: false, CapRenameReplace: true, CapSetModTime: true,
			CapSetDirModTime: true, CapChmod: true, CapSymlink: false, CapExactTimes: true, CapVerify: true, CapRenameOverDir: true, CapFoldsCase: false},
	}
	forReal(t, func(t *testing.T, e *env) {
		for c, can := range want[e.kind] {
			if got, err := e.Can(e.ctx, c, "/"); err != nil || got != can {
				t.Errorf("Can(%v) = %v, %v, want %v", c, got, err, can)
			}
		}
		if left, err := os.ReadDir(e.root); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestOddNames(t *testing.T) {
	names := []string{" lead", "-dash", "a  b", `q"uote`, "semi;colon", "a -> b", "star*", "[x]", "üñí", "e\u0301", "\xe4latin", ".hidden", strings.Repeat("n", 255)}
	mangled := []string{"trail ", "tab\tbed", `back\slash`}
	forReal(t, func(t *testing.T, e *env) {
		for _, name := range names {
			put(t, e, "/"+name, UploadOptions{}, []byte(name), Finish{Size: int64(len(name))})
			if got, err := e.Stat(e.ctx, "/"+name); err != nil || got.Size != int64(len(name)) || got.Name != name {
				t.Errorf("Stat(%q) = %+v, %v", name, got, err)
			}
		}
		for _, name := range mangled {
			u, err := e.Upload(e.ctx, "/"+name, UploadOptions{})
			if e.kind == lab.PureFTPd {
				wantKind(t, name, err, KindInvalidName)
				continue
			}
			if err != nil {
				t.Errorf("%q: %v", name, err)
				continue
			}
			if _, err := u.Finish(e.ctx, Finish{Size: 0}); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
		on, err := os.ReadDir(e.root)
		if err != nil {
			t.Fatal(err)
		}
		l, err := e.List(e.ctx, "/")
		if err != nil || len(l.Entries) != len(on) {
			t.Fatalf("%d entries of %d, %v", len(l.Entries), len(on), err)
		}
		for i, d := range on { // both are sorted by bytes
			if l.Entries[i].Name != d.Name() {
				t.Errorf("listed %q, on the disk %q", l.Entries[i].Name, d.Name())
			}
		}
	})
}

func TestUnreadableFolders(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		mkdir(t, e, "closed")
		mkdir(t, e, "empty")
		if err := os.Chmod(filepath.Join(e.root, "closed"), 0o311); err != nil {
			t.Fatal(err)
		}
		if l, err := e.List(e.ctx, "/empty"); err != nil || len(l.Entries) != 0 {
			t.Errorf("empty: %+v, %v", l, err)
		}
		l, err := e.List(e.ctx, "/closed")
		if k := KindOf(err); err == nil || k != KindPermission && k != KindRefused {
			t.Errorf("closed: %+v, %v", l, err)
		}
	})
}

// vsftpd lists small folders on the control connection, large ones on a data connection from the second time on, and so the
// first of all.
func TestListingByStat(t *testing.T) {
	e := newReal(t, lab.Options{Kind: lab.VSFTPD})
	mkdir(t, e, "large")
	mkdir(t, e, "[a] small * one")
	for i := range statMost + 1 {
		write(t, e, "large/f"+itoa(int64(i)), "x")
	}
	write(t, e, "[a] small * one/.hidden", "12")
	for _, c := range []struct {
		dir        string
		names      int
		stat, list int64
	}{{"/", 2, 0, 1}, {"/large", statMost + 1, 1, 0}, {"/large", statMost + 1, 0, 1}, {"/[a] small * one", 1, 1, 0}} {
		before := e.Stats().Commands
		l, err := e.List(e.ctx, c.dir)
		if err != nil || len(l.Entries) != c.names {
			t.Fatalf("%s: %+v, %v", c.dir, l, err)
		}
		if l.Bytes < int64(len("-rw-r--r--")*c.names) {
			t.Errorf("%s: %d bytes", c.dir, l.Bytes)
		}
		after := e.Stats().Commands
		if s, l := after["STAT"]-before["STAT"], after["LIST"]-before["LIST"]; s != c.stat || l != c.list {
			t.Errorf("%s: %d STAT, %d LIST", c.dir, s, l)
		}
	}
	before := e.Stats().Commands
	got, err := e.Stat(e.ctx, "/[a] small * one/.hidden")
	if err != nil || got.Size != 2 || !got.Exact || !got.HasMode {
		t.Errorf("Stat: %+v, %v", got, err)
	}
	_, err = e.Stat(e.ctx, "/[a] small * one/none")
	wantKind(t, "a name that is not there", err, KindNotFound)
	after := e.Stats().Commands
	if s, l := after["STAT"]-before["STAT"], after["LIST"]-before["LIST"]; s != 2 || l != 0 {
		t.Errorf("two names: %d STAT, %d LIST", s, l)
	}
	_, err = e.List(e.ctx, "/none")
	wantKind(t, "a folder that is not there", err, KindNotFound)
}

func TestTruncatedListing(t *testing.T) {
	e := newReal(t, lab.Options{Kind: lab.PureFTPd})
	for i := range 10_500 {
		f, err := os.Create(filepath.Join(e.root, "f"+itoa(int64(i))))
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	l, err := e.List(e.ctx, "/")
	if err != nil || !l.Truncated || len(l.Entries) > 10_000 {
		t.Errorf("%d entries, truncated %v, %v", len(l.Entries), l.Truncated, err)
	}
}

// Round trips that a caller waits for on a warm connection, with the data channel made ahead.
func TestRoundTrips(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		write(t, e, "f", "0123456789")
		if _, err := e.List(e.ctx, "/"); err != nil { // learns the zone
			t.Fatal(err)
		}
		when := probeTime
		for _, c := range []struct {
			what string
			most int64
			run  func(n string) error
		}{
			{"stat", 2, func(string) error { _, err := e.Stat(e.ctx, "/f"); return err }},
			{"list", 2, func(string) error { _, err := e.List(e.ctx, "/"); return err }},
			{"small file", 2, func(string) error { return readKnown(e, "/f", 10) }},
			{"create", 3, func(n string) error { return store(e, "/new"+n, Finish{Size: 4}) }},
			{"create with a time", 3, func(n string) error { return store(e, "/at"+n, Finish{Size: 4, Attrs: Attrs{ModTime: &when}}) }},
			{"mkdir", 1, func(n string) error { return e.Mkdir(e.ctx, "/d"+n) }},
			{"rmdir", 1, func(n string) error { return e.Rmdir(e.ctx, "/d"+n) }},
			{"rename", 1, func(n string) error { return e.Rename(e.ctx, "/new"+n, "/old"+n) }},
			{"unlink", 1, func(n string) error { return e.Remove(e.ctx, "/old"+n) }},
			{"utimes", 1, func(string) error { return e.SetAttrs(e.ctx, "/f", false, Attrs{ModTime: &when}) }},
		} {
			best := int64(1000)
			for i := range 5 {
				eventually(t, e, func(s Stats) bool {
					return s.Connections.Busy == 0 && s.DataChannels-s.Transfers >= int64(s.Connections.Idle)
				})
				before := e.Stats().Waits
				if err := c.run(itoa(int64(i))); err != nil {
					t.Errorf("%s: %v", c.what, err)
				}
				best = min(best, e.Stats().Waits-before)
			}
			if best > c.most {
				t.Errorf("%s: %d round trips, at most %d", c.what, best, c.most)
			}
		}
	})
}

func TestMkdirMode(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		atOnce := e.server().has("MLST", "unix.mode")
		for i, want := range []bool{atOnce, atOnce} {
			name := "/d" + itoa(int64(i))
			before := e.Stats().Waits
			set, err := e.MkdirMode(e.ctx, name, 0o710)
			if err != nil || set != want {
				t.Errorf("%s: set: %v, %v; want %v", name, set, err, want)
			}
			// None where the answer comes together with one that was waited for in the background.
			if waits := e.Stats().Waits - before; i > 0 && waits > 1 {
				t.Errorf("%s: %d round trips", name, waits)
			}
			if mode := uint32(0o710); !set {
				if err := e.SetAttrs(e.ctx, name, true, Attrs{Mode: &mode}); err != nil {
					t.Error(err)
				}
			}
			wantMode(t, e, name, 0o710)
		}
		theirsStay(t, e, func(name string) (bool, error) { return e.MkdirMode(e.ctx, name, 0o700) })
	})
}

// TestMkdirTold: the first folder of a mount costs no more round trips than the others.
func TestMkdirTold(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		atOnce := e.server().has("MLST", "unix.mode")
		for i, c := range []struct {
			name string
			mode uint32
			set  bool
		}{{"/usual", 0o755, false}, {"/d1", 0o710, atOnce}, {"/again", 0o710, atOnce}} {
			before := e.Stats()
			told, set, err := e.MkdirTold(e.ctx, c.name, c.mode)
			after := e.Stats()
			if err != nil || set != c.set || told == nil || told.Type != TypeDir || "/"+told.Name != c.name || told.HasMode && told.Mode != 0o755 {
				t.Fatalf("%s: set: %v, told: %+v, %v", c.name, set, told, err)
			}
			if waits := after.Waits - before.Waits; i > 0 && waits > 1 && e.server().mlst {
				t.Errorf("%s: %d round trips", c.name, waits)
			}
			if changed := after.Commands["SITE CHMOD"] > before.Commands["SITE CHMOD"]; changed != c.set {
				t.Errorf("%s: mode set %v, want %v", c.name, changed, c.set)
			}
			want := os.FileMode(0o755)
			if c.set {
				want = os.FileMode(c.mode)
			}
			wantMode(t, e, c.name, want)
		}
		theirsStay(t, e, func(name string) (bool, error) {
			_, set, err := e.MkdirTold(e.ctx, name, 0o700)
			return set, err
		})
	})
}

// theirsStay makes folders at names that another host has taken.
func theirsStay(t *testing.T, e *env, make func(name string) (set bool, err error)) {
	t.Helper()
	mkdir(t, e, "folder")
	mkdir(t, e, "open")
	write(t, e, "file", "x")
	others := map[string]os.FileMode{"folder": 0o755, "open": 0o777, "d1": 0o710, "file": 0o640}
	for name, mode := range others {
		if err := os.Chmod(filepath.Join(e.root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range others {
		set, err := make("/" + name)
		wantKind(t, name, err, KindExists)
		if set {
			t.Errorf("%s: set", name)
		}
		wantMode(t, e, name, mode)
	}
}

// wantMode checks a mode on the server's disk.
func wantMode(t *testing.T, e *env, name string, want os.FileMode) {
	t.Helper()
	if fi, err := os.Stat(filepath.Join(e.root, name)); err != nil || fi.Mode().Perm() != want {
		t.Errorf("%s: mode %v, %v; want %v", name, fi.Mode(), err, want)
	}
}

func readKnown(e *env, name string, size int64) error {
	d, err := e.Download(e.ctx, name, DownloadOptions{Length: -1, Size: size})
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.ReadAll(d)
	return err
}

func store(e *env, name string, f Finish) error {
	u, err := e.Upload(e.ctx, name, UploadOptions{})
	if err != nil {
		return err
	}
	if _, err := io.WriteString(u, "data"); err != nil {
		return err
	}
	_, err = u.Finish(e.ctx, f)
	return err
}

// TestRefusedListingKeepsTheSession: LIST goes out together with the CWD ahead of it, and a CWD that is refused must not
// cost the session that then lists another folder.
func TestRefusedListingKeepsTheSession(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			e := newReal(t, lab.Options{Kind: kind}, conns(0, 1))
			write(t, e, "f", "content")
			for range 20 {
				_, err := e.List(e.ctx, "/missing")
				wantKind(t, "List", err, KindNotFound)
				if l, err := e.List(e.ctx, "/"); err != nil || len(l.Entries) != 1 {
					t.Fatalf("List: %+v, %v", l, err)
				}
			}
			if n := e.Stats().Logins; n != 1 {
				t.Errorf("%d logins", n)
			}
		})
	}
}
