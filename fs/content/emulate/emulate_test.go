package emulate

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

var ctx = context.Background()

// fake is a server that sets neither modes nor times.
type fake struct {
	Server // what is not made here is not used
	files  map[string]pool.Entry
	able   bool // it can after all
	set    int
	clock  int64
}

func newFake() *fake { return &fake{files: map[string]pool.Entry{}} }

func (s *fake) touch(name string, t pool.Type, size int64) {
	s.clock++
	s.files[name] = pool.Entry{Name: filepath.Base(name), Type: t, Size: size, ModTime: time.Unix(s.clock, 0).UTC(), Exact: true, Mode: 0o644, HasMode: true}
}

func (s *fake) Stat(_ context.Context, name string) (pool.Entry, error) {
	e, ok := s.files[name]
	if !ok {
		return e, &pool.Error{Kind: pool.KindNotFound}
	}
	return e, nil
}

func (s *fake) StatMany(ctx context.Context, names []string) ([]pool.StatResult, error) {
	var all []pool.StatResult
	for _, n := range names {
		e, err := s.Stat(ctx, n)
		all = append(all, pool.StatResult{Entry: e, Err: err})
	}
	return all, nil
}

func (s *fake) List(_ context.Context, dir string) (*pool.Listing, error) {
	l := &pool.Listing{}
	for name, e := range s.files {
		if filepath.Dir(name) == dir {
			l.Entries = append(l.Entries, e)
		}
	}
	return l, nil
}

func (s *fake) Remove(_ context.Context, name string) error {
	delete(s.files, name)
	return nil
}

func (s *fake) Rmdir(_ context.Context, name string) error {
	delete(s.files, name)
	return nil
}

func (s *fake) Rename(_ context.Context, from, to string) error {
	move := map[string]pool.Entry{}
	for name, e := range s.files {
		if below(name, from) {
			delete(s.files, name)
			move[to+name[len(from):]] = e
		}
	}
	for name, e := range move {
		s.files[name] = e
	}
	return nil
}

func (s *fake) SetAttrs(context.Context, string, bool, pool.Attrs) error {
	s.set++
	return nil
}

func (s *fake) MaxConnections() int { return 1 }

func (s *fake) Can(context.Context, pool.Capability, string) (bool, error) { return s.able, nil }

func (s *fake) Upload(_ context.Context, name string, _ pool.UploadOptions) (pool.Upload, error) {
	return &fakeUpload{s: s, name: name}, nil
}

func (s *fake) Download(_ context.Context, name string, o pool.DownloadOptions) (pool.Download, error) {
	if o.Expect != nil && o.Expect.Exact && !o.Expect.ModTime.Equal(s.files[name].ModTime) {
		return nil, &pool.Error{Kind: pool.KindChanged}
	}
	return nil, nil
}

