//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

const faultSize = 3 << 20 // of files in the matrix

// faultOp is what a program does while the network fails.
type faultOp struct {
	name     string
	transfer relay.Direction // where its data goes
	data     int64           // about how many bytes, encrypted; 0: it has only a dialogue
	prepare  func(t *testing.T, f *faulty, dir string)
	calls    int // that it makes, if each may have to wait; 0: 1
	do       func(f *faulty, dir string) error
	// check looks at what became of it; failed is what do said.
	check func(t *testing.T, f *faulty, dir string, failed error)
}

var (
	oldContent = randomBytes(21, faultSize/2)
	newContent = randomBytes(22, faultSize)
)

func serveOld(t *testing.T, f *faulty, dir string) {
	t.Helper()
	serve(t, f.server, dir+"/f", oldContent)
}

// faultOps are the operations of the matrix.
var faultOps = []faultOp{
	{"list", relay.Down, 20_000, func(t *testing.T, f *faulty, dir string) {
		for i := range 300 {
			serve(t, f.server, fmt.Sprintf("%s/a-name-of-some-length-%d", dir, i), nil)
		}
	}, 0, func(f *faulty, dir string) error {
		entries, err := os.ReadDir(f.path(dir))
		if err == nil && len(entries) != 300 {
			err = fmt.Errorf("%d names listed of 300", len(entries))
		}
		return err
	}, nil},
	{"stat", relay.Down, 0, serveOld, 0, func(f *faulty, dir string) error {
		fi, err := os.Stat(f.path(dir, "f"))
		if err == nil && fi.Size() != int64(len(oldContent)) {
			err = fmt.Errorf("size %d, want %d", fi.Size(), len(oldContent))
		}
		return err
	}, nil},
	{"read", relay.Down, faultSize / 2, serveOld, 0, func(f *faulty, dir string) error {
		got, err := os.ReadFile(f.path(dir, "f"))
		if err == nil && !bytes.Equal(got, oldContent) {
			err = fmt.Errorf("%d bytes read, not those of the file", len(got))
		}
		return err
	}, nil},
	{"write", relay.Up, faultSize, nil, 3, func(f *faulty, dir string) error {
		return f.store(dir+"/f", newContent)
	}, func(t *testing.T, f *faulty, dir string, failed error) {
		if failed == nil {
			onServer(t, f.server, dir+"/f", newContent)
		}
	}},
	{"rewrite", relay.Up, faultSize, serveOld, 3, func(f *faulty, dir string) error {
		return f.store(dir+"/f", newContent)
	}, func(t *testing.T, f *faulty, dir string, failed error) {
		if failed == nil {
			onServer(t, f.server, dir+"/f", newContent)
		} else {
			onServer(t, f.server, dir+"/f", oldContent, newContent)
		}
	}},
	{"rename", relay.Up, 0, serveOld, 0, func(f *faulty, dir string) error {
		return syscall.Rename(f.path(dir, "f"), f.path(dir, "g")) // os.Rename makes two calls, of which each may have to wait
	}, func(t *testing.T, f *faulty, dir string, failed error) {
		_, err := os.Stat(f.server.Disk(dir, "f"))
		if err != nil || failed == nil {
			onServer(t, f.server, dir+"/g", oldContent)
		}
		if err == nil && failed == nil {
			t.Error("the old name is still there")
		}
	}},
	{"delete", relay.Up, 0, serveOld, 0, func(f *faulty, dir string) error {
		return syscall.Unlink(f.path(dir, "f")) // os.Remove makes a second call if the first fails
	}, func(t *testing.T, f *faulty, dir string, failed error) {
		if _, err := os.Stat(f.server.Disk(dir, "f")); failed == nil && !os.IsNotExist(err) {
			t.Errorf("it is still there: %v", err)
		}
	}},
}

// faultCell is one operation and what happens to it.
type faultCell struct {
	op    faultOp
	fault relay.Action
	kind  relay.Kind
	when  string // before, middle, after
}

func (c faultCell) String() string {
	kind := c.kind.String()
	if c.kind == relay.Any {
		kind = "both"
	}
	return fmt.Sprintf("%s/%s/%s/%s", c.op.name, c.fault, kind, c.when)
}

