package content

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// The model: files by name, each with its content; the tree of fs in miniature.
type modelFile struct {
	n       *node
	f       *File
	handles []*modelHandle
	data    []byte
	failed  bool   // something since it was opened
	flushed bool   // the server must have exactly data
	acked   []byte // what the server must have at least: the last content that a flush was successful for
	linked  bool
}

type modelHandle struct {
	h     *Handle
	file  *modelFile
	flags OpenFlags
}

type model struct {
	t    *testing.T
	s    *Store
	srv  modelServer
	over bool // renames over existing files are made
	// trouble is called before every operation; nil: none
	trouble func(*rand.Rand)
	// calm ends all trouble. With it operations may fail, and what then is in a file is looked up.
	calm  func()
	r     *rand.Rand
	files map[string]*modelFile
	loose []*modelFile // unlinked, still open
	trace []string
}

// modelServer is a server whose files can be looked at behind its back.
type modelServer interface {
	Remote
	content(name string) string // or "absent"
	names() []string
}

var _ modelServer = (*fakeServer)(nil)

var modelNames = []string{"/a", "/b", "/d/a", "/d/b", "/e/c"}

func TestModel(t *testing.T) {
	for name, q := range servers {
		if q.fixedFolder != "" || q.noRenameAtAll {
			continue // files come and go in the model
		}
		for _, replace := range []Replace{ReplaceRename, ReplaceInPlace} {
			if replace == ReplaceInPlace && name != "all" && name != "pure" {
				continue
			}
			t.Run(fmt.Sprint(name, " ", replace), func(t *testing.T) {
				t.Parallel()
				ops, seeds := modelSize(300, 1)
				for seed := range seeds {
					k := newKit(t, q, func(c *Config) { c.Replace, c.ReplayBytes = replace, 512<<10 })
					newModel(t, k.s, k.srv, !q.stickyRename, uint64(seed)).run(ops)
				}
			})
		}
	}
}

// TestModelWithCuts cuts every few uploads, as far back as is kept for sending again.
func TestModelWithCuts(t *testing.T) {
	for _, name := range []string{"all", "pure", "no dot", "one connection"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ops, seeds := modelSize(300, 1)
			for seed := range seeds {
				k := newKit(t, servers[name], func(c *Config) { c.ReplayBytes = 1 << 20 })
				m := newModel(t, k.s, k.srv, true, uint64(seed))
				m.trouble = func(r *rand.Rand) {
					if r.IntN(5) > 0 {
						return
					}
					k.srv.set(func(q *quirks) {
						switch r.IntN(4) {
						case 0:
							q.cutFinish = 1
						case 1:
							q.renameCut = 1
						default:
							q.cuts, q.cutAt, q.cutKeeps = 1, r.Int64N(400_000), r.Int64N(200_000)
						}
					})
				}
				m.run(ops)
			}
		})
	}
}

// TestModelWithFailures lets uploads fail in every way, and looks for content that was acknowledged and is gone, and for
// what handles read and a later flush does not bring to the server.
func TestModelWithFailures(t *testing.T) {
	for _, name := range []string{"all", "pure", "proftpd default", "no rename over", "one connection", "one, cannot resume"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ops, seeds := modelSize(300, 2)
			for seed := range seeds {
				k := newKit(t, servers[name], func(c *Config) { c.ReplayBytes = 512 << 10 })
				m := newModel(t, k.s, k.srv, true, uint64(seed))
				normal := servers[name]
				m.calm = func() { k.srv.set(func(q *quirks) { *q = normal }) }
				m.trouble = func(r *rand.Rand) { k.srv.set(func(q *quirks) { *q = troubled(normal, r) }) }
				m.run(ops)
			}
		})
	}
}

// troubled adds something that goes wrong, sometimes.
func troubled(q quirks, r *rand.Rand) quirks {
	switch r.IntN(40) {
	case 0:
		q.cuts, q.cutAt, q.cutKeeps = 1, r.Int64N(700_000), r.Int64N(700_000)
	case 1:
		q.cuts, q.cutAt, q.cutKeeps = 100, r.Int64N(100_000), r.Int64N(100_000)
	case 2:
		q.cutFinish = 1 + r.IntN(10)
	case 3:
		q.disk = 1
	case 4:
		q.failFinish = fail(pool.KindNoSpace, "store", "")
	case 5:
		q.renameCut = 1 + r.IntN(3)
	case 6:
		q.noRenameAtAll = true
	case 7:
		q.silentTruncate = 1 + r.Int64N(10_000)
	case 8:
		q.failFinish = fail(pool.KindPermission, "store", "")
	case 9:
		q.broken = true
	}
	return q
}

