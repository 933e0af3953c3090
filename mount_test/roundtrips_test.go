//go:build linux

package mount_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// operation is what an application does, and how many round trips it may wait for at most.
type operation struct {
	name string
	// limit is the budget on this server.
	limit func(c cell) int64
	// prepare makes what the operation needs on the server's disk, before the mount.
	prepare func(r *row)
	// first is done through the mount before the count begins.
	first func(r *row)
	do    func(r *row)
}

// row is one operation on one mount, in a folder of its own.
type row struct {
	*scene
	f *os.File // left open by first; its download has a connection
}

func atMost(n int64) func(cell) int64 { return func(cell) int64 { return n } }

// onVSFTPD is n there, and other on the servers besides.
func onVSFTPD(n, other int64) func(cell) int64 {
	return func(c cell) int64 {
		if c.kind == lab.VSFTPD {
			return n
		}
		return other
	}
}

// listing is what a listing costs as a part of what n allows: with TLS 1.2 Pure-FTPd has to be asked for its end (ADR 4).
func listing(n func(cell) int64) func(cell) int64 {
	return func(c cell) int64 {
		if c.kind == lab.PureFTPd && c.version == "1.2" {
			return n(c) + 1
		}
		return n(c)
	}
}

// list reads a folder with its attributes.
func (r *row) list(dir string) {
	entries, err := os.ReadDir(r.path(dir))
	r.ok(err)
	for _, e := range entries {
		_, err := e.Info()
		r.ok(err)
	}
}

func (r *row) stat(name string) {
	_, err := os.Stat(r.path(name))
	r.ok(err)
}

func oneFile(r *row)    { r.put("f", randomBytes(1, 4096)) }
func listFolder(r *row) { r.list("") }

