package content

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestCutStreamGoesOn(t *testing.T) {
	for name, q := range map[string]quirks{"rest": {}, "append only": {noRest: true}, "pure": {restTruncates: true}} {
		t.Run(name, func(t *testing.T) {
			q.cuts, q.cutAt, q.cutKeeps = 4, 900_000, 123_456
			k := newKit(t, q)
			_, f, h := k.create("/a")
			data := k.fill(h, 0, 6<<20, 1<<16)
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/a")), data)
			if r := k.s.Stats().Resumed; r != 4 {
				t.Errorf("resumed %d times", r)
			}
		})
	}
}

func TestCutBehindReplayIsLost(t *testing.T) {
	k := newKit(t, quirks{cuts: 1, cutAt: 3 << 20, cutKeeps: 2 << 20})
	k.srv.put("/a", "old")
	_, f, h := k.existing("/a", OpenFlags{Write: true, Truncate: true})
	other := k.handle(f, OpenFlags{Write: true})
	var err error
	for off := int64(0); off < 6<<20 && err == nil; off += 1 << 16 {
		_, err = h.WriteAt(bg, pattern(off, 1<<16), off)
	}
	if kind(err) != pool.KindIncomplete {
		t.Fatalf("write: %v", err)
	}
	if err := h.Flush(bg, nil); err == nil {
		t.Fatal("close succeeds though content is lost")
	}
	if err := other.Flush(bg, nil); err == nil {
		t.Fatal("the other descriptor is not told")
	}
	k.want("/a", "old")
	if err := f.Truncate(bg, 0); err != nil {
		t.Fatal(err)
	}
	k.write(h, 0, "again")
	other.Release()
	k.done(f, h)
	k.want("/a", "again")
}

// TestReplacedObjectIsNotContinued: a cut upload is continued, and goes into a new file that came in the place of the old one. What
// that has up to its size is not what was sent up to there.
func TestReplacedObjectIsNotContinued(t *testing.T) {
	k := newKit(t, quirks{cuts: 1, cutAt: 400_000, cutKeeps: 100_000, replaced: 1})
	_, f, h := k.create("/a")
	data := k.fill(h, 0, 700_000, 1<<16)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), data)
	if r := k.s.Stats().Resumed; r != 2 {
		t.Errorf("resumed %d times", r)
	}
}

func TestCutBeforeReply(t *testing.T) {
	k := newKit(t, quirks{cutFinish: 1})
	_, f, h := k.create("/a")
	data := k.fill(h, 0, 2<<20, 1<<20)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), data)
}

func TestSilentTruncationIsMended(t *testing.T) {
	k := newKit(t, quirks{silentTruncate: 5000})
	_, f, h := k.create("/a")
	data := k.fill(h, 0, 2<<20, 1<<20)
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), data)
}

func TestDiskFull(t *testing.T) {
	for name, q := range map[string]quirks{"all": {disk: 2 << 20}, "fixed folder": {disk: 2 << 20, fixedFolder: "/"}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, q)
			old := string(pattern(9, 100_000))
			k.srv.put("/a", old)
			_, f, h := k.existing("/a", OpenFlags{Write: true, Truncate: true})
			var err error
			for off := int64(0); off < 6<<20 && err == nil; off += 1 << 16 {
				_, err = h.WriteAt(bg, pattern(off, 1<<16), off)
			}
			if kind(err) != pool.KindNoSpace {
				t.Fatalf("write: %v", err)
			}
			if err := h.Flush(bg, nil); kind(err) != pool.KindNoSpace {
				t.Fatalf("close: %v", err)
			}
			h.Release()
			f.Close()
			same(t, "server", []byte(k.srv.content("/a")), []byte(old))
			k.wantNames("/a")
		})
	}
}

// TestTornContentDoesNotReplace: after a write that failed the old content stays, also when the server would take the rest by
// then, until the program has written what it could not.
func TestTornContentDoesNotReplace(t *testing.T) {
	for name, again := range map[string]bool{"given up": false, "written again": true} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, quirks{disk: 2 << 20})
			old := pattern(9, 100_000)
			k.srv.put("/a", string(old))
			_, f, h := k.existing("/a", OpenFlags{Write: true, Truncate: true})
			var got []byte
			var err error
			for n := 0; err == nil; got = append(got, pattern(int64(len(got)), 1<<16)[:n]...) {
				n, err = h.WriteAt(bg, pattern(int64(len(got)), 1<<16), int64(len(got)))
			}
			k.srv.set(func(q *quirks) { q.disk = 0 })
			if err := h.Flush(bg, nil); kind(err) != pool.KindNoSpace {
				t.Fatalf("close: %v", err)
			}
			same(t, "server", []byte(k.srv.content("/a")), old)
			if !again {
				h.Release()
				f.Close()
				same(t, "server", []byte(k.srv.content("/a")), old)
				return
			}
			got = append(got, k.fill(h, int64(len(got)), 1<<16, 1<<16)...)
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/a")), got)
		})
	}
}

