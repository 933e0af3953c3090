package content

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool"
)

// servers are the kinds of servers that a test of changes runs on.
var servers = map[string]quirks{
	"all":                {},
	"pure":               {restTruncates: true},
	"proftpd default":    {noAppend: true, noRest: true, noOverwrite: true},
	"no rename over":     {noOverwrite: true},
	"no dot":             {noDot: true},
	"sticky":             {stickyRename: true},
	"no rename":          {noRenameAtAll: true},
	"fixed folder":       {fixedFolder: "/d"},
	"one connection":     {conns: 1},
	"one, cannot resume": {conns: 1, noAppend: true, noRest: true},
	"no chmod":           {noChmod: true},
}

func eachServer(t *testing.T, run func(t *testing.T, k *kit)) {
	for name, q := range servers {
		t.Run(name, func(t *testing.T) { run(t, newKit(t, q)) })
	}
}

func TestChangeInTheMiddle(t *testing.T) {
	eachServer(t, func(t *testing.T, k *kit) {
		want := pattern(7, 3<<20)
		k.srv.put("/d/a", string(want))
		k.srv.put("/d/b", "neighbour")
		_, f, h := k.existing("/d/a", OpenFlags{Read: true, Write: true})
		copy(want[1<<20:], "changed")
		k.write(h, 1<<20, "changed")
		same(t, "handle", []byte(k.read(h, 0, 4<<20)), want)
		k.flush(h)
		same(t, "server", []byte(k.srv.content("/d/a")), want)
		want = append(want, "tail"...)
		k.write(h, 3<<20, "tail")
		k.done(f, h)
		same(t, "server", []byte(k.srv.content("/d/a")), want)
		saved := k.srv.q.fixedFolder != "" || k.srv.q.noRenameAtAll || k.srv.q.stickyRename // the old content, too
		if _, read := k.srv.traffic(); !saved && read > 3<<20+1<<19 {
			t.Errorf("%d bytes read", read)
		}
		k.wantNames("/d/a", "/d/b")
	})
}

func TestReplaceEverywhere(t *testing.T) {
	eachServer(t, func(t *testing.T, k *kit) {
		for _, size := range []int{0, 100, 2 << 20} {
			k.srv.put("/d/a", strings.Repeat("old ", 1000))
			_, f, h := k.existing("/d/a", OpenFlags{Write: true, Truncate: true})
			data := k.fill(h, 0, size, 1<<16)
			k.flush(h)
			same(t, "server", []byte(k.srv.content("/d/a")), data)
			data = append(data, k.fill(h, int64(size), 1000, 100)...)
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/d/a")), data)
			k.wantNames("/d/a")
		}
	})
}

func TestPatchOfOwnStream(t *testing.T) {
	eachServer(t, func(t *testing.T, k *kit) {
		if k.srv.q.fixedFolder != "" {
			k.srv.put("/d/a", "")
			k.srv.set(func(q *quirks) { q.noDot = false })
		}
		k.srv.put("/d/a", "x")
		_, f, h := k.existing("/d/a", OpenFlags{Write: true, Read: true, Truncate: true})
		want := k.fill(h, 0, 5<<20, 1<<16)
		copy(want[10:], "HEADER")
		k.write(h, 10, "HEADER")
		copy(want[4<<20:], "LATER")
		k.write(h, 4<<20, "LATER")
		k.done(f, h)
		same(t, "server", []byte(k.srv.content("/d/a")), want)
		if sent, _ := k.srv.traffic(); k.srv.q == (quirks{}) && sent > 5<<20+100 {
			t.Errorf("%d bytes sent", sent)
		}
	})
}

