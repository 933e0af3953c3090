package content

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

func TestMain(m *testing.M) {
	if os.Getenv(childPlay) != "" {
		os.Exit(playChild())
	}
	goleak.VerifyTestMain(m)
}

// node is the Name of a file in tests.
type node struct {
	mu   sync.Mutex
	path string
	gone bool
}

func (n *node) Path() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.path, !n.gone
}

func (n *node) move(to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.path = to
}

func (n *node) unlink() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = true
}

// kit is a Store over a fake server.
type kit struct {
	t      testing.TB
	srv    *fakeServer
	s      *Store
	stage  *stage.Store
	blocks *blocks.Store
	dir    string

	stageLimit, memory int64
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func newKit(t testing.TB, q quirks, change ...func(*Config)) *kit {
	k := &kit{t: t, srv: newFake(t, q), dir: t.TempDir()}
	k.open(change...)
	t.Cleanup(k.close)
	return k
}

// newTightKit has little local disk and memory.
func newTightKit(t testing.TB, q quirks, stageLimit, memory int64) *kit {
	k := &kit{t: t, srv: newFake(t, q), dir: t.TempDir(), stageLimit: stageLimit, memory: memory}
	k.open()
	t.Cleanup(k.close)
	return k
}

func (k *kit) open(change ...func(*Config)) {
	cfg := Config{Remote: k.srv, MountID: newMountID(), ReplayBytes: 1 << 20}
	cfg.Log = slog.New(slog.NewTextHandler(logWriter{k.t}, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var err error
	if k.stageLimit == 0 {
		k.stageLimit, k.memory = 1<<30, 16<<20
	}
	k.stage, err = stage.Open(stage.Config{Dir: k.dir, Server: "fake", Mount: cfg.MountID, Limit: k.stageLimit})
	if err != nil {
		k.t.Fatal(err)
	}
	k.blocks = blocks.New(k.memory)
	cfg.Stage, cfg.Blocks = k.stage, k.blocks
	for _, c := range change {
		c(&cfg)
	}
	k.s = New(cfg)
}

// close checks that everything is back to zero, and that the server saw nothing that must not be.
func (k *kit) close() {
	if err := k.s.Close(context.Background()); err != nil {
		k.t.Error(err)
	}
	st := k.s.Stats()
	if st.Files != 0 || st.Handles != 0 || st.Streams != 0 || st.Staged != 0 || st.Temps != 0 {
		k.t.Errorf("left behind: %+v", st)
	}
	if ss := k.stage.Stats(); ss.Files != 0 || ss.Allocated != 0 || ss.Journal != 0 {
		k.t.Errorf("left in the staging folder: %+v", ss)
	}
	if bs := k.blocks.Stats(); bs.Held != 0 || bs.Holders != 0 {
		k.t.Errorf("memory left: %+v", bs)
	}
	k.blocks.Close()
	if err := k.stage.Close(); err != nil {
		k.t.Error(err)
	}
	k.srv.mu.Lock()
	defer k.srv.mu.Unlock()
	for _, f := range k.srv.faults {
		k.t.Error("server: " + f)
	}
	for name, f := range k.srv.files {
		if f.up != 0 || f.down != 0 {
			k.t.Errorf("server: transfers of %s still open", name)
		}
		if k.s.IsTemp(path.Base(name)) {
			k.t.Errorf("server: left behind: %s", name)
		}
	}
}

// create makes a file as open(O_CREAT) does.
func (k *kit) create(name string) (*node, *File, *Handle) {
	k.t.Helper()
	n := &node{path: name}
	f := k.s.File(n, pool.Entry{Name: path.Base(name)}, true)
	return n, f, k.handle(f, OpenFlags{Read: true, Write: true})
}

// existing opens a file that the server has.
func (k *kit) existing(name string, flags OpenFlags) (*node, *File, *Handle) {
	k.t.Helper()
	e, err := k.srv.Stat(context.Background(), name)
	if err != nil {
		k.t.Fatal(err)
	}
	n := &node{path: name}
	f := k.s.File(n, e, false)
	return n, f, k.handle(f, flags)
}

func (k *kit) handle(f *File, flags OpenFlags) *Handle {
	k.t.Helper()
	h, err := f.Open(context.Background(), flags)
	if err != nil {
		k.t.Fatal(err)
	}
	return h
}

func (k *kit) write(h *Handle, off int64, data string) {
	k.t.Helper()
	if _, err := h.WriteAt(context.Background(), []byte(data), off); err != nil {
		k.t.Fatal(err)
	}
}

// fill writes size bytes of a pattern in pieces, and gives them.
func (k *kit) fill(h *Handle, off int64, size, piece int) []byte {
	k.t.Helper()
	data := pattern(off, size)
	for i := 0; i < size; i += piece {
		p := data[i:min(size, i+piece)]
		if _, err := h.WriteAt(context.Background(), p, off+int64(i)); err != nil {
			k.t.Fatal(err)
		}
	}
	return data
}

// pattern gives the bytes from off on of an endless content that does not repeat with a power of two.
func pattern(off int64, size int) []byte {
	b := make([]byte, size)
	for n := 0; n < size; {
		n += copy(b[n:], patternBlock[(off+int64(n))%int64(len(patternBlock)):])
	}
	return b
}

var patternBlock = func() []byte {
	b := make([]byte, 65521)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}()

func (k *kit) flush(h *Handle) {
	k.t.Helper()
	if err := h.Flush(context.Background(), nil); err != nil {
		k.t.Fatal(err)
	}
}

// done is close and release of the last descriptor.
func (k *kit) done(f *File, h *Handle) {
	k.t.Helper()
	k.flush(h)
	h.Release()
	f.Close()
}

func (k *kit) read(h *Handle, off int64, size int) string {
	k.t.Helper()
	b := make([]byte, size)
	n, err := h.ReadAt(context.Background(), b, off)
	if err != nil && !errors.Is(err, io.EOF) {
		k.t.Fatal(err)
	}
	return string(b[:n])
}

func (k *kit) want(name, content string) {
	k.t.Helper()
	if got := k.srv.content(name); got != content {
		if len(got) > 80 || len(content) > 80 {
			k.t.Fatalf("%s: %d bytes, want %d", name, len(got), len(content))
		}
		k.t.Fatalf("%s: %q, want %q", name, got, content)
	}
}

func (k *kit) wantNames(names ...string) {
	k.t.Helper()
	if got := k.srv.names(); !slices.Equal(got, names) {
		k.t.Fatalf("server has %q, want %q", got, names)
	}
}

func kind(err error) pool.Kind {
	if err == nil {
		return 255
	}
	return pool.KindOf(err)
}
