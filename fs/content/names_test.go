package content

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestTempMount(t *testing.T) {
	for name, want := range map[string]string{
		".ftpsfs-0123abcd-7z": "0123abcd", "ftpsfs-89abcdef-1.tmp": "89abcdef", ".ftpsfs-probe-01234567": "", "file": "", ".ftpsfs-": "",
	} {
		if got := TempMount(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestIsTemp(t *testing.T) {
	var s Store
	for name, want := range map[string]bool{
		".ftpsfs-0123abcd-1": true, ".ftpsfs-0123abcd-zz9": true, "ftpsfs-0123abcd-1.tmp": true,
		"ftpsfs-0123abcd-1": false, ".ftpsfs-0123abcd-": false, ".ftpsfs-0123ABCD-1": false, ".ftpsfs": false, "": false,
		".ftpsfs-0123abcd-1.tmp": false, "x.ftpsfs-0123abcd-1": false, ".ftpsfs-0123abcd-1\n": false,
	} {
		if got := s.IsTemp(name); got != want {
			t.Errorf("IsTemp(%q) = %v", name, got)
		}
	}
	n := namer{mount: newMountID()}
	a, b := n.next("/d"), n.next("/d")
	n.plain.Store(true)
	c := n.next("/")
	if a == b || a[:3] != "/d/" || !s.IsTemp(a[3:]) || !s.IsTemp(c[1:]) || len(a) > 40 {
		t.Errorf("%q %q %q", a, b, c)
	}
}

func TestUnlinkOpenFile(t *testing.T) {
	for name, write := range map[string]int{"not sent": 100, "streaming": 1 << 20, "window left behind": 5 << 20} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, quirks{})
			n, f, h := k.create("/a")
			data := k.fill(h, 0, write, 1<<16)
			k.unlink(n, f)
			if k.srv.content("/a") != "absent" {
				t.Fatal("still there")
			}
			data = append(data, k.fill(h, int64(write), 3<<20, 1<<16)...)
			same(t, "handle", []byte(k.read(h, 0, len(data)+1)), data)
			k.done(f, h)
			k.wantNames()
		})
	}
}

// unlink is what fs does.
func unlink(r Remote, n *node, f *File) error {
	handled, err := f.Unlink(bg)
	if err != nil {
		return err
	}
	n.unlink()
	if handled {
		return nil
	}
	return r.Remove(bg, n.path)
}

func (k *kit) unlink(n *node, f *File) {
	k.t.Helper()
	if err := unlink(k.srv, n, f); err != nil {
		k.t.Fatal(err)
	}
}

func TestUnlinkReader(t *testing.T) {
	k := newKit(t, quirks{})
	data := pattern(0, 3<<20)
	k.srv.put("/d/a", string(data))
	n, f, h := k.existing("/d/a", OpenFlags{Read: true})
	same(t, "head", []byte(k.read(h, 0, 1000)), data[:1000])
	k.unlink(n, f)
	if _, read := k.srv.traffic(); read > 2<<20 {
		t.Errorf("%d bytes downloaded", read)
	}
	if names := k.srv.names(); len(names) != 1 || !k.s.IsTemp(names[0][3:]) {
		t.Fatalf("names %q", names)
	}
	// Another file may take the name, and the folder may go.
	_, f2, h2 := k.create("/d/a")
	k.write(h2, 0, "new")
	k.done(f2, h2)
	if err := k.s.BeforeRmdir(bg, "/d"); err != nil {
		t.Fatal(err)
	}
	if names := k.srv.names(); len(names) != 2 || names[1] != "/d/a" {
		t.Fatalf("names %q", names)
	}
	same(t, "all", []byte(k.read(h, 0, 4<<20)), data)
	k.done(f, h)
	k.wantNames("/d/a")
	k.want("/d/a", "new")
}

func TestUnlinkPendingReplacement(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "old")
	n, f, h := k.existing("/a", OpenFlags{Read: true, Write: true, Truncate: true})
	data := k.fill(h, 0, 2<<20, 1<<16)
	k.unlink(n, f)
	same(t, "handle", []byte(k.read(h, 0, 3<<20)), data)
	k.done(f, h)
	k.wantNames()
}

