//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// trouble makes random faults on a line, one after the other.
type trouble struct {
	line *relay.Relay
	rng  *rand.Rand
	rest time.Duration // between two faults, on the average
	made int
}

// one lets a fault happen and, where it lasts, ends it.
func (tr *trouble) one() {
	kind := []relay.Kind{relay.Control, relay.Data, relay.Any}[tr.rng.IntN(3)]
	lasts := time.Duration(tr.rng.Int64N(int64(faultTimeout / 2)))
	switch tr.rng.IntN(10) {
	case 0, 1:
		tr.line.CutAll(kind)
	case 2, 3:
		tr.line.ResetAll(kind)
	case 4, 5: // the n-th byte from now
		tr.line.Arm(relay.Rule{Kind: kind, Dir: relay.Direction(tr.rng.IntN(2)), After: tr.rng.Int64N(400_000), Do: relay.Action(tr.rng.IntN(2))})
	case 6:
		tr.line.Refuse(kind, true)
		time.Sleep(lasts / 2)
		tr.line.Refuse(relay.Any, false)
	case 7:
		tr.line.SetFlowRate(50_000)
		time.Sleep(lasts)
		tr.line.SetFlowRate(0)
	default:
		if tr.rng.IntN(6) == 0 {
			lasts *= 6 // more than a call waits
		}
		tr.line.FreezeAll(kind)
		time.Sleep(lasts)
		tr.line.ResumeAll()
	}
	tr.made++
	time.Sleep(tr.rest/2 + time.Duration(tr.rng.Int64N(int64(tr.rest))))
}

// over ends all trouble.
func (tr *trouble) over() {
	tr.line.Disarm()
	tr.line.Refuse(relay.Any, false)
	tr.line.SetFlowRate(0)
	tr.line.ResumeAll()
}

// held is what a mount holds on to; memory in MiB.
type held struct{ resident, heap, descriptors, goroutines, connections, staged int64 }

// swept waits for temporary names that could not be removed during the trouble: they are tried again within a minute.
func (f *faulty) swept() {
	for start := time.Now(); f.number(f.status(), "fs.content.temps") > 0 && time.Since(start) < 90*time.Second; {
		time.Sleep(100 * time.Millisecond)
	}
}

func (f *faulty) holds() held {
	f.swept()
	f.settled()
	s := f.status()
	return held{
		f.proc("VmRSS") >> 10, f.number(s, "process.heap_bytes") >> 20, f.descriptors(), f.number(s, "process.goroutines"), f.number(s, "pool.connections.open"),
		f.number(s, "stage.files"),
	}
}

// load is what programs do in a folder of their own until stop is closed. What was acknowledged must be true.
func (f *faulty) load(t *testing.T, n int, told *atomic.Int64, calls *atomic.Int64, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(n), 9))
	dir := f.folderName(faultFolders - 1 - n)
	known := map[string][]byte{} // what the server has, nil: not known
	var history []string         // the last calls
	note := func(format string, args ...any) {
		history = append(history[max(0, len(history)-40):], time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		calls.Add(1)
		name := dir + fmt.Sprint("/f", rng.IntN(12))
		content, sure := known[name]
		var err error
		switch op := rng.IntN(10); {
		case op < 4:
			content = randomBytes(rng.Uint64(), 1+rng.IntN(1<<rng.IntN(22)))
			delete(known, name)
			if err = os.WriteFile(f.path(name), content, 0o644); err == nil {
				known[name] = content
			}
			note("write %s, %d bytes: %v", name, len(content), err)
		case op < 7:
			var got []byte
			got, err = os.ReadFile(f.path(name))
			if sure && (err == nil && !bytes.Equal(got, content) || content == nil != errors.Is(err, fs.ErrNotExist) && !told2(err)) {
				disk, derr := os.ReadFile(f.server.Disk(name))
				t.Errorf("%s %s: %d bytes read, %v, of an acknowledged file of %d (on the server: right %v, %d bytes, %v); before:\n%s", time.Now().Format("15:04:05.000"),
					name, len(got), err, len(content), bytes.Equal(disk, content), len(disk), derr, strings.Join(history, "\n"))
			}
			note("read %s: %v", name, err)
		case op == 7:
			var list []fs.DirEntry
			list, err = os.ReadDir(f.path(dir))
			note("list: %d names, %v", len(list), err)
		case op == 8:
			delete(known, name)
			if err = os.Remove(f.path(name)); err == nil {
				known[name] = nil
			}
			note("remove %s: %v", name, err)
		default:
			to := dir + fmt.Sprint("/f", rng.IntN(12))
			if to == name {
				continue
			}
			delete(known, name)
			delete(known, to)
			if err = os.Rename(f.path(name), f.path(to)); err == nil {
				known[name] = nil
				if sure {
					known[to] = content
				}
			}
			note("rename %s to %s: %v", name, to, err)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			told.Add(1)
			if !told2(err) {
				t.Errorf("%s: the program was told %v", name, err)
			}
		}
	}
}

