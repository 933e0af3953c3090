//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestTorture does seeded operations on several files and descriptors of a mount and on a model in memory, and compares
// what both say. From time to time everything is closed and the server's disk is compared too.
func TestTorture(t *testing.T) {
	run := func(t *testing.T, s *lab.Server) {
		for seed := range pick[uint64](1, 20) {
			makeServed(t, s, fmt.Sprint("seed", seed))
		}
		m := mountServer(t, s)
		m.limit(pick(10*time.Minute, 5*time.Hour))
		for seed := range pick[uint64](1, 20) {
			t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
				w := newWorld(t, seed, m.path(fmt.Sprint("seed", seed)), s.Disk(fmt.Sprint("seed", seed)))
				w.run(pick(500, 10_000))
			})
		}
		m.resident(maxResident)
	}
	each(t, anyServer, func(t *testing.T, c cell) { run(t, c.start(t)) })
	t.Run("proftpd-restricted", func(t *testing.T) {
		t.Parallel()
		run(t, cell{lab.ProFTPD, false, "1.3"}.start(t, restricted...))
	})
}

// node is a file of the model; it lives on while it is open.
type node struct{ data []byte }

// descriptor is an open file of the mount beside its inode of the model.
type descriptor struct {
	f      *os.File
	ino    *node
	read   bool
	write  bool
	append bool
	pos    int64
}

// world is the model and the mount that has to agree with it.
type world struct {
	t           *testing.T
	rng         *rand.Rand
	mount, disk string
	names       map[string]*node // files by path
	dirs        map[string]bool  // folders by path; "" is the root
	open        []*descriptor
	log         []string
}

func newWorld(t *testing.T, seed uint64, mount, disk string) *world {
	w := &world{t: t, rng: rand.New(rand.NewPCG(seed, 4)), mount: mount, disk: disk, names: map[string]*node{}, dirs: map[string]bool{"": true}}
	t.Cleanup(func() {
		for _, d := range w.open {
			d.f.Close()
		}
		if t.Failed() {
			t.Logf("seed %d, the last operations:\n%s", seed, strings.Join(w.log[max(0, len(w.log)-200):], "\n"))
		}
	})
	return w
}

// act is one kind of operation and how often it is chosen.
type act struct {
	weight int
	do     func(w *world)
}

var acts = []act{
	{14, (*world).openFile}, {22, (*world).writeSome}, {14, (*world).readSome}, {8, (*world).closeOne}, {4, (*world).syncOne},
	{5, (*world).truncateOpen}, {3, (*world).truncatePath}, {6, (*world).rename}, {5, (*world).unlink}, {3, (*world).makeDir},
	{2, (*world).removeDir}, {2, (*world).renameDir}, {6, (*world).statOne}, {3, (*world).list}, {3, (*world).readWhole},
}

func (w *world) run(operations int) {
	total := 0
	for _, a := range acts {
		total += a.weight
	}
	for i := range operations {
		n := w.rng.IntN(total)
		for _, a := range acts {
			if n -= a.weight; n < 0 {
				a.do(w)
				break
			}
		}
		if i%250 == 249 {
			w.compareAll()
		}
		if w.t.Failed() {
			return
		}
	}
	w.compareAll()
}

func (w *world) note(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) at(path string) string { return filepath.Join(w.mount, path) }

// check compares the error of an operation with the model's.
func (w *world) check(err error, want syscall.Errno) bool {
	w.t.Helper()
	if want == 0 && err == nil || want != 0 && errors.Is(err, want) {
		return err == nil
	}
	w.t.Errorf("%s: %v, the model says %v", w.log[len(w.log)-1], err, want)
	return false
}

// anyPath gives a path in a folder that exists; often one that is a file already.
func (w *world) anyPath() string {
	if files := w.files(); len(files) > 0 && w.rng.IntN(3) > 0 {
		return files[w.rng.IntN(len(files))]
	}
	dirs := w.folders()
	return filepath.Join(dirs[w.rng.IntN(len(dirs))], fmt.Sprint("f", w.rng.IntN(8)))
}