// operations are the table of budgets. Every one is asserted by the mount's own counter, on a connection that is there. They are what is
// reached, which is less than what was asked for in some rows. Fewer are counted where an answer is there before somebody waits for it,
// as it happens on a line without a round trip.
var operations = []operation{
	{"stat in a listed folder", atMost(0), oneFile, listFolder, func(r *row) { r.stat("f") }},
	{"open in a listed folder", atMost(0), oneFile, listFolder, func(r *row) {
		f, err := os.Open(r.path("f"))
		r.ok(err)
		r.ok(f.Close())
	}},
	{"stat in an unlisted folder", atMost(1), oneFile, nil, func(r *row) { r.stat("f") }},
	{"list a folder", listing(atMost(2)), func(r *row) {
		for i := range 100 {
			r.put(fmt.Sprint("f", i), []byte("x"))
		}
	}, nil, listFolder},
	{"names of a folder", listing(onVSFTPD(1, 2)), oneFile, nil, func(r *row) { r.names("") }},
	{"first byte of a file of 1 GiB", atMost(2), func(r *row) {
		r.put("f", nil)
		r.ok(os.Truncate(r.disk("f"), 1<<30))
	}, listFolder, func(r *row) {
		f := r.open("f", os.O_RDONLY)
		_, err := f.Read(make([]byte, 1))
		r.ok(err)
	}},
	{"open and first byte", atMost(2), func(r *row) { r.put("f", randomBytes(1, 30<<20)) }, listFolder, func(r *row) {
		f := r.open("f", os.O_RDONLY)
		_, err := f.Read(make([]byte, 1))
		r.ok(err)
	}},
	{"read a small file", atMost(2), oneFile, listFolder, func(r *row) { r.inMount("f", randomBytes(1, 4096)) }},
	{"read after a seek", atMost(2), func(r *row) { r.put("f", randomBytes(1, 30<<20)) }, func(r *row) {
		r.f = r.open("f", os.O_RDONLY)
		_, err := r.f.Read(make([]byte, 1))
		r.ok(err)
	}, func(r *row) {
		_, err := r.f.ReadAt(make([]byte, 4096), 25<<20)
		r.ok(err)
	}},
	{"create a small file", atMost(3), nil, listFolder, func(r *row) { r.write("f", randomBytes(1, 4096)) }},
	{"create with mode and time set", atMost(3), nil, listFolder, func(r *row) {
		f := r.open("f", os.O_WRONLY|os.O_CREATE)
		_, err := f.Write(randomBytes(1, 4096))
		r.ok(err)
		r.ok(f.Chmod(0o600))
		r.ok(os.Chtimes(r.path("f"), someday, someday))
		r.ok(f.Close())
	}},
	{"overwrite a small file", atMost(4), oneFile, listFolder, func(r *row) { r.write("f", randomBytes(2, 4096)) }}, // vsftpd: 3 where its 226 is there in time
	{"mkdir", atMost(1), nil, listFolder, func(r *row) { r.ok(os.Mkdir(r.path("d"), 0o755)) }},
	// vsftpd tells no modes, so that of another host's folder could not be given back (ADR 8).
	{"mkdir with a mode of its own", onVSFTPD(2, 1), nil, listFolder, func(r *row) { r.ok(os.Mkdir(r.path("d"), 0o700)) }},
	{"unlink", atMost(1), oneFile, listFolder, func(r *row) { r.ok(syscall.Unlink(r.path("f"))) }},
	{"rmdir", atMost(1), func(r *row) { r.putDir("d") }, listFolder, func(r *row) { r.ok(syscall.Rmdir(r.path("d"))) }},
	{"rename", atMost(1), oneFile, listFolder, func(r *row) { r.ok(os.Rename(r.path("f"), r.path("g"))) }},
	{"rename over a file", atMost(1), func(r *row) { oneFile(r); r.put("g", nil) }, listFolder, func(r *row) {
		r.ok(os.Rename(r.path("f"), r.path("g")))
	}},
	{"chmod", atMost(1), oneFile, listFolder, func(r *row) { r.ok(os.Chmod(r.path("f"), 0o600)) }},
	{"utimes", atMost(1), oneFile, listFolder, func(r *row) { r.ok(os.Chtimes(r.path("f"), someday, someday)) }},
	{"a hundred stats in one unlisted folder", listing(atMost(3)), func(r *row) {
		for i := range 100 {
			r.put(fmt.Sprint("f", i), []byte("x"))
		}
	}, nil, func(r *row) {
		for i := range 100 {
			r.stat(fmt.Sprint("f", i))
		}
	}},
	// How many there are of eight programs at once depends on the processors; who waits for whom is looked at in TestOverlap.
	{"unlink 500 files of one folder by eight", atMost(500 * 105 / 100), manyFiles(""), listFolder, unlinkByEight(func(int) string { return "" })},
	{"unlink 500 files of eight folders by eight", atMost(500 * 120 / 100), manyFiles("0", "1", "2", "3", "4", "5", "6", "7"), func(r *row) {
		for i := range 8 {
			r.list(fmt.Sprint(i))
		}
	}, unlinkByEight(func(worker int) string { return fmt.Sprint(worker) })},
}

// manyFiles spreads 500 files over folders.
func manyFiles(dirs ...string) func(*row) {
	return func(r *row) {
		for _, d := range dirs {
			if d != "" {
				r.putDir(d)
			}
		}
		for i := range 500 {
			r.put(filepath.Join(dirs[i%len(dirs)], fmt.Sprint("f", i)), nil)
		}
	}
}

// unlinkByEight removes the files by eight programs at once, each those whose number leaves its own rest.
func unlinkByEight(dir func(worker int) string) func(*row) {
	return func(r *row) {
		var all sync.WaitGroup
		for w := range 8 {
			all.Go(func() {
				script := `cd "$1"; i=$2; while [ $i -lt 500 ]; do rm f$i || exit 1; i=$((i+8)); done`
				out, err := output(exec.Command("sh", "-c", script, "sh", r.path(dir(w)), fmt.Sprint(w)), time.Minute)
				if err != nil {
					r.Errorf("%v: %s", err, out)
				}
			})
		}
		all.Wait()
	}
}

