//go:build linux

package mount_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// gauges are the highest values seen of what is limited.
type gauges map[string]int64

var limited = []string{
	"pool.connections.open", "pool.connections.dialing", "blocks.mapped", "stage.allocated", "process.goroutines", "process.open_fds",
	"process.rss_bytes", "stage.files", "fs.requests_in_flight",
}

// watch samples the gauges until the returned function is called, which gives the highest. Another process does it: one that
// is forked from here would first close its copies of all files that the test has open on the mount, and wait for that.
func (m *mnt) watch(t *testing.T) func() gauges {
	t.Helper()
	file, err := os.Create(filepath.Join(lab.Folder(t, "ftpsfs-gauges-"), "status"))
	must(t, err)
	defer file.Close()
	loop := exec.Command("sh", "-c", `while "$0" status "$1" --json; do sleep 0.02; done`, lab.Binary(t), m.dir)
	loop.Stdout = file
	must(t, loop.Start())
	return func() gauges {
		_ = loop.Process.Kill()
		_ = loop.Wait()
		b, err := os.ReadFile(file.Name())
		must(t, err)
		most := gauges{}
		for in := json.NewDecoder(bytes.NewReader(b)); ; most["samples"]++ {
			var tree any
			if err := in.Decode(&tree); err != nil {
				return most
			}
			s := status{}
			s.flatten("", tree)
			for _, g := range limited {
				most[g] = max(most[g], m.number(s, g))
			}
		}
	}
}

// TestLimits: more readers, writers and staged bytes than there is room for stay within connections, memory, staging space,
// goroutines and descriptors. Who finds no room waits, or is told ENOSPC.
func TestLimits(t *testing.T) {
	const (
		conns   = 3
		memory  = 16 << 20
		staging = 24 << 20
		users   = int64(24) // of each kind
	)
	s := lab.Start(t, lab.Options{Kind: lab.VSFTPD})
	content := randomBytes(71, 3<<20)
	for i := range users {
		serve(t, s, fmt.Sprint("r", i), content)
	}
	m := mountServer(t, s, fmt.Sprint("max_conns=", conns), fmt.Sprint("cache_mem=", memory), fmt.Sprint("stage_size=", staging))
	m.keeps = true // of who was told ENOSPC
	watched := m.watch(t)
	full := make(chan struct{}, users)
	var all sync.WaitGroup
	for i := range users {
		all.Go(func() {
			if got, err := os.ReadFile(m.path(fmt.Sprint("r", i))); err != nil || !bytes.Equal(got, content) {
				t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
			}
		})
		all.Go(func() {
			if err := os.WriteFile(m.path(fmt.Sprint("w", i)), content, 0o644); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
		all.Go(func() { // backwards: into a staging file
			f, err := os.Create(m.path(fmt.Sprint("s", i)))
			must(t, err)
			for off := len(content) - 1<<20; off >= 0 && err == nil; off -= 1 << 20 {
				_, err = f.WriteAt(content[off:off+1<<20], int64(off))
			}
			if e := f.Close(); err == nil {
				err = e
			}
			switch {
			case errors.Is(err, syscall.ENOSPC):
				full <- struct{}{}
			case err != nil:
				t.Errorf("stager %d: %v", i, err)
			default:
				onServer(t, s, fmt.Sprint("s", i), content)
			}
		})
	}
	all.Wait()
	most := watched()
	t.Logf("%d of %d stagers were told that there is no room; most seen: %v", len(full), users, most)
	for g, limit := range map[string]int64{
		"pool.connections.open": conns, "pool.connections.dialing": conns, "blocks.mapped": memory, "stage.allocated": staging,
		// Each call under way has one, each connection and transfer some.
		"process.goroutines": 3*users*3 + 20*conns + 60,
		// Each staging file has one, and one more while it is begun; each connection up to four; the kernel's channel, the
		// state folder and the runtime some.
		"process.open_fds": 2*users + 4*conns + 30,
	} {
		if most[g] > limit {
			t.Errorf("%s was %d, limit %d", g, most[g], limit)
		}
		if most[g] == 0 && g != "pool.connections.dialing" {
			t.Errorf("%s was never seen: the gauge is dead", g)
		}
	}
	m.resident(250)
}