// modelSize gives how many operations of how many seeds are run: FTPSFS_MODEL_OPS and FTPSFS_MODEL_SEEDS for long runs.
func modelSize(ops, seeds int) (int, int) {
	if testing.Short() {
		ops /= 5
	}
	for name, n := range map[string]*int{"FTPSFS_MODEL_OPS": &ops, "FTPSFS_MODEL_SEEDS": &seeds} {
		if v, err := strconv.Atoi(os.Getenv(name)); err == nil {
			*n = v
		}
	}
	return ops, seeds
}

func newModel(t *testing.T, s *Store, srv modelServer, over bool, seed uint64) *model {
	return &model{t: t, s: s, srv: srv, over: over, r: rand.New(rand.NewPCG(seed, 42)), files: map[string]*modelFile{}}
}

func (m *model) run(ops int) {
	t := m.t
	defer func() {
		if t.Failed() {
			end := slices.Index(m.trace, "end")
			if end < 0 {
				end = len(m.trace)
			}
			for _, line := range m.trace[max(0, end-40):] {
				t.Log(line)
			}
		}
	}()
	for range ops {
		m.step()
	}
	m.say("end")
	m.trouble = nil
	if m.calm != nil {
		m.calm()
	}
	for _, mf := range m.all() {
		for len(mf.handles) > 0 {
			m.closeHandle(mf.handles[0])
		}
	}
	m.check()
}

func (m *model) say(format string, a ...any) { m.trace = append(m.trace, fmt.Sprintf(format, a...)) }

func (m *model) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// ok tells whether an operation on mf succeeded; only where failures are made it may not have.
func (m *model) ok(mf *modelFile, err error) bool {
	m.t.Helper()
	if err == nil || m.calm == nil {
		m.must(err)
		return true
	}
	m.say("failed: %v", err)
	mf.failed = true
	m.keptOld(mf)
	m.calm()
	h, err := mf.f.Open(bg, OpenFlags{Read: true})
	m.must(err)
	mf.data = make([]byte, mf.f.Entry().Size)
	if n, err := h.ReadAt(bg, mf.data, 0); n < len(mf.data) {
		m.say("unreadable: %v", err)
		mf.data = nil
		m.must(mf.f.Truncate(bg, 0))
	}
	h.Release()
	mf.flushed = false
	return false
}

// keptOld makes sure that what was acknowledged is on the server: replaced as a whole, or continued.
func (m *model) keptOld(mf *modelFile) {
	m.t.Helper()
	got := m.srv.content(mf.n.path)
	switch {
	case !mf.linked:
	case got == string(mf.data): // all is there, and an earlier failure was told
		mf.acked = bytes.Clone(mf.data)
	case mf.f != nil && mf.f.inPlace: // there was no other way, and putting it back may have failed, too
	case !strings.HasPrefix(got, string(mf.acked)):
		m.t.Fatalf("%s: %d bytes that were acknowledged are gone, it has %d", mf.n.path, len(mf.acked), len(got))
	}
}

func (m *model) all() []*modelFile {
	all := append([]*modelFile{}, m.loose...)
	for _, name := range modelNames {
		if mf := m.files[name]; mf != nil {
			all = append(all, mf)
		}
	}
	return all
}

func (m *model) anyHandle() *modelHandle {
	var hs []*modelHandle
	for _, mf := range m.all() {
		hs = append(hs, mf.handles...)
	}
	if len(hs) == 0 {
		return nil
	}
	return hs[m.r.IntN(len(hs))]
}

func (m *model) step() {
	if m.trouble != nil {
		m.trouble(m.r)
	}
	name := modelNames[m.r.IntN(len(modelNames))]
	if m.r.IntN(100) < 12 {
		m.openFile(name)
		return
	}
	if m.r.IntN(100) < 4 {
		m.unlinkFile(name)
		return
	}
	if m.r.IntN(100) < 4 {
		m.renameFile(name, modelNames[m.r.IntN(len(modelNames))])
		return
	}
	h := m.anyHandle()
	if h == nil {
		m.openFile(name)
		return
	}
	switch n := m.r.IntN(100); {
	case n < 45:
		m.writeFile(h)
	case n < 70:
		m.readFile(h)
	case n < 78:
		m.truncateFile(h)
	case n < 90:
		m.flushFile(h)
	case n < 93:
		m.attrs(h)
	default:
		m.closeHandle(h)
	}
}