// TestRoundTrips holds every operation to its budget.
func TestRoundTrips(t *testing.T) {
	inTurn(t, bothVersions, func(t *testing.T, c cell) {
		server := c.start(t)
		// Each row has a folder in a folder of its own, against the order of names: else going from one to the other would be taken
		// for a walk.
		folder := func(i int) string { return fmt.Sprintf("row%02d/in", len(operations)-i) }
		makeServed(t, server, "warm")
		for i, op := range operations {
			makeServed(t, server, filepath.Dir(folder(i)))
			makeServed(t, server, folder(i))
			if op.prepare != nil {
				op.prepare(&row{scene: &scene{T: t, c: c, server: server, dir: folder(i)}})
			}
		}
		url, rtt := server.URL, roundTrip(t)
		if rtt > 0 {
			r := relay.Start(t, relay.Options{Target: server.Host, Port: server.Port, PassiveLow: server.PassiveLow, PassiveHigh: server.PassiveHigh})
			r.SetRTT(rtt)
			url = server.URLVia(r.Host)
		}
		m := mountURL(t, server, url, "attr_ttl=1h", "dir_ttl=1h")
		learn(t, m)
		for i, op := range operations {
			t.Run(op.name, func(t *testing.T) {
				r := &row{scene: &scene{T: t, m: m, c: c, server: server, dir: folder(i)}}
				_, err := os.Stat(r.path("")) // the way to the folder is known
				must(t, err)
				if op.first != nil {
					op.first(r)
				}
				held := int64(0)
				if r.f != nil {
					held = 1
				}
				warmUp(t, m, held)
				before := m.status()
				start := time.Now()
				op.do(r)
				if rtt > 0 {
					t.Logf("%.1f round trips by the clock", float64(time.Since(start))/float64(rtt))
				}
				after := m.status()
				got, limit := m.number(after, waits)-m.number(before, waits), op.limit(c)
				t.Logf("%d round trips, %d allowed", got, limit)
				if got > limit {
					t.Errorf("%d round trips, %d allowed:\n%s", got, limit, after.since(before))
				}
			})
		}
	})
}

// roundTrip gives the round trip of a line to be put before the server, so that the counters can be compared with the clock:
// FTPSFS_RTT=100ms. Without it there is none.
func roundTrip(t *testing.T) time.Duration {
	t.Helper()
	v := os.Getenv("FTPSFS_RTT")
	if v == "" {
		return 0
	}
	rtt, err := time.ParseDuration(v)
	must(t, err)
	return rtt
}

// learn does everything once that a mount finds out about a server when it is first needed.
func learn(t *testing.T, m *mnt) {
	t.Helper()
	dir, file := m.path("warm", "d"), m.path("warm", "learn")
	must(t, os.Mkdir(dir, 0o750))
	for range 2 { // new, and over an existing file
		must(t, os.WriteFile(file, []byte("x"), 0o640))
	}
	must(t, os.Chtimes(file, someday, someday))
	must(t, os.Chmod(file, 0o600))
	must(t, os.Rename(file, filepath.Join(dir, "g")))
	must(t, os.Remove(filepath.Join(dir, "g")))
	must(t, os.Remove(dir))
}

// warmUp uses the mount, so that a connection is there besides those that are held, and waits until what it prepares ahead of time
// is done.
func warmUp(t *testing.T, m *mnt, held int64) {
	t.Helper()
	name := m.path("warm", "f")
	if err := os.WriteFile(name, []byte("warm"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	calm(t, m, held)
}

// calm waits until the mount does nothing in the background any more: two looks in a row find the same counters, and each
// idle connection has its data channel made ahead, or gets none within a second. held is how many
// connections are in use all the time.
func calm(t *testing.T, m *mnt, held int64) {
	t.Helper()
	last := m.status()
	start := time.Now()
	for time.Since(start) < 10*time.Second {
		time.Sleep(30 * time.Millisecond)
		now := m.status()
		is := func(gauge string) int64 { return m.number(now, "pool.connections."+gauge) }
		quiet := is("dialing") == 0 && is("busy") <= held && (is("ready") >= is("idle") || time.Since(start) > time.Second)
		for _, name := range []string{waits, "pool.background_waits", transfers, opened} {
			quiet = quiet && m.number(now, name) == m.number(last, name)
		}
		if quiet {
			return
		}
		last = now
	}
	t.Error("the mount never comes to rest")
}
