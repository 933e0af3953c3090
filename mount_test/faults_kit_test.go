//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// What is promised on a bad day: docs/RELIABILITY.md.
const (
	faultTimeout = 3 * time.Second // -o timeout of these tests
	grace        = 5 * time.Second // that a call may take beyond the timeout, and a mount to work again
)

// faulty is a mount with a relay before its server.
type faulty struct {
	*mnt
	line *relay.Relay
	host string
	seq  int // folders used
}

// faultFolders is how many folders a faulty mount has to play in.
const faultFolders = 250

// relayHosts are loopback addresses that the lab's certificates name.
var relayHosts = []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7", "127.0.0.8", "127.0.0.9"}

// mountFaulty mounts s through a relay on host.
func mountFaulty(t *testing.T, s *lab.Server, host string, options ...string) *faulty {
	t.Helper()
	r := relay.Start(t, relay.Options{Listen: host, Port: s.Port, PassiveLow: s.PassiveLow, PassiveHigh: s.PassiveHigh})
	options = append([]string{"timeout=" + faultTimeout.String()}, options...)
	f := &faulty{host: host, line: r}
	for i := range faultFolders { // now, so that the mount knows their names from its first listing on
		makeServed(t, s, f.folderName(i))
	}
	f.mnt = mountURL(t, s, s.URLVia(host), options...)
	t.Cleanup(func() { // before the mount ends: it is to end in order
		r.Disarm()
		r.ResumeAll()
	})
	return f
}

// folderName goes against the order of names: a mount lists ahead what a walk comes to next, and these are filled on the
// server before they are looked into.
func (f *faulty) folderName(i int) string { return fmt.Sprintf("%s-%03d", f.host, faultFolders-i) }

// folder gives an empty folder that the mount has not looked into yet.
func (f *faulty) folder(t *testing.T) string {
	t.Helper()
	if f.seq++; f.seq > faultFolders {
		t.Fatal("no folder left to play in")
	}
	return f.folderName(f.seq - 1)
}

// serve puts a file on the server's disk.
func serve(t *testing.T, s *lab.Server, name string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(s.Disk(name), content, 0o644))
	must(t, os.Chown(s.Disk(name), s.UID, s.GID))
}

// within runs a call and checks how long it took. A call that does not come back at all ends the test.
func within(t *testing.T, what string, bound time.Duration, call func() error) error {
	t.Helper()
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		if took := time.Since(start); took > bound {
			t.Errorf("%s: came back after %v (%v), bound %v", what, took.Round(time.Millisecond), err, bound)
		}
		return err
	case <-time.After(bound + 12*time.Second):
		t.Fatalf("%s: hangs for %v", what, bound+30*time.Second)
		return nil
	}
}

// unforked runs a call while this process starts no program; those who want to wait. A program that is being started has copies of all our
// descriptors until execve(2) has closed them, and that stands still at the one of a file whose write(2) waits for a frozen network.
// Meanwhile what we close is not closed: pipes of other programs do not end, connections do not break.
func unforked(call func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return call()
}

// store writes a file and checks how long each call took: every one of them may be the one that waits.
func (f *faulty) store(name string, content []byte) error {
	slowest := time.Duration(0)
	timed := func(call func() error) error {
		start := time.Now()
		err := call()
		slowest = max(slowest, time.Since(start))
		return err
	}
	var w *os.File
	err := timed(func() (err error) { w, err = os.Create(f.path(name)); return err })
	for rest := content; err == nil && len(rest) > 0; {
		n := min(len(rest), 1<<20)
		err = timed(func() error { _, err := w.Write(rest[:n]); return err })
		rest = rest[n:]
	}
	if w != nil {
		err = errors.Join(err, timed(w.Close))
	}
	if slowest > faultTimeout+grace {
		err = fmt.Errorf("a call took %v, bound %v, and said: %v", slowest, faultTimeout+grace, err)
	}
	return err
}

// told says whether an error is one that a program is told when the server does not answer.
func told(err error) bool {
	return errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ETIMEDOUT)
}

// recovers checks that the mount works, within the bound after the network does: names, content, both ways.
func (f *faulty) recovers(t *testing.T) {
	t.Helper()
	dir := f.folder(t)
	small := randomBytes(7, 10_000)
	serve(t, f.server, dir+"/there", small)
	try := func() error {
		got, err := os.ReadFile(f.path(dir, "there"))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, small) {
			return fmt.Errorf("%d bytes read, not those of the file", len(got))
		}
		return os.WriteFile(f.path(dir, "new"), small, 0o644)
	}
	err := within(t, "recovery", grace, func() error {
		for start := time.Now(); ; time.Sleep(20 * time.Millisecond) { // as somebody would who waits for it
			if err := try(); err == nil || !told(err) || time.Since(start) > grace {
				return err
			}
		}
	})
	if err != nil {
		t.Errorf("the network is back, the mount is not: %v", err)
		return
	}
	onServer(t, f.server, dir+"/new", small)
}

// onServer checks a file on the server's disk.
func onServer(t *testing.T, s *lab.Server, name string, allowed ...[]byte) {
	t.Helper()
	got, err := os.ReadFile(s.Disk(name))
	if err != nil {
		t.Errorf("on the server: %v", err)
		return
	}
	for _, want := range allowed {
		if bytes.Equal(got, want) {
			return
		}
	}
	t.Errorf("on the server %s has %d bytes, which are none of what it may hold", name, len(got))
}

// crew does the jobs on several mounts at once, whatever the number of processors: they wait for the network. Each
// mount is a subtest and ends with it.
func crew[T fmt.Stringer](t *testing.T, s *lab.Server, hosts []string, jobs []T, work func(t *testing.T, f *faulty, job T)) {
	t.Helper()
	queue := make(chan T, len(jobs))
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	var all sync.WaitGroup
	for _, host := range hosts {
		all.Go(func() {
			t.Run(host, func(t *testing.T) {
				f := mountFaulty(t, s, host)
				f.keeps = true // what was not acknowledged may be kept
				for job := range queue {
					t.Run(job.String(), func(t *testing.T) { work(t, f, job) })
				}
			})
		})
	}
	all.Wait()
}