// A download that expects the file as it was told finds it as the server has it.
func TestDownloadExpectsTheServersTime(t *testing.T) {
	s := newFake()
	s.touch("/f", pool.TypeFile, 3)
	r, err := New(Config{Server: s, File: filepath.Join(t.TempDir(), "kept"), ModTime: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	when := time.Unix(1e9, 0)
	if err := r.SetAttrs(ctx, "/f", false, pool.Attrs{ModTime: &when}); err != nil {
		t.Fatal(err)
	}
	told, err := r.Stat(ctx, "/f")
	if err != nil || !told.ModTime.Equal(when) {
		t.Fatalf("%+v, %v", told, err)
	}
	if _, err := r.Download(ctx, "/f", pool.DownloadOptions{Expect: &told}); err != nil {
		t.Errorf("the same file: %v", err)
	}
	s.touch("/f", pool.TypeFile, 3)
	if _, err := r.Download(ctx, "/f", pool.DownloadOptions{Expect: &told}); pool.KindOf(err) != pool.KindChanged {
		t.Errorf("another file: %v", err)
	}
}

type fakeUpload struct {
	pool.Upload
	s    *fake
	name string
	n    int64
}

func (u *fakeUpload) Write(p []byte) (int, error) {
	u.n += int64(len(p))
	return len(p), nil
}

func (u *fakeUpload) Finish(_ context.Context, f pool.Finish) (pool.FinishResult, error) {
	u.s.touch(u.name, pool.TypeFile, u.n)
	res := pool.FinishResult{Entry: u.s.files[u.name], Verified: true}
	if f.Attrs != (pool.Attrs{}) {
		res.AttrsErr = &pool.Error{Kind: pool.KindUnsupported}
	}
	return res, nil
}

func open(t *testing.T, s *fake, file string) *Remote {
	t.Helper()
	r, err := New(Config{Server: s, File: file, Mode: true, ModTime: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var (
	mode  = uint32(0o600)
	mtime = time.Unix(1_000_000_000, 0).UTC()
	both  = pool.Attrs{Mode: &mode, ModTime: &mtime}
)

// has tells whether name shows what was set.
func has(t *testing.T, r *Remote, name string) bool {
	t.Helper()
	e, err := r.Stat(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	many, err := r.StatMany(ctx, []string{name})
	if err != nil || many[0].Entry != e {
		t.Fatalf("StatMany differs: %+v %v", many, err)
	}
	l, err := r.List(ctx, filepath.Dir(name))
	if err != nil {
		t.Fatal(err)
	}
	for _, le := range l.Entries {
		if le.Name == filepath.Base(name) && le != e {
			t.Fatalf("List differs: %+v", le)
		}
	}
	if e.ModTime.Equal(mtime) != (e.Mode == mode) {
		t.Logf("only one of them: %+v", e)
	}
	return e.ModTime.Equal(mtime)
}

func TestKeptAndFollowed(t *testing.T) {
	s, file := newFake(), filepath.Join(t.TempDir(), "attrs")
	r := open(t, s, file)
	s.touch("/d", pool.TypeDir, 0)
	for _, n := range []string{"/a", "/d/b", "/d/\xff\xfe", "/gone"} {
		s.touch(n, pool.TypeFile, 5)
		if err := r.SetAttrs(ctx, n, false, both); err != nil {
			t.Fatal(err)
		}
		if !has(t, r, n) {
			t.Errorf("%q: not kept", n)
		}
	}
	if err := r.SetAttrs(ctx, "/d", true, both); err != nil {
		t.Fatal(err)
	}
	if err := r.Rename(ctx, "/d", "/e"); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(ctx, "/gone"); err != nil {
		t.Fatal(err)
	}
	s.touch("/gone", pool.TypeFile, 5)
	if s.set != 0 {
		t.Error("the server was asked for what it cannot do")
	}
	for range 2 { // now, and after a new mount
		for _, n := range []string{"/a", "/e", "/e/b", "/e/\xff\xfe"} {
			if !has(t, r, n) {
				t.Errorf("%q: not kept", n)
			}
		}
		if has(t, r, "/gone") {
			t.Error("a new file has the old one's time")
		}
		r = open(t, s, file)
	}
}

func TestChangedElsewhere(t *testing.T) {
	s := newFake()
	r := open(t, s, filepath.Join(t.TempDir(), "attrs"))
	s.touch("/a", pool.TypeFile, 5)
	if err := r.SetAttrs(ctx, "/a", false, both); err != nil {
		t.Fatal(err)
	}
	s.touch("/a", pool.TypeFile, 5)
	if e, _ := r.Stat(ctx, "/a"); e.ModTime.Equal(mtime) || e.Mode != mode {
		t.Errorf("after a change by another host: %+v", e)
	}
	delete(s.files, "/a")
	if _, err := r.Stat(ctx, "/a"); pool.KindOf(err) != pool.KindNotFound {
		t.Fatal(err)
	}
	s.touch("/a", pool.TypeFile, 5)
	if e, _ := r.Stat(ctx, "/a"); e.Mode == mode {
		t.Error("a new file has the old one's mode")
	}
}

func TestUploadAndReplace(t *testing.T) {
	s := newFake()
	r := open(t, s, filepath.Join(t.TempDir(), "attrs"))
	s.touch("/a", pool.TypeFile, 9)
	u, err := r.Upload(ctx, "/tmp", pool.UploadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	res, err := u.Finish(ctx, pool.Finish{Size: 5, Attrs: both})
	if err != nil || res.AttrsErr != nil || !res.Entry.ModTime.Equal(mtime) {
		t.Fatalf("%+v %v", res, err)
	}
	if err := r.Rename(ctx, "/tmp", "/a"); err != nil {
		t.Fatal(err)
	}
	if !has(t, r, "/a") {
		t.Error("lost by the rename")
	}
}

func TestServerThatCan(t *testing.T) {
	s := newFake()
	s.able = true
	r := open(t, s, filepath.Join(t.TempDir(), "attrs"))
	s.touch("/a", pool.TypeFile, 5)
	if err := r.SetAttrs(ctx, "/a", false, both); err != nil || s.set != 1 {
		t.Fatalf("not sent to the server: %v", err)
	}
	if has(t, r, "/a") {
		t.Error("kept here, too")
	}
}

func TestJournal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "attrs")
	s := newFake()
	r := open(t, s, file)
	s.touch("/a", pool.TypeFile, 5)
	for range 1500 {
		if err := r.SetAttrs(ctx, "/a", false, both); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("{\"set\":\"cut off"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r = open(t, s, file); !has(t, r, "/a") {
		t.Error("lost")
	}
	b, err := os.ReadFile(file)
	if err != nil || bytes.Count(b, []byte("\n")) != 2 {
		t.Errorf("%d lines left, %v", bytes.Count(b, []byte("\n")), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"set":"L2E=","record":{"mode":384}}` + "\n" + `{"from":"L2E=","to":"L2I="}` + "\n"))
	f.Add([]byte("{}\n\n{\"drop\":\"Lw==\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		kept, _, err := parseJournal(bytes.NewReader(b))
		if err != nil {
			return
		}
		var short bytes.Buffer
		if err := writeJournal(&short, kept); err != nil {
			t.Fatal(err)
		}
		text := short.String()
		again, lines, err := parseJournal(&short)
		if err != nil || lines != len(kept) || len(again) != len(kept) {
			t.Fatalf("%d records became %d on %d lines, %v", len(kept), len(again), lines, err)
		}
		var twice bytes.Buffer
		if err := writeJournal(&twice, again); err != nil || twice.String() != text {
			t.Fatalf("%q, read and written: %q, %v", text, twice.String(), err)
		}
	})
}

func TestTimeOfALinkIsKeptHere(t *testing.T) {
	srv := newFake()
	srv.able = true // a server that sets times sets that of what the link leads to
	srv.touch("/l", pool.TypeSymlink, 5)
	r, err := New(Config{Server: srv, File: filepath.Join(t.TempDir(), "kept"), ModTime: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := time.Unix(43, 0).UTC()
	for range 2 {
		told, err := r.Stat(ctx, "/l")
		if err != nil {
			t.Fatal(err)
		}
		if err := r.SetLinkTime("/l", told, want); err != nil {
			t.Fatal(err)
		}
	}
	if e, err := r.Stat(ctx, "/l"); err != nil || !e.ModTime.Equal(want) || srv.set != 0 {
		t.Errorf("%v, %v, %d commands", e.ModTime, err, srv.set)
	}
	srv.touch("/l", pool.TypeSymlink, 5) // another host made it anew
	if e, _ := r.Stat(ctx, "/l"); e.ModTime.Equal(want) {
		t.Error("the time of an earlier link")
	}
}
