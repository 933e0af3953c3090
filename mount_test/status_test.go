//go:build linux

package mount_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// status is `ftpsfs status --json` with every number under its dotted path: pool.commands.STOR.
type status map[string]float64

// status asks the running mount.
func (m *mnt) status() status {
	m.t.Helper()
	s, err := m.tryStatus()
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// statusTimeout is when `ftpsfs status` hangs for certain, however slow the machine.
const statusTimeout = 30 * time.Second

func (m *mnt) tryStatus() (status, error) {
	cmd := exec.Command(lab.Binary(m.t), "status", m.dir, "--json")
	var stdout buffer
	cmd.Stdout = &stdout
	if out, err := output(cmd, statusTimeout); err != nil {
		return nil, fmt.Errorf("ftpsfs status: %w: %s%s", err, stdout.String(), out)
	}
	var tree any
	if err := json.Unmarshal([]byte(stdout.String()), &tree); err != nil {
		return nil, fmt.Errorf("ftpsfs status --json: %w in %s", err, stdout.String())
	}
	s := status{}
	s.flatten("", tree)
	return s, nil
}

func (s status) flatten(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			s.flatten(strings.TrimPrefix(path+"."+k, "."), e)
		}
	case []any:
		for i, e := range v {
			s.flatten(path+"."+strconv.Itoa(i), e)
		}
	case float64:
		s[path] = v
	case bool:
		s[path] = map[bool]float64{true: 1}[v]
	}
}

// Names of counters and gauges that the tests assert. They are part of what status promises.
const (
	waits     = "pool.waits"         // round trips that a caller waited for
	queued    = "pool.queued"        // callers that waited for a connection
	commands  = "pool.commands."     // + verb
	opened    = "pool.logins"        // control connections logged in so far
	sent      = "pool.bytes_out"     // payload of uploads
	received  = "pool.bytes_in"      // payload of downloads and listings
	transfers = "pool.data_channels" // data connections made
)

// number gives a counter; a name that status does not have fails the test, so that no assertion is empty.
func (m *mnt) number(s status, name string) int64 {
	m.t.Helper()
	v, ok := s[name]
	if !ok {
		m.t.Fatalf("status has no %s; it has %s", name, strings.Join(s.names(), " "))
	}
	return int64(v)
}

func (s status) names() []string {
	var names []string
	for n := range s {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// since tells what changed after an earlier status: name and difference, sorted.
func (s status) since(before status) string {
	var b strings.Builder
	for _, n := range s.names() {
		if d := s[n] - before[n]; d != 0 {
			fmt.Fprintf(&b, "  %s %+.0f\n", n, d)
		}
	}
	return b.String()
}

// spent runs f and gives by how much a counter grew meanwhile.
func (m *mnt) spent(name string, f func()) int64 {
	m.t.Helper()
	before := m.number(m.status(), name)
	f()
	return m.number(m.status(), name) - before
}

// idleGauges must be zero when no application uses the mount.
var idleGauges = []string{
	"pool.connections.busy", "pool.waiting",
	"fs.open_handles", "fs.open_files", "fs.open_dirs", "fs.requests_in_flight", "fs.abandoned", "fs.notify_queue",
	"fs.content.files", "fs.content.handles", "fs.content.streams", "fs.content.staged", "fs.content.temps",
	"stage.files", "stage.journal", "blocks.held", "blocks.holders", "blocks.waiting",
}

// quiet is how long a mount may take to let go of what nobody uses: the kernel tells of a close after it is done.
const quiet = 40 * time.Second

// settled waits until the mount holds nothing that nobody uses any more, and fails the test when that does not come.
func (m *mnt) settled() {
	m.t.Helper()
	var left []string
	deadline := time.Now().Add(quiet)
	for {
		s := m.status()
		left = left[:0]
		for _, g := range idleGauges {
			if n := m.number(s, g); n != 0 {
				left = append(left, fmt.Sprintf("%s=%d", g, n))
			}
		}
		// Connections may stay open for the next use; what each of them needs to run is known.
		conns := m.number(s, "pool.connections.open")
		if g, most := m.number(s, "process.goroutines"), m.number(m.base, "process.goroutines")+4*conns+10; g > most {
			left = append(left, fmt.Sprintf("%d goroutines, at most %d expected", g, most))
		}
		if fds, most := m.descriptors(), m.number(m.base, "process.open_fds")+3*conns+6; fds > most {
			left = append(left, fmt.Sprintf("%d descriptors, at most %d expected", fds, most))
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			m.t.Errorf("%v after the last use the mount still holds: %s", quiet, strings.Join(left, ", "))
			return
		}
		time.Sleep(20 * time.Millisecond) // nothing tells when it let go
	}
}

// descriptors counts the open files of the mount's process.
func (m *mnt) descriptors() int64 {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.cmd.Process.Pid))
	if err != nil {
		m.t.Fatal(err)
	}
	return int64(len(fds))
}

// tempName is what our temporary names look like on a server.
var tempName = regexp.MustCompile(`^\.?ftpsfs-[0-9a-f]{8}-`)

// tempFiles gives the paths of our temporary names below root.
func tempFiles(t testing.TB, root string) []string {
	t.Helper()
	return pathsBelow(t, root, func(_ string, d fs.DirEntry) bool { return tempName.MatchString(d.Name()) })
}

// pathsBelow gives the paths at and below root that are wanted. What goes while it looks, or was made unreadable by a test, is left out;
// anything else that it cannot look at ends the test.
func pathsBelow(t testing.TB, root string, wanted func(path string, d fs.DirEntry) bool) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err == nil && wanted(path, d):
			found = append(found, path)
		case path != root && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)):
			return nil
		}
		return err
	}))
	return found
}

// leavesNothing checks, after the mount has ended, the server's disk, the server's sessions and the state folder.
func (m *mnt) leavesNothing() {
	m.t.Helper()
	if m.server.Root != "" { // a fake has no disk
		if left := tempFiles(m.t, m.server.Root); left != nil && !m.shared() { // others may be at work with theirs
			m.t.Errorf("temporary files left on the server: %q", left)
		}
	}
	for _, file := range m.stateFiles() {
		m.t.Errorf("left in the state folder: %s", file)
	}
	deadline := time.Now().Add(quiet)
	for !m.ghosts && m.server.Kind != lab.Embedded && m.server.Sessions() > 0 && !m.shared() {
		if time.Now().After(deadline) {
			m.t.Errorf("the server still has %d session processes", m.server.Sessions())
			break
		}
		time.Sleep(10 * time.Millisecond) // sessions end after the connection
	}
}

// shared says whether other mounts use the same server.
func (m *mnt) shared() bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	return err == nil && strings.Count(string(b), fmt.Sprintf(":%d/", m.server.Port)) > 0
}

// stateFiles lists content that a mount keeps locally: staging files, journals, recovered files. What it learned about
// servers and its locks may stay.
func (m *mnt) stateFiles() []string {
	recovered := filepath.Join(m.stateDir, "recovery") + "/"
	return pathsBelow(m.t, m.stateDir, func(path string, d fs.DirEntry) bool {
		known := filepath.Ext(path) == ".json" || d.Name() == ".lock" || d.Name() == "lock"
		return d.Type().IsRegular() && !known && !(m.keeps && strings.HasPrefix(path, recovered))
	})
}
