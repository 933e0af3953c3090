package ahead

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a Remote and the Meta of it.
type server struct {
	Remote
	mu      sync.Mutex
	entries []pool.Entry
	asked   []string // background downloads
	stale   bool     // nothing is known
	hold    chan struct{}
	stuck   chan struct{} // background downloads that have begun stand still until it is closed, whatever is done to them; nil: they do not
	own     chan struct{} // downloads that are not in the background wait for it; nil: they do not
	refuse  error
}

func newServer(n int, size int64) *server {
	s := &server{}
	for i := range n {
		s.entries = append(s.entries, pool.Entry{Name: fmt.Sprintf("f%03d", i), Type: pool.TypeFile, Size: size, ModTime: time.Unix(1e9, 0), Exact: true})
	}
	return s
}

func content(path string, size int64) []byte {
	return bytes.Repeat([]byte(path[len(path)-4:]), int(size)/4+1)[:size]
}

func (s *server) Peek(path string) (pool.Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, name := split(path)
	i := slices.IndexFunc(s.entries, func(e pool.Entry) bool { return e.Name == name })
	if i < 0 || s.stale {
		return pool.Entry{}, false
	}
	return s.entries[i], true
}

func (s *server) PeekList(string) (*pool.Listing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &pool.Listing{Entries: slices.Clone(s.entries)}, !s.stale
}

func (s *server) Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error) {
	if !o.Background {
		s.mu.Lock()
		own := s.own
		s.mu.Unlock()
		if own != nil {
			<-own
		}
		return &fetched{data: content(path, o.Size)}, nil
	}
	s.mu.Lock()
	s.asked = append(s.asked, path)
	hold, refuse := s.hold, s.refuse
	s.mu.Unlock()
	if refuse != nil {
		return nil, refuse
	}
	o.OnBegin()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &slow{fetched{data: content(path, o.Size)}, s.stuck}, nil
}

// slow is a download that waits before each Read.
type slow struct {
	fetched
	until chan struct{}
}

func (d *slow) Read(p []byte) (int, error) {
	if d.until != nil {
		<-d.until
	}
	return d.fetched.Read(p)
}

func (s *server) Upload(context.Context, string, pool.UploadOptions) (pool.Upload, error) {
	return &sink{}, nil
}
func (s *server) Rename(context.Context, string, string) error { return nil }

type sink struct{ pool.Upload }

func (*sink) Finish(context.Context, pool.Finish) (pool.FinishResult, error) {
	return pool.FinishResult{}, nil
}

// rig runs a test with files that are fetched ahead, in a bubble of its own.
func rig(t *testing.T, s *server, test func(f *Files, read func(i int))) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Config{Remote: s, Meta: s, TTL: 10 * time.Second, Budget: 1 << 20, Parallel: 6})
		defer f.Close()
		test(f, func(i int) {
			t.Helper()
			e := s.entries[i]
			d, err := f.Download(t.Context(), "/d/"+e.Name, pool.DownloadOptions{Length: -1, Size: e.Size})
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(d)
			if err != nil || !bytes.Equal(b, content(e.Name, e.Size)) {
				t.Fatalf("%s: %d bytes, %v", e.Name, len(b), err)
			}
			synctest.Wait()
			time.Sleep(10 * time.Millisecond) // the bubble's clock: what the reader does with it
		})
	})
}

func TestReaderInOrder(t *testing.T) {
	s := newServer(100, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		for i := range 100 {
			read(i)
		}
		if st := f.Stats(); st.Files != 97 || st.Used != 97 || st.Bytes != 97*4096 || st.BytesInVain != 0 || st.Held != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A file that somebody has come for, and is just sent, is not fetched ahead besides when the fetches before it make room.
func TestWhatIsAskedForIsNotFetchedAhead(t *testing.T) {
	s := newServer(20, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		read(0)
		read(1)
		s.hold = make(chan struct{})
		read(2) // 3 to 8 are on their way
		s.mu.Lock()
		s.own = make(chan struct{})
		s.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			read(9)
		}()
		synctest.Wait()
		close(s.hold)
		synctest.Wait()
		s.mu.Lock()
		asked := slices.Clone(s.asked)
		s.mu.Unlock()
		if slices.Contains(asked, "/d/f009") || !slices.Contains(asked, "/d/f010") {
			t.Errorf("fetched ahead: %v", asked)
		}
		close(s.own)
		<-done
		for i := 3; i < 20; i++ {
			if i != 9 {
				read(i)
			}
		}
		if st := f.Stats(); st.BytesInVain != 0 || st.Held != 0 || st.Used != st.Files {
			t.Errorf("%+v", st)
		}
	})
}