func (m *model) openFile(name string) {
	flags := OpenFlags{Read: m.r.IntN(3) > 0, Write: m.r.IntN(4) > 0}
	if !flags.Read && !flags.Write {
		flags.Read = true
	}
	mf := m.files[name]
	switch {
	case mf == nil:
		flags.Write = true
		n := &node{path: name}
		mf = &modelFile{n: n, linked: true}
		mf.f = m.s.File(n, pool.Entry{Name: path.Base(name)}, true)
		m.files[name] = mf
	case mf.f == nil: // closed: as after a lookup
		if m.calm != nil {
			m.calm()
		}
		e, err := m.srv.Stat(bg, name)
		m.must(err)
		mf.f = m.s.File(mf.n, e, false)
	}
	if flags.Write {
		flags.Append, flags.Truncate = m.r.IntN(5) == 0, m.r.IntN(6) == 0
	}
	m.say("open %s %+v", name, flags)
	h, err := mf.f.Open(bg, flags)
	if !m.ok(mf, err) {
		return
	}
	if flags.Truncate {
		mf.data, mf.flushed = nil, false
	}
	mf.handles = append(mf.handles, &modelHandle{h, mf, flags})
}

func (m *model) writeFile(h *modelHandle) {
	if !h.flags.Write {
		return
	}
	mf := h.file
	size := 1 + m.r.IntN(5000)
	if m.r.IntN(5) == 0 {
		size = 1 + m.r.IntN(700_000)
	}
	off := int64(len(mf.data))
	switch m.r.IntN(10) {
	case 0, 1:
		off = m.r.Int64N(off + 1)
	case 2:
		off += m.r.Int64N(200_000)
	}
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(m.r.Uint32())
	}
	if h.flags.Append {
		off = int64(len(mf.data))
	}
	m.say("write %s %d+%d of %d", mf.n.path, off, size, len(mf.data))
	if _, err := h.h.WriteAt(bg, p, off); !m.ok(mf, err) {
		return
	}
	if grow := off + int64(size) - int64(len(mf.data)); grow > 0 {
		mf.data = append(mf.data, make([]byte, grow)...)
	}
	copy(mf.data[off:], p)
	mf.flushed = false
}

func (m *model) readFile(h *modelHandle) {
	if !h.flags.Read {
		return
	}
	mf := h.file
	off := m.r.Int64N(int64(len(mf.data)) + 10)
	p := make([]byte, 1+m.r.IntN(100_000))
	m.say("read %s %d+%d of %d", mf.n.path, off, len(p), len(mf.data))
	n, err := h.h.ReadAt(bg, p, off)
	if err != nil && !errors.Is(err, io.EOF) && !m.ok(mf, err) {
		return
	}
	want := mf.data[min(off, int64(len(mf.data))):]
	want = want[:min(len(want), len(p))]
	if !bytes.Equal(p[:n], want) {
		same(m.t, "read of "+mf.n.path, p[:n], want)
	}
	if e := mf.f.Entry(); e.Size != int64(len(mf.data)) {
		m.t.Fatalf("size %d, want %d", e.Size, len(mf.data))
	}
}

func (m *model) truncateFile(h *modelHandle) {
	mf := h.file
	size := m.r.Int64N(int64(len(mf.data)) + 5000)
	switch m.r.IntN(6) {
	case 0:
		size = 0
	case 1, 2:
		size = max(0, int64(len(mf.data))-m.r.Int64N(3000))
	}
	m.say("truncate %s %d of %d", mf.n.path, size, len(mf.data))
	if !m.ok(mf, mf.f.Truncate(bg, size)) {
		return
	}
	if grow := size - int64(len(mf.data)); grow > 0 {
		mf.data = append(mf.data, make([]byte, grow)...)
	}
	mf.data = mf.data[:size:size]
	// Without a writer truncate(2) is complete when it returns.
	mf.flushed = !slices.ContainsFunc(mf.handles, func(h *modelHandle) bool { return h.flags.Write })
	m.onServer(mf)
}