func TestDiskFullStaged(t *testing.T) {
	k := newKit(t, quirks{disk: 1500_000})
	old := pattern(9, 1_000_000)
	k.srv.put("/a", string(old))
	_, f, h := k.existing("/a", OpenFlags{Write: true})
	k.write(h, 5000, "new")
	if err := h.Flush(bg, nil); kind(err) != pool.KindNoSpace {
		t.Fatalf("close: %v", err)
	}
	same(t, "server", []byte(k.srv.content("/a")), old)
	k.srv.set(func(q *quirks) { q.disk = 0 })
	k.done(f, h) // tried again
	copy(old[5000:], "new")
	same(t, "server", []byte(k.srv.content("/a")), old)
}

func TestErrorIsReportedOncePerHandle(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h1 := k.create("/a")
	h2 := k.handle(f, OpenFlags{Write: true})
	k.write(h1, 0, "hello")
	k.srv.set(func(q *quirks) { q.failFinish = fail(pool.KindQuota, "store", "/a") })
	if err := h1.Flush(bg, nil); kind(err) != pool.KindQuota {
		t.Fatalf("first handle: %v", err)
	}
	if err := h1.Flush(bg, nil); err != nil {
		t.Fatalf("first handle again: %v", err)
	}
	if err := h2.Flush(bg, nil); kind(err) != pool.KindQuota {
		t.Fatalf("second handle: %v", err)
	}
	k.flush(h2)
	k.want("/a", "hello")
	h2.Release()
	k.done(f, h1)
}

func TestLateDataGoesToRecovery(t *testing.T) {
	for name, off := range map[string]int64{"in memory": 2000, "staged": 1000} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, quirks{})
			old := pattern(1, 2000)
			k.srv.put("/a", string(old))
			_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true})
			k.flush(h)
			want := k.fill(h, off, 5000, 4096) // mmap, after close
			k.srv.set(func(q *quirks) { q.disk = 10 })
			h.Release()
			f.Close()
			k.want("/a", string(old))
			if k.s.Stats().Recovered != 1 {
				t.Fatal("not kept")
			}
			found := false
			err := filepath.Walk(k.stage.RecoveryDir(), func(p string, info os.FileInfo, err error) error {
				if err == nil && info.Size() == off+5000 {
					b, err := os.ReadFile(p)
					if err != nil {
						return err
					}
					same(t, "kept", b[off:], want)
					found = true
				}
				return err
			})
			if err != nil || !found {
				t.Fatalf("not in the recovery folder: %v", err)
			}
		})
	}
}

func TestLateDataIsSent(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "old content")
	_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true})
	k.flush(h)
	k.write(h, 4, "CONTENT")
	h.Release()
	f.Close()
	k.want("/a", "old CONTENT")
}

func TestChangedUnderneath(t *testing.T) {
	k := newKit(t, quirks{})
	old := string(pattern(0, 400_000))
	k.srv.put("/a", old)
	_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true})
	k.write(h, 7, "seven")
	k.srv.put("/a", strings.Repeat("z", 400_000))
	if err := h.Flush(bg, nil); kind(err) != pool.KindChanged {
		t.Fatalf("close: %v", err)
	}
	h.Release()
	f.Close()
	k.want("/a", strings.Repeat("z", 400_000))
	if k.s.Stats().Recovered != 1 {
		t.Error("our content was not kept")
	}
}

func TestRevalidate(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "first")
	_, f, h := k.existing("/a", OpenFlags{Read: true})
	if got := k.read(h, 0, 10); got != "first" {
		t.Fatal(got)
	}
	if f.Revalidate(k.srv.put("/a", "second")) != true {
		t.Fatal("change not seen")
	}
	if _, err := h.ReadAt(bg, make([]byte, 5), 0); kind(err) != pool.KindChanged {
		t.Fatalf("old handle: %v", err)
	}
	h2 := k.handle(f, OpenFlags{Read: true})
	if got := k.read(h2, 0, 10); got != "second" {
		t.Fatal(got)
	}
	h2.Release()
	k.done(f, h)
}