// Nothing is fetched for readers that do not go through a folder.
func TestNoPatternNoFetch(t *testing.T) {
	for what, order := range map[string][]int{
		"one":           {5},
		"two":           {5, 6},
		"again":         {5, 5, 5, 5, 5, 5},
		"far apart":     {5, 30, 55, 80, 99},
		"backwards":     {90, 89, 88, 87, 86, 85},
		"to and fro":    {10, 60, 11, 61, 12, 62, 13, 63},
		"at random":     {17, 93, 4, 55, 71, 30, 88, 2},
		"order is lost": {5, 6, 50, 51, 90, 91},
	} {
		s := newServer(100, 4096)
		rig(t, s, func(f *Files, read func(int)) {
			for _, i := range order {
				read(i)
			}
		})
		if len(s.asked) != 0 {
			t.Errorf("%s: fetched %v", what, s.asked)
		}
	}
	s := newServer(100, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		for i := range 20 { // a user who clicks through a folder
			read(i)
			time.Sleep(2 * pause)
		}
	})
	if len(s.asked) != 0 {
		t.Errorf("slowly: fetched %v", s.asked)
	}
}

func TestBudget(t *testing.T) {
	s := newServer(100, 200<<10) // five fill it
	rig(t, s, func(f *Files, read func(int)) {
		for i := range 50 {
			read(i)
			if st := f.Stats(); st.Held > 1<<20 {
				t.Fatalf("%+v", st)
			}
		}
		if st := f.Stats(); st.Used < 40 {
			t.Errorf("%+v", st)
		}
	})
}

// A fetch that was given up has its memory until it has ended: so long it counts.
func TestGivenUpCountsUntilItEnds(t *testing.T) {
	s := newServer(20, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		s.stuck = make(chan struct{}) // of the bubble
		for i := range 3 {
			read(i)
		}
		held := f.Stats().Held
		s.mu.Lock()
		s.stale = true // what is being fetched is of no use, and no more is
		s.mu.Unlock()
		read(3)
		if st := f.Stats(); st.Held != held || held < 2*4096 {
			t.Errorf("given up: %d bytes held, %d before", st.Held, held)
		}
		close(s.stuck)
		synctest.Wait()
		if st := f.Stats(); st.Held != held-4096 {
			t.Errorf("ended: %d bytes held, %d before", st.Held, held)
		}
	})
}

// Whatever makes the content doubtful makes it useless, and is counted.
func TestContentThatMayBeOld(t *testing.T) {
	ctx := context.Background()
	always := func(change func(s *server)) func(*Files, *server) error {
		return func(_ *Files, s *server) error { change(s); return nil }
	}
	for what, event := range map[string]func(f *Files, s *server) error{
		"another time":   always(func(s *server) { s.entries[3].ModTime = s.entries[3].ModTime.Add(time.Second) }),
		"another size":   always(func(s *server) { s.entries[3].Size++ }),
		"another object": always(func(s *server) { s.entries[3].Unique = "x" }),
		"rough time":     always(func(s *server) { s.entries[3].Exact = false }),
		"not known":      always(func(s *server) { s.stale = true }),
		"too old":        always(func(*server) { time.Sleep(11 * time.Second) }),
		"folder renamed": func(f *Files, _ *server) error {
			return errors.Join(f.Rename(ctx, "/other", "/d"), f.Rename(ctx, "/d", "/e"))
		},
		"file renamed": func(f *Files, _ *server) error { return f.Rename(ctx, "/x", "/d/f003") },
		"written": func(f *Files, _ *server) error {
			u, err := f.Upload(ctx, "/d/f003", pool.UploadOptions{})
			if err != nil {
				return err
			}
			_, err = u.Finish(ctx, pool.Finish{})
			return err
		},
	} {
		s := newServer(6, 4096)
		rig(t, s, func(f *Files, read func(int)) {
			for i := range 3 {
				read(i)
			}
			if f.Stats().Files != 3 {
				t.Fatalf("%s: %+v", what, f.Stats())
			}
			if err := event(f, s); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			read(3)
			if st := f.Stats(); st.Used != 0 || st.BytesInVain == 0 {
				t.Errorf("%s: %+v", what, st)
			}
		})
	}
}

func TestNobodyWaitsForLong(t *testing.T) {
	s := newServer(20, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		s.hold = make(chan struct{}) // of the bubble
		for i := range 3 {
			read(i)
		}
		// It is under way: its reader waits for that, no longer than it wants to.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if data := f.take(ctx, "/d/f003", 4096); data != nil || ctx.Err() == nil {
			t.Errorf("%d bytes", len(data))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.void("/d") // ends them
		}()
		<-done
		if st := f.Stats(); st.Held != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// While a file is being written nobody fetches it, and one that cannot be fetched is not tried again and again.
func TestFilesLeftAlone(t *testing.T) {
	s := newServer(12, 4096)
	rig(t, s, func(f *Files, read func(int)) {
		u, err := f.Upload(context.Background(), "/d/f005", pool.UploadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			read(i)
		}
		if slices.Contains(s.asked, "/d/f005") {
			t.Error("fetched while it was written")
		}
		if _, err := u.Finish(context.Background(), pool.Finish{}); err != nil {
			t.Error(err)
		}
	})
	s = newServer(12, 4096)
	s.refuse = &pool.Error{Kind: pool.KindPermission, Err: errors.New("no")}
	rig(t, s, func(f *Files, read func(int)) {
		for i := range 12 {
			read(i)
		}
	})
	slices.Sort(s.asked)
	if n := len(s.asked); n != len(slices.Compact(s.asked)) || n == 0 {
		t.Errorf("asked for: %v", s.asked)
	}
}
