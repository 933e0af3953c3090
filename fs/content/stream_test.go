package content

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

var bg = context.Background()

func TestSmallFileIsOneUpload(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h := k.create("/a")
	k.write(h, 0, strings.Repeat("x", 4096))
	if calls := k.srv.calls(); len(calls) != 0 {
		t.Fatalf("before close: %q", calls)
	}
	k.done(f, h)
	if calls := k.srv.calls(); len(calls) != 2 || calls[0] != "upload /a 0 0" || calls[1] != "finish /a 4096" {
		t.Fatalf("calls %q", calls)
	}
	k.want("/a", strings.Repeat("x", 4096))
}

func moreToCome() bool { return true }

func TestEmptyFile(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h := k.create("/a")
	if err := h.Flush(bg, moreToCome); err != nil {
		t.Fatal(err)
	}
	k.want("/a", "absent")
	k.flush(h)
	k.want("/a", "")
	k.done(f, h)
	_, f, h = k.create("/b")
	if err := h.Flush(bg, moreToCome); err != nil {
		t.Fatal(err)
	}
	h.Release() // the descriptor that was to come did not
	f.Close()
	k.want("/b", "")
}

func TestStream(t *testing.T) {
	for _, piece := range []int{4096, 100_000, 1 << 20} {
		k := newKit(t, quirks{})
		_, f, h := k.create("/a")
		data := k.fill(h, 0, 5<<20+123, piece)
		if st := k.s.Stats(); st.Streams != 1 || st.Staged != 0 {
			t.Fatalf("not streaming: %+v", st)
		}
		if e := f.Entry(); e.Size != int64(len(data)) {
			t.Fatalf("size %d", e.Size)
		}
		k.done(f, h)
		same(t, "server", []byte(k.srv.content("/a")), data)
		if sent, _ := k.srv.traffic(); sent != int64(len(data)) {
			t.Fatalf("%d bytes sent", sent)
		}
	}
}

func TestReplaceKeepsOldUntilFlush(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "old content")
	k.srv.files["/a"].mode = 0o600
	_, f, h := k.existing("/a", OpenFlags{Write: true, Truncate: true})
	data := k.fill(h, 0, 1<<20, 1<<16)
	k.want("/a", "old content")
	k.flush(h)
	same(t, "server", []byte(k.srv.content("/a")), data)
	if m := k.srv.files["/a"].mode; m != 0o600 {
		t.Errorf("mode %o", m)
	}
	k.wantNames("/a")
	k.done(f, h)
}

func TestFlushInMidStream(t *testing.T) {
	for name, q := range map[string]quirks{"all": {}, "no append": {noAppend: true}, "no rest": {noRest: true}, "neither": {noAppend: true, noRest: true},
		"pure": {restTruncates: true}, "proftpd default": {noAppend: true, noRest: true, noOverwrite: true}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, q)
			_, f, h := k.create("/a")
			var all []byte
			for i := range 20 {
				all = append(all, k.fill(h, int64(len(all)), 50_000+i, 9000)...)
				if err := h.Fsync(bg); err != nil {
					t.Fatal(err)
				}
				same(t, "server", []byte(k.srv.content("/a")), all)
			}
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/a")), all)
			if !q.noAppend || !q.noRest {
				if sent, _ := k.srv.traffic(); sent != int64(len(all)) {
					t.Errorf("%d bytes sent for %d", sent, len(all))
				}
			}
		})
	}
}

func TestThousandFlushes(t *testing.T) {
	for name, q := range map[string]quirks{"append": {}, "whole only": {noAppend: true, noRest: true}} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, q)
			_, f, h := k.create("/a")
			var all []byte
			for range 1000 {
				all = append(all, k.fill(h, int64(len(all)), 2000, 2000)...)
				if err := h.Flush(bg, moreToCome); err != nil {
					t.Fatal(err)
				}
			}
			k.done(f, h)
			same(t, "server", []byte(k.srv.content("/a")), all)
			if sent, _ := k.srv.traffic(); sent > 2*int64(len(all)) {
				t.Errorf("%d bytes sent for %d", sent, len(all))
			}
		})
	}
}

func TestAppend(t *testing.T) {
	k := newKit(t, quirks{})
	k.srv.put("/a", "one ")
	_, f, h1 := k.existing("/a", OpenFlags{Write: true, Append: true})
	h2 := k.handle(f, OpenFlags{Write: true, Append: true})
	k.write(h1, 0, "two ")
	k.write(h2, 0, "three ")
	k.write(h1, 0, "four")
	k.flush(h1)
	k.want("/a", "one two three four")
	h2.Release()
	k.done(f, h1)
	if sent, _ := k.srv.traffic(); sent != 14 {
		t.Errorf("%d bytes sent", sent)
	}
}

func TestReadWhileStreaming(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h := k.create("/a")
	data := k.fill(h, 0, 4<<20, 1<<16)
	r := k.handle(f, OpenFlags{Read: true})
	same(t, "tail", []byte(k.read(r, 4<<20-5000, 10000)), data[4<<20-5000:])
	same(t, "head", []byte(k.read(r, 0, 10000)), data[:10000])
	data = append(data, k.fill(h, 4<<20, 2<<20, 1<<16)...)
	same(t, "all", []byte(k.read(r, 0, 6<<20)), data)
	r.Release()
	k.done(f, h)
	same(t, "server", []byte(k.srv.content("/a")), data)
}

func TestAttrsBeforeUploadSurvive(t *testing.T) {
	k := newKit(t, quirks{})
	_, f, h := k.create("/a")
	k.write(h, 0, "hello")
	when, mode := time.Unix(1_000_000_000, 0).UTC(), uint32(0o640)
	if err := f.SetAttrs(bg, pool.Attrs{ModTime: &when, Mode: &mode}); err != nil {
		t.Fatal(err)
	}
	if e := f.Entry(); !e.ModTime.Equal(when) || e.Mode != mode {
		t.Fatalf("entry %+v", e)
	}
	k.flush(h)
	if got := k.srv.files["/a"]; !got.mtime.Equal(when) || got.mode != mode {
		t.Fatalf("server %v %o", got.mtime, got.mode)
	}
	k.write(h, 5, " world")
	k.flush(h)
	if got := k.srv.files["/a"]; got.mtime.Equal(when) {
		t.Fatal("a write after utimes did not move the time")
	}
	k.done(f, h)
	if e := f.Entry(); !e.ModTime.Equal(k.srv.files["/a"].mtime) {
		t.Fatalf("entry %v, server %v", e.ModTime, k.srv.files["/a"].mtime)
	}
}