func TestCanceledFlushGoesOn(t *testing.T) {
	k := newKit(t, quirks{conns: 1})
	id, err := k.srv.take(bg, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, f, h := k.create("/a")
	k.write(h, 0, "hello")
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if err := h.Flush(ctx, nil); kind(err) != pool.KindCanceled {
		t.Fatalf("flush: %v", err)
	}
	if _, err := h.ReadAt(ctx, make([]byte, 1), 0); kind(err) != pool.KindCanceled {
		t.Fatalf("read behind it: %v", err)
	}
	k.srv.give(id)
	k.done(f, h)
	k.want("/a", "hello")
}

func TestReadOnly(t *testing.T) {
	k := newKit(t, quirks{}, func(c *Config) { c.ReadOnly = true; c.Stage = nil })
	k.srv.put("/a", "x")
	_, f, h := k.existing("/a", OpenFlags{Read: true})
	if _, err := f.Open(bg, OpenFlags{Write: true}); kind(err) != pool.KindReadOnly {
		t.Fatal(err)
	}
	if err := f.Truncate(bg, 0); kind(err) != pool.KindReadOnly {
		t.Fatal(err)
	}
	if got := k.read(h, 0, 10); got != "x" {
		t.Fatal(got)
	}
	k.done(f, h)
}

func TestRenameReplyLost(t *testing.T) {
	k := newKit(t, quirks{renameCut: 1})
	k.srv.put("/a", "old")
	_, f, h := k.existing("/a", OpenFlags{Write: true, Truncate: true})
	k.write(h, 0, "new")
	k.done(f, h)
	k.want("/a", "new")
	k.wantNames("/a")
}

func TestErrorsNameNothingInternal(t *testing.T) {
	for _, err := range []error{errStage, errAgain, errOpenStream, errNoResume, errNoReplace} {
		var e *pool.Error
		if errors.As(err, &e) {
			t.Errorf("%v could leave the package", err)
		}
	}
}

// panicking is a Remote with a mistake in it.
type panicking struct {
	Remote
	on atomic.Bool
}

func (r *panicking) Upload(ctx context.Context, path string, o pool.UploadOptions) (pool.Upload, error) {
	if r.on.Load() {
		panic("a mistake")
	}
	return r.Remote.Upload(ctx, path, o)
}

func TestPanic(t *testing.T) {
	remote := &panicking{}
	k := newKit(t, quirks{}, func(c *Config) { remote.Remote, c.Remote = c.Remote, remote })
	_, other, oh := k.create("/other")
	k.write(oh, 0, "of somebody else")
	_, f, h := k.create("/a")
	k.write(h, 0, "content")
	remote.on.Store(true)
	ctx, cancel := context.WithCancel(bg) // as a caller who may go: the operation has its own goroutine
	defer cancel()
	for _, ctx := range []context.Context{bg, ctx} {
		if err := h.Flush(ctx, nil); !errors.Is(err, errPanic) {
			t.Fatalf("flush: %v", err)
		}
	}
	remote.on.Store(false)
	if err := h.Flush(bg, nil); !errors.Is(err, errPanic) {
		t.Fatalf("the content is uncertain, and still: %v", err)
	}
	k.done(other, oh)
	k.want("/other", "of somebody else")
	h.Release()
	f.Close()
	k.want("/a", "absent")
	if st := k.s.Stats(); st.Recovered != 1 {
		t.Errorf("%d files in the recovery folder", st.Recovered)
	}
}

// TestWhatIsKeptOfAFailure: nothing of what the server's answer to is known to the writer, one copy of what failed on the
// way, everything that nobody knows of.
func TestWhatIsKeptOfAFailure(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fail  pool.Kind
		flush bool
		want  int // after three tries
	}{
		{"told, no space", pool.KindNoSpace, true, 0},
		{"told, too large", pool.KindTooLarge, true, 0},
		{"told, network", pool.KindTimeout, true, 1},
		{"not told, no space", pool.KindNoSpace, false, 3},
		{"not told, network", pool.KindTimeout, false, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newKit(t, quirks{})
			k.srv.put("/a", string(pattern(0, 1<<20)))
			for i := range 3 {
				k.srv.set(func(q *quirks) { q.failFinish = nil })
				_, f, h := k.existing("/a", OpenFlags{Read: true, Write: true})
				k.write(h, int64(5000*i), "changed")
				k.srv.set(func(q *quirks) { q.failFinish = fail(tc.fail, "store", "/a") })
				if tc.flush {
					if err := h.Flush(bg, nil); kind(err) != tc.fail {
						t.Fatalf("close: %v", err)
					}
				}
				h.Release()
				f.Close()
			}
			texts, err := filepath.Glob(filepath.Join(k.dir, "recovery", "*.txt"))
			if err != nil || len(texts) != tc.want {
				t.Errorf("kept: %q, %v", texts, err)
			}
			same(t, "server", []byte(k.srv.content("/a")), pattern(0, 1<<20))
		})
	}
}
