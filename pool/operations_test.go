package pool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// dialects are the ways in which servers differ for every operation.
var dialects = map[string][]option{
	"MLSD, TLS 1.3": nil,
	"MLSD, TLS 1.2": {tls12},
	"LIST":          {listOnly},
}

func forDialects(t *testing.T, test func(t *testing.T, e *env)) {
	for name, options := range dialects {
		t.Run(name, func(t *testing.T) { test(t, newEnv(t, options...)) })
	}
	for _, kind := range lab.Real {
		for _, version := range []string{"1.2", "1.3"} {
			t.Run(string(kind)+" "+version, func(t *testing.T) {
				test(t, newReal(t, lab.Options{Kind: kind, Version: version}))
			})
		}
	}
}

func put(t *testing.T, e *env, name string, o UploadOptions, content []byte, f Finish) FinishResult {
	t.Helper()
	u, err := e.Upload(e.ctx, name, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(content); err != nil {
		t.Fatal(err)
	}
	res, err := u.Finish(e.ctx, f)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func fetch(t *testing.T, e *env, name string, o DownloadOptions) []byte {
	t.Helper()
	d, err := e.Download(e.ctx, name, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantKind(t *testing.T, what string, err error, want Kind) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error, want %q", what, want)
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

func TestRoundTrip(t *testing.T) {
	forDialects(t, func(t *testing.T, e *env) {
		content := bytes.Repeat([]byte("0123456789abcdef"), 100_000)
		mode, when := uint32(0o600), time.Date(2020, 2, 29, 1, 2, 3, 999, time.UTC)
		if err := e.Mkdir(e.ctx, "/d"); err != nil {
			t.Fatal(err)
		}
		res := put(t, e, "/d/.a file", UploadOptions{}, content, Finish{Size: -1, Attrs: Attrs{Mode: &mode}})
		if !res.Verified || res.Entry.Size != int64(len(content)) || res.Entry.ModTime.IsZero() || res.AttrsErr != nil {
			t.Errorf("Finish = %+v", res)
		}
		fi, err := os.Stat(filepath.Join(e.root, "d", ".a file"))
		if err != nil || fi.Mode() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		if got := fetch(t, e, "/d/.a file", DownloadOptions{Length: -1, Size: -1}); !bytes.Equal(got, content) {
			t.Errorf("read %d bytes back", len(got))
		}
		if got := fetch(t, e, "/d/.a file", DownloadOptions{Offset: 16, Length: 20, Size: -1}); string(got) != "0123456789abcdef0123" {
			t.Errorf("range = %q", got)
		}
		l, err := e.List(e.ctx, "/d")
		if err != nil || len(l.Entries) != 1 || l.Entries[0].Name != ".a file" || l.Entries[0].Size != int64(len(content)) {
			t.Errorf("List = %+v, %v", l, err)
		}
		if err := e.SetAttrs(e.ctx, "/d/.a file", false, Attrs{ModTime: &when}); err != nil {
			t.Error(err)
		}
		if got, err := e.Stat(e.ctx, "/d/.a file"); err != nil || !got.ModTime.Equal(when.Truncate(time.Second)) || !got.Exact || got.Name != ".a file" {
			t.Errorf("Stat = %+v, %v", got, err)
		}
		if err := e.Rename(e.ctx, "/d/.a file", "/b"); err != nil {
			t.Error(err)
		}
		if err := e.Rmdir(e.ctx, "/d"); err != nil {
			t.Error(err)
		}
		if err := e.Remove(e.ctx, "/b"); err != nil {
			t.Error(err)
		}
		left, err := e.List(e.ctx, "/")
		if err != nil || len(left.Entries) != 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
	})
}

func TestKinds(t *testing.T) {
	forDialects(t, func(t *testing.T, e *env) {
		write(t, e, "f", "x")
		mkdir(t, e, "d")
		mkdir(t, e, "full")
		write(t, e, "full/f", "x")
		_, serr := e.Stat(e.ctx, "/nothing")
		_, dirErr := e.Stat(e.ctx, "/f/below")
		_, lerr := e.List(e.ctx, "/nothing")
		_, lferr := e.List(e.ctx, "/f")
		_, derr := e.Download(e.ctx, "/nothing", DownloadOptions{Length: -1, Size: -1})
		_, dderr := e.Download(e.ctx, "/d", DownloadOptions{Length: -1, Size: -1})
		_, uerr := e.Upload(e.ctx, "/d", UploadOptions{})
		_, uperr := e.Upload(e.ctx, "/no/x", UploadOptions{})
		_, uferr := e.Upload(e.ctx, "/f/x", UploadOptions{})
		for _, c := range []struct {
			what string
			err  error
			want Kind
		}{
			{"stat nothing", serr, KindNotFound},
			{"list nothing", lerr, KindNotFound},
			{"list a file", lferr, KindNotDir},
			{"read nothing", derr, KindNotFound},
			{"read a folder", dderr, KindIsDir},
			{"store a folder", uerr, KindIsDir},
			{"store in nothing", uperr, KindNotFound},
			{"store in a file", uferr, KindNotDir},
			{"mkdir twice", e.Mkdir(e.ctx, "/d"), KindExists},
			{"mkdir on a file", e.Mkdir(e.ctx, "/f"), KindExists},
			{"mkdir in nothing", e.Mkdir(e.ctx, "/no/x"), KindNotFound},
			{"rmdir nothing", e.Rmdir(e.ctx, "/nothing"), KindNotFound},
			{"rmdir a file", e.Rmdir(e.ctx, "/f"), KindNotDir},
			{"rmdir full", e.Rmdir(e.ctx, "/full"), KindNotEmpty},
			{"remove nothing", e.Remove(e.ctx, "/nothing"), KindNotFound},
			{"remove a folder", e.Remove(e.ctx, "/d"), KindIsDir},
			{"rename nothing", e.Rename(e.ctx, "/nothing", "/q"), KindNotFound},
			{"rename a file onto a folder", e.Rename(e.ctx, "/f", "/d"), KindIsDir},
			{"rename a folder onto a file", e.Rename(e.ctx, "/d", "/f"), KindNotDir},
			{"rename a folder onto a full one", e.Rename(e.ctx, "/d", "/full"), KindNotEmpty},
			{"rename into nothing", e.Rename(e.ctx, "/f", "/no/x"), KindNotFound},
			{"a line end", e.Mkdir(e.ctx, "/a\nb"), KindInvalidName},
			{"a relative path", e.Mkdir(e.ctx, "a"), KindInvalidName},
		} {
			wantKind(t, c.what, c.err, c.want)
		}
		if dirErr == nil || !absent(dirErr) {
			t.Errorf("stat below a file: %v", dirErr)
		}
		if e, err := e.Stat(e.ctx, "/"); err != nil || e.Type != TypeDir {
			t.Errorf("root: %+v, %v", e, err)
		}
		for e.Stats().Connections.Busy != 0 { // the end of a listing is heard aside
			if e.ctx.Err() != nil {
				t.Fatalf("%d connections still held", e.Stats().Connections.Busy)
			}
			runtime.Gosched()
		}
	})
}

func TestStatMany(t *testing.T) {
	forDialects(t, func(t *testing.T, e *env) {
		var paths []string
		for i := range 1200 {
			name := "f" + itoa(int64(i))
			write(t, e, name, name)
			paths = append(paths, "/"+name)
		}
		paths = append(paths, "/nothing", "/")
		before := e.Stats().Waits
		rs, err := e.StatMany(e.ctx, paths)
		if err != nil {
			t.Fatal(err)
		}
		if waits := e.Stats().Waits - before; waits > 10 {
			t.Errorf("%d round trips for %d names", waits, len(paths))
		}
		for i := range 1200 {
			if rs[i].Err != nil || rs[i].Entry.Size != int64(len(paths[i])-1) || !rs[i].Entry.Exact {
				t.Fatalf("%s: %+v", paths[i], rs[i])
			}
		}
		wantKind(t, "nothing", rs[1200].Err, KindNotFound)
		if rs[1201].Entry.Type != TypeDir {
			t.Errorf("root: %+v", rs[1201])
		}
	})
}

func TestAppendAndResume(t *testing.T) {
	e := newEnv(t)
	put(t, e, "/f", UploadOptions{}, []byte("0123456789"), Finish{Size: 10})
	put(t, e, "/f", UploadOptions{Mode: UploadAppend}, []byte("ab"), Finish{Size: 12})
	put(t, e, "/f", UploadOptions{Mode: UploadAt, Offset: 4}, []byte("XY"), Finish{Size: 12})
	if got := fetch(t, e, "/f", DownloadOptions{Length: -1, Size: 12}); string(got) != "0123XY6789ab" {
		t.Errorf("got %q", got)
	}
	put(t, e, "/empty", UploadOptions{}, nil, Finish{Size: 0})
	if got := fetch(t, e, "/empty", DownloadOptions{Length: -1, Size: -1}); len(got) != 0 {
		t.Errorf("empty file reads %q", got)
	}
}

func TestFinishComparesSize(t *testing.T) {
	e := newEnv(t)
	u, err := e.Upload(e.ctx, "/f", UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	_, err = u.Finish(e.ctx, Finish{Size: 4})
	wantKind(t, "Finish", err, KindIncomplete)
}

func TestVerifyHash(t *testing.T) {
	e := newEnv(t, func(_ *embeddedConfig, pc *Config) { pc.Verify = VerifyHash })
	sum := sha256Of("content")
	res := put(t, e, "/a b", UploadOptions{}, []byte("content"), Finish{Size: 7, Sum: sum})
	if !res.Verified {
		t.Error("not verified")
	}
	u, err := e.Upload(e.ctx, "/f", UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write([]byte("another")); err != nil {
		t.Fatal(err)
	}
	_, err = u.Finish(e.ctx, Finish{Size: 7, Sum: sum})
	wantKind(t, "another content of the same size", err, KindIncomplete)
}

func TestDownloadKnowsTheEnd(t *testing.T) {
	e := newEnv(t)
	write(t, e, "f", "0123456789")
	d, err := e.Download(e.ctx, "/f", DownloadOptions{Length: -1, Size: 20})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b, err := io.ReadAll(d)
	if string(b) != "0123456789" {
		t.Errorf("got %q", b)
	}
	wantKind(t, "a file shorter than known", err, KindIncomplete)
	if b := fetch(t, e, "/nothing", DownloadOptions{Offset: 5, Length: 3, Size: 5}); len(b) != 0 {
		t.Errorf("behind the end: %q", b)
	}
}

// prepared waits until an idle connection has its data channel ahead of time.
func prepared(t *testing.T, e *env) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		e.mu.Lock()
		ready := slices.ContainsFunc(e.idle, func(c *conn) bool { return c.s.SpareReady() })
		e.mu.Unlock()
		if ready {
			return
		}
	}
	t.Fatal("no data channel was made ahead")
}

func TestDownloadExpectsTheFile(t *testing.T) {
	e := newEnv(t)
	write(t, e, "f", "0123456789")
	was, err := e.Stat(e.ctx, "/f")
	if err != nil {
		t.Fatal(err)
	}
	o := DownloadOptions{Offset: 4, Length: 3, Size: 10, Expect: &was}
	prepared(t, e)
	before := e.Stats().Waits
	if b := fetch(t, e, "/f", o); string(b) != "456" {
		t.Errorf("the same file: %q", b)
	}
	if with := e.Stats().Waits - before; with > 2 {
		t.Errorf("%d waits; the answer to the command and the first bytes are two", with)
	}
	for what, change := range map[string]func(*Entry){
		"another size": func(e *Entry) { e.Size = 11 },
		"another time": func(e *Entry) { e.ModTime = e.ModTime.Add(-time.Hour) },
	} {
		other := was
		change(&other)
		o.Expect = &other
		_, err := e.Download(e.ctx, "/f", o)
		wantKind(t, what, err, KindChanged)
	}
}

func TestCapabilities(t *testing.T) {
	e := newEnv(t)
	for _, c := range []struct {
		c    Capability
		want bool
	}{
		{CapAppend, true}, {CapResumeStore, true}, {CapKeepsTail, true}, {CapRenameReplace, true}, {CapSetModTime, true},
		{CapSetDirModTime, true}, {CapChmod, true}, {CapSymlink, false}, {CapExactTimes, true}, {CapVerify, true},
		{CapRenameOverDir, false}, {CapFoldsCase, false},
	} {
		if can, err := e.Can(e.ctx, c.c, "/"); err != nil || can != c.want {
			t.Errorf("Can(%v) = %v, %v, want %v", c.c, can, err, c.want)
		}
		if can, known := e.Known(c.c); !known || can != c.want {
			t.Errorf("Known(%v) = %v, %v", c.c, can, known)
		}
	}
	if left, err := os.ReadDir(e.root); err != nil || len(left) > 0 {
		t.Errorf("probes left %v, %v", left, err)
	}
}

func TestReadOnlyTriesNothing(t *testing.T) {
	e := newEnv(t, func(_ *embeddedConfig, pc *Config) { pc.ReadOnly = true })
	_, err := e.Can(e.ctx, CapAppend, "/")
	wantKind(t, "Can", err, KindReadOnly)
	_, err = e.Upload(e.ctx, "/f", UploadOptions{})
	wantKind(t, "Upload", err, KindReadOnly)
	if n := e.Stats().Commands["STOR"]; n != 0 {
		t.Errorf("%d STOR were sent", n)
	}
}

func TestLearnedIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "learned.json")
	var second Config
	e := newEnv(t, func(_ *embeddedConfig, pc *Config) { pc.LearnedFile = file; second = *pc })
	if can, err := e.Can(e.ctx, CapKeepsTail, "/"); err != nil || !can {
		t.Fatalf("Can = %v, %v", can, err)
	}
	e.Close()
	second.Session.Host, second.Session.Port = "127.0.0.1", e.srv.Addr().Port
	p, err := New(second)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Connect(e.ctx); err != nil {
		t.Fatal(err)
	}
	if can, known := p.Known(CapKeepsTail); !can || !known {
		t.Errorf("Known = %v, %v after a new start", can, known)
	}
}

func TestRoot(t *testing.T) {
	e := newEnv(t)
	if err := os.MkdirAll(filepath.Join(e.root, "sub", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, e, "sub/deep/f", "x")
	write(t, e, "file", "x")
	for root, want := range map[string]Kind{"sub/deep": KindOther, "/sub/deep/": KindOther, "missing": KindNotFound, "file": KindNotDir} {
		cfg := e.cfg
		cfg.Root = root
		p, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Connect(e.ctx)
		if want != KindOther {
			wantKind(t, root, err, want)
		} else if l, lerr := p.List(e.ctx, "/"); err != nil || lerr != nil || len(l.Entries) != 1 {
			t.Errorf("%s: %v, %+v, %v", root, err, l, lerr)
		}
		p.Close()
	}
}

func TestClosed(t *testing.T) {
	e := newEnv(t)
	u, err := e.Upload(e.ctx, "/f", UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	_, err = u.Finish(e.ctx, Finish{Size: -1})
	wantKind(t, "Finish", err, KindClosed)
	_, err = e.Stat(e.ctx, "/f")
	wantKind(t, "Stat", err, KindClosed)
	e.Close()
}

func TestCanceled(t *testing.T) {
	e := newEnv(t)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	_, err := e.Stat(ctx, "/f")
	wantKind(t, "Stat", err, KindCanceled)
	if _, err := e.Stat(e.ctx, "/"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestCheck(t *testing.T) {
	e := newEnv(t)
	write(t, e, "f", "x")
	write(t, e, probePrefix+"1", "x")
	write(t, e, "temp", "x")
	r, err := e.Check(e.ctx, CheckOptions{Temp: func(name string) (Owner, bool) { return OfEarlier, name == "temp" }})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Certificates) != 2 || !slices.Contains(r.Certificates[0].Names, "127.0.0.1") {
		t.Errorf("certificates: %+v", r.Certificates)
	}
	if !r.ControlProtected || !r.DataProtected || !r.DataResumed || r.TLSVersion != "TLS 1.3" || r.DataPort == 0 {
		t.Errorf("protection: %+v", r)
	}
	if r.Entries != 3 || !slices.Equal(r.Leftovers, []Leftover{{probePrefix + "1", OfCheck}, {"temp", OfEarlier}}) || r.Home != "/" || r.Root != "/" {
		t.Errorf("root: %+v", r)
	}
}
