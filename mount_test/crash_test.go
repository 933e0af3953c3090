//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// ledger is what a workload was told, so that one can ask after a crash whether it was true.
type ledger struct {
	mu       sync.Mutex
	acked    map[string][]byte // content that a close or fsync acknowledged; guarded by mu
	underway map[string][]byte // content that was being put in its place; guarded by mu
}

func (l *ledger) begin(name string, content []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.underway[name] = content
}

func (l *ledger) done(name string, content []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[name] = content
	delete(l.underway, name)
}

// check holds the server's disk against the ledger.
func (l *ledger) check(t *testing.T, when string, s *lab.Server) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, want := range l.acked {
		got, err := os.ReadFile(s.Disk(name))
		if next, ok := l.underway[name]; ok && err == nil && bytes.Equal(got, next) {
			continue // it was complete, only the answer was missing
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s has %d bytes, %d were acknowledged; %v", when, name, len(got), len(want), err)
		}
	}
}

// settle takes over what is on the disk of files whose last write was not acknowledged.
func (l *ledger) settle(s *lab.Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.underway {
		if got, err := os.ReadFile(s.Disk(name)); err == nil {
			l.acked[name] = got
		}
		delete(l.underway, name)
	}
}

// TestKilled kills the mount at seeded moments of a mixed workload. Whatever close or fsync acknowledged is on the
// server, no old content was lost, and the next mount leaves no litter. Programs that other tests start would close what the
// workload has open, which may publish a part of it.
func TestKilled(t *testing.T) {
	inTurn(t, realServers, func(t *testing.T, c cell) { killOften(t, c.start(t), pick(6, 200), true) })
	t.Run("proftpd-restricted", func(t *testing.T) { // where a file is replaced in three steps
		killOften(t, cell{lab.ProFTPD, false, "1.3"}.start(t, restricted...), pick(3, 200), false)
	})
}

// killOften is one server's part. inPlace: files are under their names at every moment, not only when the next mount has looked.
func killOften(t *testing.T, s *lab.Server, times int, inPlace bool) {
	state := stateDir(t)
	l := &ledger{acked: map[string][]byte{}, underway: map[string][]byte{}}
	rng := rand.New(rand.NewPCG(11, uint64(len(s.Kind))))
	for round := range times {
		m := mountServer(t, s, "state_dir="+state)
		// By descriptor: where the mount was is an ordinary folder after the kill.
		root, err := os.OpenRoot(m.dir)
		must(t, err)
		var workers sync.WaitGroup
		for w := range 3 {
			seed := rng.Uint64()
			workers.Go(func() { l.work(root, rand.New(rand.NewPCG(seed, 1)), w) })
		}
		time.Sleep(time.Duration(50+rng.IntN(700)) * time.Millisecond) // the moment is the point
		m.kill()
		workers.Wait()
		root.Close()
		if inPlace {
			l.check(t, fmt.Sprintf("after kill %d", round), s)
		}
		next := mountServer(t, s, "state_dir="+state)
		l.check(t, fmt.Sprintf("after recovery %d", round), s)
		next.unmount()
		if litter := tempFiles(t, s.Root); litter != nil {
			t.Errorf("the mount after kill %d left %q", round, litter)
		}
		l.settle(s)
		if t.Failed() {
			return
		}
	}
}

// work writes until the mount is gone: new files, rewritten files, fsync in the middle, changes in the middle.
func (l *ledger) work(root *os.Root, rng *rand.Rand, worker int) {
	for i := 0; ; i++ {
		name := fmt.Sprintf("w%d-f%d", worker, rng.IntN(6))
		content := randomBytes(rng.Uint64(), 1+rng.IntN(1<<(10+rng.IntN(12))))
		l.begin(name, content)
		f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return
		}
		half := len(content) / 2
		if rng.IntN(2) == 0 {
			half = len(content)
		}
		_, err = f.Write(content[:half])
		if err == nil && half < len(content) {
			_, err = f.WriteAt(content[half:], int64(half))
		}
		if err == nil && rng.IntN(3) == 0 {
			err = f.Sync()
		}
		if e := f.Close(); err == nil {
			err = e
		}
		if err != nil {
			return
		}
		l.done(name, content)
	}
}

// TestManyFlushes closes duplicates of a descriptor a thousand times while it is written.
func TestManyFlushes(t *testing.T) {
	run := func(t *testing.T, s *lab.Server) {
		m := mountServer(t, s)
		const piece, pieces = 1000, 1000
		want := randomBytes(12, piece*pieces)
		before := m.number(m.status(), sent)
		f, err := os.Create(m.path("f"))
		must(t, err)
		for i := range pieces {
			_, err := f.Write(want[i*piece : (i+1)*piece])
			must(t, err)
			fd, err := syscall.Dup(int(f.Fd()))
			must(t, err)
			must(t, syscall.Close(fd))
		}
		must(t, f.Close())
		if got, err := os.ReadFile(m.server.Disk("f")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the server, %v", len(got), err)
		}
		if n := m.number(m.status(), sent) - before; n > 2*int64(len(want)) {
			t.Errorf("%d bytes sent for %d", n, len(want))
		}
	}
	each(t, realServers, func(t *testing.T, c cell) { run(t, c.start(t)) })
	t.Run("proftpd-restricted", func(t *testing.T) {
		t.Parallel()
		run(t, cell{lab.ProFTPD, false, "1.3"}.start(t, restricted...))
	})
}

// TestLocksOfTwoMounts: lock files that one mount took are not taken by another a second later, and neither mount
// touches the other's temporary files.
func TestLocksOfTwoMounts(t *testing.T) {
	each(t, realServers, func(t *testing.T, c cell) {
		s := c.start(t)
		makeServed(t, s, "locks")
		mounts := []*mnt{mountServer(t, s, "neg_ttl=1h", "dir_ttl=1h"), mountServer(t, s, "neg_ttl=1h", "dir_ttl=1h")}
		must(t, os.WriteFile(mounts[0].path("f"), []byte("old"), 0o644))
		w := startWriter(t, mounts[0].path("f"))
		w.write(18 << 20)
		take := func(m *mnt, round, i int) error {
			f, err := os.OpenFile(m.path("locks", fmt.Sprintf("r%d-%d", round, i)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err == nil {
				err = f.Close()
			}
			return err
		}
		const each = 50
		for round := range pick(2, 10) {
			first, second := mounts[round%2], mounts[1-round%2]
			for i := range each {
				if _, err := os.Stat(second.path("locks", fmt.Sprintf("r%d-%d", round, i))); !os.IsNotExist(err) { // it believes in the absence now
					t.Fatal(err)
				}
			}
			for i := range each {
				must(t, take(first, round, i))
			}
			time.Sleep(1100 * time.Millisecond) // the promise speaks of a second
			for i := range each {
				if err := take(second, round, i); !os.IsExist(err) {
					t.Errorf("lock %d of round %d is held by both: %v", i, round, err)
				}
			}
		}
		must(t, w.close())
		if got, err := os.ReadFile(s.Disk("f")); err != nil || !bytes.Equal(got, writerBytes(18<<20)) {
			t.Errorf("the file that was written meanwhile has %d bytes, %v", len(got), err)
		}
	})
}