func (w *world) files() []string   { return sortedKeys(w.names) }
func (w *world) folders() []string { return sortedKeys(w.dirs) }

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (w *world) openFile() {
	if len(w.open) >= 8 {
		w.closeOne()
		return
	}
	path := w.anyPath()
	flag := []int{os.O_RDONLY, os.O_WRONLY, os.O_RDWR}[w.rng.IntN(3)]
	if flag != os.O_RDONLY {
		for _, f := range []int{os.O_CREATE, os.O_CREATE, os.O_TRUNC, os.O_APPEND} {
			if w.rng.IntN(3) == 0 {
				flag |= f
			}
		}
		if flag&os.O_CREATE != 0 && w.rng.IntN(4) == 0 {
			flag |= os.O_EXCL
		}
	}
	w.note("open %s %#x", path, flag)
	ino, exists := w.names[path]
	var want syscall.Errno
	switch {
	case w.dirs[path]:
		want = syscall.EISDIR
		if flag&os.O_EXCL != 0 {
			want = syscall.EEXIST
		} else if flag == os.O_RDONLY {
			return
		}
	case exists && flag&os.O_EXCL != 0:
		want = syscall.EEXIST
	case !exists && flag&os.O_CREATE == 0:
		want = syscall.ENOENT
	}
	f, err := os.OpenFile(w.at(path), flag, 0o644)
	if !w.check(err, want) {
		return
	}
	if !exists {
		ino = &node{}
		w.names[path] = ino
	}
	if flag&os.O_TRUNC != 0 {
		ino.data = nil
	}
	mode := flag & (os.O_WRONLY | os.O_RDWR)
	w.open = append(w.open, &descriptor{f: f, ino: ino, read: mode != os.O_WRONLY, write: mode != os.O_RDONLY, append: flag&os.O_APPEND != 0})
}

