//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/wire"
)

// oneWay is what each packet takes on the line of TestRoundTripLine.
const oneWay = 10 * time.Millisecond

// TestRoundTripLine: programs work on a line where everything that is sent is on its way for a while. On one machine it arrives
// before the other end can do anything else, which hides what a close, a reset or an end sent too early does to it.
func TestRoundTripLine(t *testing.T) {
	tool(t, "ip")
	tool(t, "nsenter")
	var atOnce sync.WaitGroup // whatever the number of processors: they wait for the line
	for _, c := range matrix {
		if bothVersions(c) {
			atOnce.Go(func() { t.Run(c.String(), func(t *testing.T) { overLine(t, c) }) })
		}
	}
	atOnce.Wait()
}

func overLine(t *testing.T, c cell) {
	l, err := wire.Start(t, oneWay)
	if err != nil {
		lab.Unavailable(t, "%v", err)
	}
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{Hosts: []string{l.Here}})
	s := lab.Start(t, lab.Options{Kind: c.kind, Version: c.version, Bind: "0.0.0.0", Cert: &cert, CAFile: ca.File})
	large := serveForLine(t, s)
	m := mountBy(t, l.Inside(), lab.Folder(t, "ftpsfs-mnt-"), s, s.URLVia(l.Here))
	before := l.Carried()
	t.Run("a folder of many names", func(t *testing.T) { lineManyNames(t, m) })
	t.Run("a tree", func(t *testing.T) { lineTree(t, m) })
	t.Run("a large file", func(t *testing.T) { lineLargeFile(t, m, large) })
	t.Run("small files", func(t *testing.T) { lineSmallFiles(t, m) })
	t.Run("many small files", func(t *testing.T) { lineManyFiles(t, m) })
	// What cannot be done so is tried again and may work in the end: here there is nothing that could fail.
	if st := m.status(); st["pool.retries"] != 0 {
		t.Errorf("%v operations failed and were tried again, on a line that loses nothing", st["pool.retries"])
	}
	if n := l.Carried() - before; n < int64(2*len(large)/1500) {
		t.Errorf("%d packets on the line: the mount goes another way", n)
	}
}

// Of these each takes several windows of a new connection, which are 14 KB at first.
const (
	lineNames = 4000
	lineLarge = 4 << 20
	lineSmall = 20
	lineFiles = 200
)

// serveForLine puts on the server what TestRoundTripLine looks for, and gives the content of its large file.
func serveForLine(t *testing.T, s *lab.Server) []byte {
	t.Helper()
	large := randomBytes(71, lineLarge)
	serve(t, s, "large", large)
	serve(t, s, "one", []byte("one file of many names"))
	makeServed(t, s, "many")
	for i := range lineNames {
		must(t, os.Link(s.Disk("one"), s.Disk("many", lineName(i))))
	}
	makeServed(t, s, "tree")
	for i := range 6 {
		dir := fmt.Sprint("tree/d", i)
		makeServed(t, s, dir)
		for j := range 4 {
			makeServed(t, s, fmt.Sprint(dir, "/e", j))
			for k := range 5 {
				serve(t, s, fmt.Sprint(dir, "/e", j, "/f", k), randomBytes(uint64(k), 100*i+10*j+k))
			}
		}
	}
	makeServed(t, s, "small")
	for i := range lineSmall {
		serve(t, s, fmt.Sprint("small/s", i), randomBytes(uint64(i), 1000*i))
	}
	makeServed(t, s, "files")
	for i := range lineFiles {
		serve(t, s, fmt.Sprint("files/f", i), lineFile(i))
	}
	return large
}

// lineFile is a file of 1 byte to 36 KB.
func lineFile(i int) []byte { return randomBytes(uint64(i), 1+i*i*9/10) }

func lineName(i int) string { return fmt.Sprintf("a-name-of-some-length-in-a-large-folder-%05d", i) }

func lineManyNames(t *testing.T, m *mnt) {
	entries, err := os.ReadDir(m.path("many"))
	if err != nil {
		t.Fatalf("%d names, %v", len(entries), err)
	}
	got := map[string]bool{}
	for _, e := range entries {
		got[e.Name()] = true
	}
	for i := range lineNames {
		if !got[lineName(i)] {
			t.Fatalf("%d names of %d, without %s", len(entries), lineNames, lineName(i))
		}
	}
	if len(entries) != lineNames {
		t.Errorf("%d names, %d are there", len(entries), lineNames)
	}
}

// lineTree does what ls -lR does.
func lineTree(t *testing.T, m *mnt) {
	got, want := sizesBelow(t, m.path("tree")), sizesBelow(t, m.server.Disk("tree"))
	if !slices.Equal(got, want) {
		t.Errorf("the tree in the mount:\n%s\non the server:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// sizesBelow lists all names below root, with the sizes of files.
func sizesBelow(t *testing.T, root string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if name := strings.TrimPrefix(path, root); d.IsDir() {
			all = append(all, name+"/")
		} else {
			all = append(all, fmt.Sprintf("%s %d", name, info.Size()))
		}
		return nil
	}))
	return all
}

func lineSmallFiles(t *testing.T, m *mnt) {
	for i := range lineSmall {
		got, err := os.ReadFile(m.path("small", fmt.Sprint("s", i)))
		if err != nil || !bytes.Equal(got, randomBytes(uint64(i), 1000*i)) {
			t.Errorf("s%d: %d bytes read, %v", i, len(got), err)
		}
	}
	must(t, os.Mkdir(m.path("made"), 0o755))
	for i := range lineSmall {
		name, content := fmt.Sprint("made/m", i), randomBytes(uint64(100+i), 1000*i)
		must(t, os.WriteFile(m.path(name), content, 0o644))
		onServer(t, m.server, name, content)
		if got, err := os.ReadFile(m.path(name)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes read back, %v", name, len(got), err)
		}
	}
}

// lineManyFiles reads by several at once, in no order, whatever the server does with what it is asked for ahead of their ends.
func lineManyFiles(t *testing.T, m *mnt) {
	before := m.status()["pool.ports_ahead"]
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			for i := r; i < lineFiles; i += 4 {
				i := i * 7 % lineFiles
				got, err := os.ReadFile(m.path("files", fmt.Sprint("f", i)))
				if err != nil || !bytes.Equal(got, lineFile(i)) {
					t.Errorf("f%d: %d bytes read, %v", i, len(got), err)
				}
			}
		})
	}
	readers.Wait()
	if n := m.status()["pool.ports_ahead"] - before; m.server.Kind == lab.ProFTPD && n == 0 {
		t.Error("no port was asked for ahead of the end of a file")
	}
}

func lineLargeFile(t *testing.T, m *mnt, served []byte) {
	if got, err := os.ReadFile(m.path("large")); err != nil || !bytes.Equal(got, served) {
		t.Errorf("%d bytes read, %v", len(got), err)
	}
	written := randomBytes(72, lineLarge)
	must(t, os.WriteFile(m.path("written"), written, 0o644))
	onServer(t, m.server, "written", written)
	if got, err := os.ReadFile(m.path("written")); err != nil || !bytes.Equal(got, written) {
		t.Errorf("%d bytes read back, %v", len(got), err)
	}
}