func (m *model) flushFile(h *modelHandle) {
	mf := h.file
	m.say("flush %s %d", mf.n.path, len(mf.data))
	var err error
	if h.flags.Write && m.r.IntN(2) == 0 {
		err = h.h.Flush(bg, nil)
	} else {
		err = h.h.Fsync(bg)
	}
	if !m.ok(mf, err) {
		return
	}
	mf.flushed = true
	m.onServer(mf)
}

func (m *model) attrs(h *modelHandle) {
	mf := h.file
	when := time.Unix(1_000_000_000+m.r.Int64N(1e8), 0).UTC()
	m.say("utimes %s", mf.n.path)
	if !m.ok(mf, mf.f.SetAttrs(bg, pool.Attrs{ModTime: &when})) {
		return
	}
	if mf.linked {
		if !m.ok(mf, h.h.Fsync(bg)) {
			return
		}
		mf.flushed = true
		m.onServer(mf)
		if m.calm != nil {
			m.calm()
		}
		if e, err := m.srv.Stat(bg, mf.n.path); err != nil || !e.ModTime.Equal(when) {
			m.t.Fatalf("mtime %v, want %v (%v)", e.ModTime, when, err)
		}
	}
}

func (m *model) onServer(mf *modelFile) {
	if mf.linked && mf.flushed {
		same(m.t, "server's "+mf.n.path, []byte(m.srv.content(mf.n.path)), mf.data)
		mf.acked = bytes.Clone(mf.data)
	}
}

func (m *model) closeHandle(h *modelHandle) {
	mf := h.file
	m.say("close %s", mf.n.path)
	failed := !m.ok(mf, h.h.Flush(bg, nil))
	h.h.Release()
	for i, other := range mf.handles {
		if other == h {
			mf.handles = append(mf.handles[:i:i], mf.handles[i+1:]...)
		}
	}
	if h.flags.Write && !failed {
		mf.flushed = true
		m.onServer(mf)
	}
	if len(mf.handles) > 0 {
		return
	}
	mf.f.Close()
	mf.f = nil
	if mf.failed && mf.linked {
		m.keptOld(mf)
		m.afterFailure(mf)
	}
	mf.failed = false
	for i, l := range m.loose {
		if l == mf {
			m.loose = append(m.loose[:i:i], m.loose[i+1:]...)
		}
	}
}

// afterFailure takes the server's content of a closed file for the truth.
func (m *model) afterFailure(mf *modelFile) {
	got := m.srv.content(mf.n.path)
	if got == "absent" {
		delete(m.files, mf.n.path)
		return
	}
	mf.data, mf.acked, mf.flushed = []byte(got), []byte(got), true
}

func (m *model) unlinkFile(name string) {
	mf := m.files[name]
	if mf == nil {
		return
	}
	m.say("unlink %s", name)
	if m.calm != nil {
		m.calm()
	}
	if mf.f == nil {
		m.must(m.srv.Remove(bg, name))
	} else {
		m.must(unlink(m.srv, mf.n, mf.f))
		m.loose = append(m.loose, mf)
	}
	mf.linked = false
	mf.n.unlink()
	delete(m.files, name)
	if m.srv.content(name) != "absent" {
		m.t.Fatalf("%s is still there", name)
	}
}

func (m *model) renameFile(from, to string) {
	mf, over := m.files[from], m.files[to]
	if mf == nil || from == to {
		return
	}
	if !m.over && over != nil { // one user's files in another one's sticky folder
		return
	}
	m.say("rename %s %s", from, to)
	if m.calm != nil {
		m.calm()
	}
	r, err := m.s.BeforeRename(bg, from, to)
	m.must(err)
	err = r.Do(bg)
	if err != nil && transient(err) { // its reply was lost: the pool would look
		_, err = m.srv.Stat(bg, to)
	}
	if err != nil {
		r.Done(false)
		m.t.Fatal(err)
	}
	if over != nil {
		over.n.unlink()
		over.linked = false
		if over.f != nil {
			m.loose = append(m.loose, over)
		}
	}
	mf.n.move(to)
	delete(m.files, from)
	m.files[to] = mf
	r.Done(true)
}

// check compares all that is on the server with the model.
func (m *model) check() {
	m.s.sweep(bg)
	for _, name := range m.srv.names() {
		if m.files[name] == nil {
			m.t.Errorf("%s on the server should not be", name)
		}
	}
	for name, mf := range m.files {
		same(m.t, "server's "+name, []byte(m.srv.content(name)), mf.data)
	}
}
