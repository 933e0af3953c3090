//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// What TestOverlap works on.
const (
	overlapRTT     = 10 * time.Millisecond
	overlapFolders = 40
	overlapFiles   = 100
	overlapWorkers = 8 // as many as there are connections
	overlapWriters = 6 // long transfers leave a connection, which is for who reads or lists
)

// TestOverlap: programs that work at the same time do not wait for each other, and one that goes from folder to folder, or from file to file,
// finds the next ones there, with nothing fetched that it did not ask for. The line has a round trip, so that there is something to wait
// for; what is asserted are counters, not times.
func TestOverlap(t *testing.T) {
	inTurn(t, realServers, func(t *testing.T, c cell) {
		server := c.start(t)
		o := overlap{t: t, server: server}
		o.serve()
		r := relay.Start(t, relay.Options{Target: server.Host, Port: server.Port, PassiveLow: server.PassiveLow, PassiveHigh: server.PassiveHigh})
		r.SetRTT(overlapRTT)
		o.url = server.URLVia(r.Host)
		o.m = mountURL(t, server, o.url, "attr_ttl=1h", "dir_ttl=1h")
		learn(t, o.m)
		// In folders against the order of names: else going from one to the other would be taken for a walk.
		t.Run("walk", o.walk)
		t.Run("tar", o.tar)
		t.Run("read in order", o.readInOrder)
		t.Run("read at once", o.readAtOnce)
		t.Run("create at once", o.create)
		t.Run("unlink in eight folders", o.unlink)
		t.Run("cat", o.cat)
	})
}

// overlap is one server, and one mount of it.
type overlap struct {
	t      *testing.T
	server *lab.Server
	url    string // through the relay
	m      *mnt
}

func (o *overlap) serve() {
	s := o.server
	for _, dir := range []string{"warm", "cat", "walk", "tar", "order", "made"} {
		makeServed(o.t, s, dir)
	}
	for i := range overlapFolders {
		dir := fmt.Sprintf("walk/d%02d", i)
		makeServed(o.t, s, dir)
		for j := range 5 {
			serve(o.t, s, fmt.Sprint(dir, "/file-", j), nil)
		}
	}
	serve(o.t, s, "cat/large", randomBytes(1, 3<<20))
	for i := range 20 {
		serve(o.t, s, fmt.Sprint("cat/f", i), randomBytes(uint64(i), 4000))
		dir := fmt.Sprint("tar/d", i%4)
		if i < 4 {
			makeServed(o.t, s, dir)
		}
		serve(o.t, s, fmt.Sprint(dir, "/f", i), randomBytes(uint64(i), 9000*i))
	}
	for i := range overlapFiles {
		serve(o.t, s, fmt.Sprintf("order/f%03d", i), randomBytes(uint64(i), 4000))
	}
	for w := range overlapWorkers {
		for _, dir := range []string{"once", "gone"} {
			dir = fmt.Sprint(dir, w)
			makeServed(o.t, s, dir)
			for i := range 500/overlapWorkers + 1 {
				serve(o.t, s, fmt.Sprint(dir, "/f", i), randomBytes(uint64(i), 4000))
			}
		}
	}
}

// spends holds what do costs to limits of counters. A limit below zero is a share of the bytes that came in: one in so many.
func (o *overlap) spends(t *testing.T, limits map[string]int64, do func()) {
	t.Helper()
	before := o.m.status()
	do()
	after := o.m.status()
	for name, most := range limits {
		n := o.number(after, name) - o.number(before, name)
		if most < 0 {
			most = (o.number(after, received) - o.number(before, received)) / -most
		}
		t.Logf("%s: %d, %d allowed", name, n, most)
		if n > most {
			t.Errorf("%s: %d, %d allowed:\n%s", name, n, most, after.since(before))
		}
	}
}

// bytesInVain is the sum of what was fetched and not asked for, up to now.
const bytesInVain = "bytes in vain"

// aTenth is what may be in vain where all that is fetched ahead is asked for in the end: on a machine that is busy a program that waits for a
// connection for too long has one that is fetching ahead give up. Otherwise it is nothing.
const aTenth = -10

func (o *overlap) number(s status, name string) int64 {
	if name != bytesInVain {
		return o.m.number(s, name)
	}
	n := o.m.number(s, "read_ahead.held")
	for _, name := range inVain {
		n += o.m.number(s, name)
	}
	return n
}