// choose gives an open descriptor that can do so, nil without one.
func (w *world) choose(can func(*descriptor) bool) *descriptor {
	var fit []*descriptor
	for _, d := range w.open {
		if can(d) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return fit[w.rng.IntN(len(fit))]
}

func (w *world) writeSome() {
	d := w.choose(func(d *descriptor) bool { return d.write })
	if d == nil {
		w.openFile()
		return
	}
	p := make([]byte, 1+w.rng.IntN(1<<w.rng.IntN(18)))
	for i := range p {
		p[i] = byte(w.rng.Uint32())
	}
	off := d.pos // most programs write on and on
	if w.rng.IntN(3) == 0 {
		off = w.rng.Int64N(300_000)
	}
	if d.append {
		off = int64(len(d.ino.data))
	}
	w.note("write %s: %d bytes at %d (append %v)", d.f.Name(), len(p), off, d.append)
	var err error
	if d.append {
		_, err = d.f.Write(p)
	} else {
		_, err = d.f.WriteAt(p, off)
	}
	if w.check(err, 0) {
		d.ino.put(p, off)
		d.pos = off + int64(len(p))
	}
}

func (ino *node) put(p []byte, off int64) {
	if need := int(off) + len(p) - len(ino.data); need > 0 {
		ino.data = append(ino.data, make([]byte, need)...)
	}
	copy(ino.data[off:], p)
}

func (ino *node) resize(n int64) {
	if n <= int64(len(ino.data)) {
		ino.data = ino.data[:n:n] // what is behind must not come back
		return
	}
	ino.data = append(ino.data, make([]byte, n-int64(len(ino.data)))...)
}

func (w *world) readSome() {
	d := w.choose(func(d *descriptor) bool { return d.read })
	if d == nil {
		return
	}
	p, off := make([]byte, 1+w.rng.IntN(1<<w.rng.IntN(18))), w.rng.Int64N(300_000)
	w.note("read %s: %d bytes at %d", d.f.Name(), len(p), off)
	n, err := d.f.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	var want []byte
	if off < int64(len(d.ino.data)) {
		want = d.ino.data[off:min(int64(len(d.ino.data)), off+int64(len(p)))]
	}
	if w.check(err, 0) && !bytes.Equal(p[:n], want) {
		w.t.Errorf("%s: %d bytes that are not the model's %d", w.log[len(w.log)-1], n, len(want))
	}
}

func (w *world) closeOne() {
	if len(w.open) == 0 {
		return
	}
	i := w.rng.IntN(len(w.open))
	d := w.open[i]
	w.open = slices.Delete(w.open, i, i+1)
	w.note("close %s", d.f.Name())
	w.check(d.f.Close(), 0)
}

func (w *world) syncOne() {
	if d := w.choose(func(*descriptor) bool { return true }); d != nil {
		w.note("fsync %s", d.f.Name())
		w.check(d.f.Sync(), 0)
	}
}

func (w *world) truncateOpen() {
	if d := w.choose(func(d *descriptor) bool { return d.write }); d != nil {
		n := w.rng.Int64N(300_000)
		w.note("ftruncate %s to %d", d.f.Name(), n)
		if w.check(d.f.Truncate(n), 0) {
			d.ino.resize(n)
		}
	}
}

func (w *world) truncatePath() {
	path, n := w.anyPath(), w.rng.Int64N(300_000)
	if w.dirs[path] {
		return
	}
	w.note("truncate %s to %d", path, n)
	ino, want := w.names[path], syscall.Errno(0)
	if ino == nil {
		want = syscall.ENOENT
	}
	if w.check(os.Truncate(w.at(path), n), want) {
		ino.resize(n)
	}
}

func (w *world) rename() {
	from, to := w.anyPath(), w.anyPath()
	if w.dirs[from] {
		return
	}
	w.note("rename %s to %s", from, to)
	ino, want := w.names[from], syscall.Errno(0)
	switch {
	case ino == nil:
		want = syscall.ENOENT
	case w.dirs[to]:
		want = syscall.EISDIR
	}
	if w.check(syscall.Rename(w.at(from), w.at(to)), want) {
		delete(w.names, from)
		w.names[to] = ino
	}
}

func (w *world) unlink() {
	path := w.anyPath()
	w.note("unlink %s", path)
	var want syscall.Errno
	switch {
	case w.dirs[path]:
		want = syscall.EISDIR
	case w.names[path] == nil:
		want = syscall.ENOENT
	}
	if w.check(syscall.Unlink(w.at(path)), want) {
		delete(w.names, path)
	}
}

// below says whether path is dir or in it.
func below(path, dir string) bool {
	return dir == "" || path == dir || strings.HasPrefix(path, dir+"/")
}

func (w *world) empty(dir string) bool {
	for _, path := range append(w.files(), w.folders()...) {
		if path != dir && below(path, dir) {
			return false
		}
	}
	return true
}

func (w *world) makeDir() {
	dirs := w.folders()
	parent := dirs[w.rng.IntN(len(dirs))]
	path := filepath.Join(parent, fmt.Sprint("d", w.rng.IntN(4)))
	if strings.Count(path, "/") > 3 {
		return
	}
	w.note("mkdir %s", path)
	var want syscall.Errno
	if w.dirs[path] {
		want = syscall.EEXIST
	}
	if w.check(os.Mkdir(w.at(path), 0o755), want) {
		w.dirs[path] = true
	}
}

func (w *world) removeDir() {
	dirs := w.folders()
	path := dirs[w.rng.IntN(len(dirs))]
	if path == "" {
		return
	}
	w.note("rmdir %s", path)
	var want syscall.Errno
	if !w.empty(path) {
		want = syscall.ENOTEMPTY
	}
	if w.check(syscall.Rmdir(w.at(path)), want) {
		delete(w.dirs, path)
	}
}

func (w *world) renameDir() {
	dirs := w.folders()
	from, to := dirs[w.rng.IntN(len(dirs))], filepath.Join(dirs[w.rng.IntN(len(dirs))], fmt.Sprint("d", w.rng.IntN(4)))
	if from == "" || from == to || below(from, to) {
		return
	}
	w.note("rename folder %s to %s", from, to)
	var want syscall.Errno
	switch {
	case below(to, from):
		want = syscall.EINVAL
	case w.dirs[to] && !w.empty(to):
		want = syscall.ENOTEMPTY
	}
	if !w.check(syscall.Rename(w.at(from), w.at(to)), want) {
		return
	}
	for _, path := range w.files() {
		if below(path, from) {
			w.names[to+path[len(from):]] = w.names[path]
			delete(w.names, path)
		}
	}
	for _, path := range w.folders() {
		if path != "" && below(path, from) {
			delete(w.dirs, path)
			w.dirs[to+path[len(from):]] = true
		}
	}
}

func (w *world) statOne() {
	path := w.anyPath()
	w.note("stat %s", path)
	fi, err := os.Stat(w.at(path))
	ino := w.names[path]
	switch {
	case ino == nil && !w.dirs[path]:
		w.check(err, syscall.ENOENT)
	case w.check(err, 0) && ino != nil && fi.Size() != int64(len(ino.data)):
		w.t.Errorf("stat %s: size %d, the model says %d", path, fi.Size(), len(ino.data))
	}
}

func (w *world) list() {
	dirs := w.folders()
	dir := dirs[w.rng.IntN(len(dirs))]
	w.note("list %q", dir)
	entries, err := os.ReadDir(w.at(dir))
	if !w.check(err, 0) {
		return
	}
	var got, want []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	for _, path := range append(w.files(), w.folders()...) {
		if parent := filepath.Dir(path); path != "" && (parent == dir || parent == "." && dir == "") {
			want = append(want, filepath.Base(path))
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Errorf("list %q: %q, the model says %q", dir, got, want)
	}
}

func (w *world) readWhole() {
	files := w.files()
	if len(files) == 0 {
		return
	}
	path := files[w.rng.IntN(len(files))]
	w.note("read all of %s", path)
	w.compare(w.at(path), w.names[path])
}

func (w *world) compare(place string, ino *node) {
	got, err := os.ReadFile(place)
	if w.check(err, 0) && !bytes.Equal(got, ino.data) {
		at := 0
		for at < min(len(got), len(ino.data)) && got[at] == ino.data[at] {
			at++
		}
		w.t.Errorf("%s: %d bytes, the model says %d; they differ from byte %d on", place, len(got), len(ino.data), at)
	}
}

// compareAll closes everything and compares the mount and the server's disk with the model.
func (w *world) compareAll() {
	for len(w.open) > 0 {
		w.closeOne()
	}
	w.note("compare everything")
	for _, path := range w.files() {
		w.compare(filepath.Join(w.disk, path), w.names[path])
		w.compare(w.at(path), w.names[path])
	}
	if extra := w.extra(w.mount); extra != nil {
		w.t.Errorf("%q are not in the model", extra)
	}
	for deadline := time.Now().Add(quiet); ; time.Sleep(20 * time.Millisecond) {
		extra := w.extra(w.disk)
		if extra == nil {
			return
		}
		// What was unlinked while open goes when the kernel tells of the close, which is later.
		foreign := func(path string) bool { return !tempName.MatchString(filepath.Base(path)) }
		if slices.ContainsFunc(extra, foreign) || time.Now().After(deadline) {
			w.t.Errorf("%q are not in the model", extra)
			return
		}
	}
}

// extra gives the paths below root that the model does not have.
func (w *world) extra(root string) []string {
	return pathsBelow(w.t, root, func(path string, _ os.DirEntry) bool {
		rel := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		return w.names[rel] == nil && !w.dirs[rel]
	})
}

// TestTortureModel holds the model against a local file system, so that a difference on a mount is the mount's.
func TestTortureModel(t *testing.T) {
	for seed := range uint64(5) {
		dir := t.TempDir()
		newWorld(t, seed, dir, dir).run(1500)
	}
}