// told2 is told, and what a file says that another host seems to have changed: the end of an upload that was cut is one.
func told2(err error) bool { return told(err) || errors.Is(err, syscall.ESTALE) }

// forgetful makes ProFTPD give up sessions that wait for a data connection which never comes: by itself it does so after an
// hour, and many faults would use up all that it allows.
var forgetful = []string{"TimeoutStalled 5"}

// TestDataCuts: data connections are cut all the time, each at another moment of a listing, an upload or a download, and nothing
// that was acknowledged is missing or wrong. Servers that read commands in the middle of a transfer make it easy to mistake one
// answer for another.
func TestDataCuts(t *testing.T) {
	t.Parallel()
	for i, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			o := lab.Options{Kind: kind}
			if kind == lab.ProFTPD {
				o.Extra = forgetful
			}
			f := mountFaulty(t, lab.Start(t, o), relayHosts[i])
			f.keeps, f.ghosts = true, true
			rng := rand.New(rand.NewPCG(uint64(i), 8))
			var told, calls atomic.Int64
			var all sync.WaitGroup
			stop := make(chan struct{})
			for n := range 4 {
				all.Go(func() { f.load(t, n, &told, &calls, stop) })
			}
			cuts := 0
			for start := time.Now(); time.Since(start) < pick(6*time.Second, 2*time.Minute) && !t.Failed(); cuts++ {
				f.line.CutAll(relay.Data)
				time.Sleep(time.Duration(rng.Int64N(int64(60 * time.Millisecond))))
			}
			close(stop)
			all.Wait()
			f.recovers(t)
			f.swept()
			t.Logf("%d calls, %d of them told, %d cuts", calls.Load(), told.Load(), cuts)
		})
	}
}

// TestSoak: mixed load and faults for long; what the mount holds in the end is what it held after the first minute.
func TestSoak(t *testing.T) {
	t.Parallel()
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, Extra: forgetful})
	f := mountFaulty(t, s, relayHosts[0], pick("cache_mem=64M", "cache_mem=16M")) // full after the first minute, so that it grows no more
	f.keeps, f.ghosts = true, true
	f.limit(time.Hour)
	tr := &trouble{line: f.line, rng: rand.New(rand.NewPCG(5, 5)), rest: pick(600*time.Millisecond, 2*time.Second)}
	var told, calls atomic.Int64
	phase := func(d time.Duration) held {
		stop := make(chan struct{})
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() { f.load(t, n, &told, &calls, stop) })
		}
		for start := time.Now(); time.Since(start) < d && !t.Failed(); {
			tr.one()
		}
		tr.over()
		close(stop)
		all.Wait()
		f.recovers(t)
		return f.holds()
	}
	first := phase(pick(10*time.Second, time.Minute))
	last := phase(pick(18*time.Second, 29*time.Minute))
	t.Logf("%d calls, %d of them told, %d faults; after the first part %+v, at the end %+v", calls.Load(), told.Load(), tr.made, first, last)
	for what, grown := range map[string][2]int64{
		"MiB resident": {last.resident - first.resident, pick[int64](64, 24)},
		"MiB of heap":  {last.heap - first.heap, pick[int64](48, 16)},
		"descriptors":  {last.descriptors - 3*last.connections - first.descriptors, 6},
		"goroutines":   {last.goroutines - 4*last.connections - first.goroutines, 10},
		"connections":  {last.connections, 8}, // max_conns
		"staged files": {last.staged - first.staged, 0},
	} {
		if grown[0] > grown[1] && (what != "MiB resident" && what != "MiB of heap" || os.Getenv("FTPSFS_RACE") != "1") {
			t.Errorf("%s: %d more at the end than after the first part, at most %d allowed", what, grown[0], grown[1])
		}
	}
	if tr.made < 10 || calls.Load() < 100 {
		t.Errorf("%d faults, %d calls: too little happened", tr.made, calls.Load())
	}
}