func TestTruncate(t *testing.T) {
	eachServer(t, func(t *testing.T, k *kit) {
		data := pattern(0, 1<<20)
		k.srv.put("/d/a", string(data))
		_, f, h := k.existing("/d/a", OpenFlags{Read: true, Write: true})
		for _, size := range []int64{1 << 19, 1 << 19, 3 << 19, 100, 5000} {
			if err := f.Truncate(bg, size); err != nil {
				t.Fatal(err)
			}
			if int64(len(data)) >= size {
				data = data[:size:size]
			} else {
				data = append(data, make([]byte, size-int64(len(data)))...)
			}
			if e := f.Entry(); e.Size != size {
				t.Fatalf("size %d, want %d", e.Size, size)
			}
			same(t, "handle", []byte(k.read(h, 0, 4<<20)), data)
			k.flush(h)
			same(t, "server", []byte(k.srv.content("/d/a")), data)
		}
		h.Release()
		if err := f.Truncate(bg, 10); err != nil { // truncate(2)
			t.Fatal(err)
		}
		f.Close()
		same(t, "server", []byte(k.srv.content("/d/a")), data[:10])
	})
}

func TestSparseWrites(t *testing.T) {
	eachServer(t, func(t *testing.T, k *kit) {
		if k.srv.q.fixedFolder != "" {
			k.srv.put("/d/a", "")
		}
		_, f, h := k.create("/d/a")
		want := make([]byte, 2<<20)
		r := rand.New(rand.NewPCG(1, 2))
		for range 50 {
			off := r.Int64N(2<<20 - 9000)
			p := k.fill(h, off, 1+r.IntN(9000), 4096)
			copy(want[off:], p)
			want = want[:max(len(want), int(off)+len(p))]
		}
		if err := f.Truncate(bg, 2<<20); err != nil {
			t.Fatal(err)
		}
		k.done(f, h)
		same(t, "server", []byte(k.srv.content("/d/a")), want)
	})
}

func TestCopyOnOneConnection(t *testing.T) {
	for _, name := range []string{"one connection", "one, cannot resume"} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, servers[name])
			data := pattern(3, 6<<20)
			k.srv.put("/a", string(data))
			_, fa, ha := k.existing("/a", OpenFlags{Read: true})
			_, fb, hb := k.create("/b")
			for off := 0; off < len(data); off += 1 << 20 {
				k.write(hb, int64(off), k.read(ha, int64(off), 1<<20))
			}
			k.done(fa, ha)
			k.done(fb, hb)
			same(t, "server", []byte(k.srv.content("/b")), data)
		})
	}
}

func TestReplaceInPlaceOption(t *testing.T) {
	for name, q := range map[string]quirks{"all": {}, "pure": {restTruncates: true}, "no overwrite": {noOverwrite: true, noAppend: true, noRest: true}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, q, func(c *Config) { c.Replace = ReplaceInPlace })
			data := pattern(1, 1<<20)
			k.srv.put("/a", string(data))
			_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true})
			copy(data[5000:], "patch")
			k.write(h, 5000, "patch")
			k.flush(h)
			same(t, "server", []byte(k.srv.content("/a")), data)
			if sent, read := k.srv.traffic(); name == "all" && (sent != 5 || read != 0) {
				t.Errorf("%d bytes sent, %d read", sent, read)
			}
			if err := f.Truncate(bg, 0); err != nil {
				t.Fatal(err)
			}
			k.write(h, 0, "new")
			k.done(f, h)
			k.want("/a", "new")
			k.wantNames("/a")
		})
	}
}

func TestSetAttrsOfCleanFile(t *testing.T) {
	k := newKit(t, quirks{noChmod: true})
	k.srv.put("/a", "x")
	_, f, h := k.existing("/a", OpenFlags{Read: true})
	mode := uint32(0o600)
	if err := f.SetAttrs(bg, pool.Attrs{Mode: &mode}); kind(err) != pool.KindUnsupported {
		t.Fatalf("chmod: %v", err)
	}
	k.done(f, h)
	_, f, h = k.create("/b")
	if err := f.SetAttrs(bg, pool.Attrs{Mode: &mode}); kind(err) != pool.KindUnsupported {
		t.Fatalf("chmod of a new file: %v", err)
	}
	k.done(f, h)
	k.want("/b", "")
}