// walk: the folders that come next are listed ahead. One behind the other is two round trips for each.
func (o *overlap) walk(t *testing.T) {
	o.spends(t, map[string]int64{waits: 50, bytesInVain: aTenth}, func() {
		out, err := output(exec.Command("ls", "-lR", o.m.path("walk")), time.Minute)
		if n := strings.Count(out, "file-"); err != nil || n != 5*overlapFolders {
			t.Errorf("%d names, %v", n, err)
		}
	})
}

// tar: a folder that is read whole is all used.
func (o *overlap) tar(t *testing.T) {
	o.spends(t, map[string]int64{bytesInVain: aTenth}, func() {
		copied := lab.Folder(t, "ftpsfs-tar-")
		runTool(t, copied, "sh", "-ec", `tar cf archive -C "$1" tar; tar xf archive; diff -r tar "$2"`, "sh", o.m.dir, o.server.Disk("tar"))
	})
}

// readInOrder: the files that come next are fetched ahead. One behind the other is two round trips for each.
func (o *overlap) readInOrder(t *testing.T) {
	o.spends(t, map[string]int64{waits: 100, bytesInVain: aTenth}, func() {
		for i := range overlapFiles {
			got, err := os.ReadFile(o.m.path("order", fmt.Sprintf("f%03d", i)))
			if err != nil || !bytes.Equal(got, randomBytes(uint64(i), 4000)) {
				t.Errorf("file %d: %d bytes, %v", i, len(got), err)
			}
		}
	})
}

// at runs one program for each worker, all at once.
func (o *overlap) at(t *testing.T, workers int, script string, args func(worker int) []string) {
	t.Helper()
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			out, err := output(exec.Command("sh", append([]string{"-ec", script, "sh"}, args(w)...)...), time.Minute)
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	all.Wait()
}

// readAtOnce: on a mount that has one connection, each program that finds none free gets one made for it, until all are there.
func (o *overlap) readAtOnce(t *testing.T) {
	m := mountURL(t, o.server, o.url)
	var all sync.WaitGroup
	for w := range overlapWorkers {
		all.Go(func() {
			for i := range 10 {
				i = i * 7 % 10 * 3 // in no order
				got, err := os.ReadFile(m.path(fmt.Sprint("once", w), fmt.Sprint("f", i)))
				if err != nil || !bytes.Equal(got, randomBytes(uint64(i), 4000)) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
		})
	}
	all.Wait()
	calm(t, m, 0)
	if n := m.number(m.status(), "pool.connections.open"); n != overlapWorkers {
		t.Errorf("%d connections", n)
	}
}

// create: who closes a file that he has written does not wait for the others' files.
func (o *overlap) create(t *testing.T) {
	o.spends(t, map[string]int64{queued: 30}, func() {
		o.at(t, overlapWriters, `i=0; while [ $i -lt 10 ]; do echo content > "$1/$2-$i"; i=$((i+1)); done`, func(w int) []string {
			return []string{o.m.path("made"), fmt.Sprint(w)}
		})
	})
	for w := range overlapWriters {
		for i := range 10 {
			onServer(t, o.server, filepath.Join("made", fmt.Sprint(w, "-", i)), []byte("content\n"))
		}
	}
}

// unlink: with a connection for each nobody waits but for the round trip of his own command.
func (o *overlap) unlink(t *testing.T) {
	for w := range overlapWorkers {
		_, err := os.ReadDir(o.m.path(fmt.Sprint("gone", w)))
		must(t, err)
	}
	warmUp(t, o.m, 0)
	o.spends(t, map[string]int64{waits: 600, queued: 100}, func() {
		o.at(t, overlapWorkers, `cd "$1"; i=0; while [ $i -lt 63 ]; do rm f$i; i=$((i+1)); done`, func(w int) []string {
			return []string{o.m.path(fmt.Sprint("gone", w))}
		})
	})
}

// cat: who reads one file, small or large, is sent that file.
func (o *overlap) cat(t *testing.T) {
	for _, name := range []string{"f7", "large"} {
		o.spends(t, map[string]int64{bytesInVain: 0, "cache.prefetched": 0, "read_ahead.files": 0}, func() {
			want, err := os.ReadFile(o.server.Disk("cat", name))
			must(t, err)
			got, err := output(exec.Command("cat", o.m.path("cat", name)), time.Minute)
			if err != nil || got != string(want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