func TestUnlinkClosedFile(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "old")
	n, f, h := k.existing("/a", OpenFlags{Read: true})
	h.Release()
	k.unlink(n, f)
	f.Close()
	k.wantNames()
}

// rename is what fs does.
func (k *kit) rename(from, to string, moved *node, replaced *node) {
	k.t.Helper()
	r, err := k.s.BeforeRename(bg, from, to)
	if err != nil {
		k.t.Fatal(err)
	}
	if err := r.Do(bg); err != nil {
		r.Done(false)
		k.t.Fatal(err)
	}
	if replaced != nil {
		replaced.unlink()
	}
	moved.move(to)
	r.Done(true)
}

func TestRenameOpenFile(t *testing.T) {
	for name, q := range map[string]quirks{"all": {}, "neither": {noAppend: true, noRest: true}} {
		for what, size := range map[string]int{"created": 0, "small": 10, "streaming": 2 << 20} {
			t.Run(name+" "+what, func(t *testing.T) {
				k := newKit(t, q)
				n, f, h := k.create("/a")
				data := k.fill(h, 0, size, 1<<16)
				k.rename("/a", "/b", n, nil)
				data = append(data, k.fill(h, int64(size), 1<<20, 1<<16)...)
				same(t, "handle", []byte(k.read(h, 0, 4<<20)), data)
				k.done(f, h)
				same(t, "server", []byte(k.srv.content("/b")), data)
				k.wantNames("/b")
			})
		}
	}
}

func TestRenameDuringReplacement(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/d/a", "old")
	n, f, h := k.existing("/d/a", OpenFlags{Write: true, Truncate: true})
	data := k.fill(h, 0, 1<<20, 1<<16)
	k.rename("/d/a", "/e/b", n, nil)
	k.want("/e/b", "old")
	if err := k.s.BeforeRmdir(bg, "/d"); err != nil { // the temporary file is still there
		t.Fatal(err)
	}
	for _, name := range k.srv.names() {
		if below(name, "/d") {
			t.Errorf("%s is in the way of rmdir", name)
		}
	}
	data = append(data, k.fill(h, 1<<20, 1<<20, 1<<16)...)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/e/b")), data)
	k.wantNames("/e/b")
}

func TestRenameFolderAbove(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/d/old", "old")
	k.srv.put("/d/read", string(pattern(0, 1<<20)))
	k.srv.put("/d/hidden", string(pattern(5, 1<<20)))
	n1, f1, h1 := k.create("/d/new")
	n2, f2, h2 := k.existing("/d/old", OpenFlags{Write: true, Truncate: true})
	n3, f3, h3 := k.existing("/d/read", OpenFlags{Read: true})
	n4, f4, h4 := k.existing("/d/hidden", OpenFlags{Read: true})
	data1 := k.fill(h1, 0, 1<<20, 1<<16)
	data2 := k.fill(h2, 0, 1<<20, 1<<16)
	k.read(h3, 0, 10)
	k.unlink(n4, f4)
	r, err := k.s.BeforeRename(bg, "/d", "/x/y")
	if err != nil {
		t.Fatal(err)
	}
	k.srv.renameDir("/d", "/x/y")
	n1.move("/x/y/new")
	n2.move("/x/y/old")
	n3.move("/x/y/read")
	r.Done(true)
	data1 = append(data1, k.fill(h1, 1<<20, 1<<20, 1<<16)...)
	data2 = append(data2, k.fill(h2, 1<<20, 1<<20, 1<<16)...)
	same(t, "read", []byte(k.read(h3, 1000, 1<<20)), pattern(1000, 1<<20-1000))
	same(t, "hidden", []byte(k.read(h4, 0, 1<<20)), pattern(5, 1<<20))
	k.done(f1, h1)
	k.done(f2, h2)
	k.done(f3, h3)
	k.done(f4, h4)
	same(t, "new", []byte(k.srv.content("/x/y/new")), data1)
	same(t, "old", []byte(k.srv.content("/x/y/old")), data2)
	k.wantNames("/x/y/new", "/x/y/old", "/x/y/read")
}