func faultCells() []faultCell {
	var all []faultCell
	for _, op := range faultOps {
		for _, fault := range []relay.Action{relay.Freeze, relay.Cut, relay.Reset} {
			for _, kind := range []relay.Kind{relay.Control, relay.Data, relay.Any} {
				for _, when := range []string{"before", "middle", "after"} {
					if op.data == 0 && kind == relay.Data && when != "before" {
						continue // there is no data to speak of
					}
					all = append(all, faultCell{op, fault, kind, when})
				}
			}
		}
	}
	return all
}

// strike lets the fault happen to all connections of the kind now.
func (c faultCell) strike(line *relay.Relay) {
	switch c.fault {
	case relay.Cut:
		line.CutAll(c.kind)
	case relay.Reset:
		line.ResetAll(c.kind)
	case relay.Freeze:
		line.FreezeAll(c.kind)
	}
}

// arm orders the fault. stop ends what waits for the moment.
func (c faultCell) arm(line *relay.Relay) (stop func()) {
	over := make(chan struct{})
	var watch sync.WaitGroup
	follow := func(a *relay.Armed, then func()) {
		watch.Go(func() {
			select {
			case <-a.Happened():
				then()
			case <-over:
			}
		})
	}
	dialogue := func(dir relay.Direction) {
		a := line.Arm(relay.Rule{Kind: relay.Control, Dir: dir, Do: c.fault, Times: 1})
		if c.kind == relay.Any || c.fault == relay.Freeze { // a network that is frozen is so for all
			follow(a, func() { c.strike(line) })
		}
	}
	switch {
	case c.when == "before":
		c.strike(line)
	case c.when == "middle" && c.op.data > 0:
		a := line.Arm(relay.Rule{Kind: relay.Data, Dir: c.op.transfer, After: c.op.data / 2, Do: relay.Note})
		follow(a, func() { c.strike(line) })
	case c.when == "after" && c.op.data > 0:
		a := line.Arm(relay.Rule{Kind: relay.Data, Dir: c.op.transfer, After: c.op.data * 97 / 100, Do: relay.Note})
		follow(a, func() {
			if c.kind == relay.Data {
				c.strike(line)
			} else {
				dialogue(relay.Down)
			}
		})
	case c.when == "middle":
		dialogue(relay.Up)
	default:
		dialogue(relay.Down)
	}
	return func() {
		close(over)
		watch.Wait()
		line.Disarm()
		line.ResumeAll()
	}
}

// run does the operation while the fault happens, and looks at what is left.
func (c faultCell) run(t *testing.T, f *faulty) {
	dir := f.folder(t)
	if c.op.prepare != nil {
		c.op.prepare(t, f, dir)
	}
	stop := c.arm(f.line)
	err := unforked(func() error {
		return within(t, c.op.name, time.Duration(max(1, c.op.calls))*(faultTimeout+grace), func() error { return c.op.do(f, dir) })
	})
	stop()
	switch {
	case c.fault != relay.Freeze && err != nil:
		t.Errorf("the program was told %v; it should have seen a pause", err)
	case err != nil && !told(err):
		t.Errorf("the program was told %v, want EIO or ETIMEDOUT", err)
	}
	f.recovers(t)
	if c.op.check != nil {
		c.op.check(t, f, dir, err)
	}
}

// TestFaultMatrix: control, data, or both connections are cut, reset or frozen, before, in the middle of or after each
// operation. One mount goes through many of these without a remount. In a short run each server gets a third of the cells.
func TestFaultMatrix(t *testing.T) {
	var all sync.WaitGroup // as in crew: they wait for the network
	for n, kind := range lab.Real {
		all.Go(func() {
			t.Run(string(kind), func(t *testing.T) {
				s := lab.Start(t, lab.Options{Kind: kind})
				var cells []faultCell
				for i, c := range faultCells() {
					if long || (i+i/3+i/9)%len(lab.Real) == n { // each server sees each fault, kind and moment
						cells = append(cells, c)
					}
				}
				crew(t, s, relayHosts[:5], cells, func(t *testing.T, f *faulty, c faultCell) { c.run(t, f) })
			})
		})
	}
	all.Wait()
}