func TestRenameOverWhereRefused(t *testing.T) {
	k := newKit(t, quirks{noOverwrite: true})
	k.srv.put("/a", "old")
	k.srv.put("/b", "new")
	na, fa, ha := k.existing("/a", OpenFlags{Read: true})
	k.rename("/b", "/a", &node{path: "/b"}, na)
	if got := k.read(ha, 0, 10); got != "old" {
		t.Fatalf("replaced file reads %q", got)
	}
	k.done(fa, ha)
	k.srv.put("/c", "newer")
	k.rename("/c", "/a", &node{path: "/c"}, nil)
	k.want("/a", "newer")
	k.wantNames("/a")
	k.srv.set(func(q *quirks) { q.noOverwrite, q.stickyRename = false, true })
	k.srv.put("/d", "x")
	r, err := k.s.BeforeRename(bg, "/d", "/a")
	if err != nil {
		t.Fatal(err)
	}
	k.s.noReplace.Store(false)
	if err := r.Do(bg); kind(err) != pool.KindPermission { // it can, but not this one
		t.Fatalf("rename: %v", err)
	}
	r.Done(false)
	k.want("/a", "newer")
}

func TestRenameOverOpenFile(t *testing.T) {
	k := newKit(t, quirks{})
	old := pattern(0, 1<<20)
	k.srv.put("/a", string(old))
	k.srv.put("/b", "new")
	na, fa, ha := k.existing("/a", OpenFlags{Read: true})
	nb, fb, hb := k.existing("/b", OpenFlags{Read: true, Write: true})
	k.write(hb, 3, "er")
	k.rename("/b", "/a", nb, na)
	same(t, "replaced", []byte(k.read(ha, 0, 2<<20)), old)
	k.done(fa, ha)
	k.done(fb, hb)
	k.want("/a", "newer")
	k.wantNames("/a")
}

func TestRenameRefused(t *testing.T) {
	k := newKit(t, quirks{})
	old := pattern(0, 1<<20)
	k.srv.put("/a", string(old))
	_, fa, ha := k.existing("/a", OpenFlags{Read: true, Write: true})
	r, err := k.s.BeforeRename(bg, "/missing", "/a")
	if err != nil {
		t.Fatal(err)
	}
	if err := k.srv.Rename(bg, "/missing", "/a"); kind(err) != pool.KindNotFound {
		t.Fatal(err)
	}
	r.Done(false)
	same(t, "server", []byte(k.srv.content("/a")), old)
	k.write(ha, 0, "x")
	old[0] = 'x'
	k.done(fa, ha)
	same(t, "server", []byte(k.srv.content("/a")), old)
	k.wantNames("/a")
}

// TestAppendAfterUnlink: a file without a name goes on for those who write it, in whatever state it was.
func TestAppendAfterUnlink(t *testing.T) {
	for _, name := range []string{"all", "pure", "one, cannot resume", "no chmod"} {
		q := servers[name]
		for _, size := range []int{0, 10, 700_000, 3 << 20} {
			for _, read := range []bool{false, true} {
				for _, flushed := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d/read %v/flushed %v", name, size, read, flushed), func(t *testing.T) {
						k := newKit(t, q)
						k.srv.put("/d/a", strings.Repeat("x", size))
						n, f, h := k.existing("/d/a", OpenFlags{Read: read, Write: true, Append: true})
						want := append([]byte(strings.Repeat("x", size)), k.fill(h, 0, size, 1<<16)...)
						if flushed {
							k.flush(h)
						}
						k.unlink(n, f)
						for _, size := range []int{100, 2 << 20} {
							want = append(want, k.fill(h, 0, size, 1<<16)...)
							k.flush(h)
						}
						if err := f.Truncate(bg, int64(len(want)+10)); err != nil {
							t.Fatal(err)
						}
						k.write(h, 0, "end")
						if read {
							want = append(append(want, make([]byte, 10)...), "end"...)
							same(t, "handle", []byte(k.read(h, 0, len(want)+1)), want)
						}
						k.done(f, h)
						k.wantNames()
					})
				}
			}
		}
	}
}
