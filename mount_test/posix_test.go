//go:build linux

package mount_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// posixBinary builds the suite of go-fuse once.
var posixBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ftpsfs-posix-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "posix.test")
	_, err = output(exec.Command("go", "test", "-c", "-o", path, "github.com/hanwen/go-fuse/v2/posixtest"), 5*time.Minute)
	return path, err
})

// posixFails are the tests of things that FTP does not have, on each server, and those that a server lacks; docs/SEMANTICS.md
// says why. The list is exact: a test in it that passes is an error, too.
var posixFails = map[string][]lab.Kind{
	"Link": nil, "LinkUnlinkRename": nil, "Fallocate": nil, "FallocateKeepSize": nil, // everywhere
	"SymlinkReadlink": {lab.Embedded, lab.VSFTPD, lab.PureFTPd},
	"SetattrSymlink":  nil,
}

// emulated are the tests that pass with emulateAll where they fail without it, on each server.
func emulated(kind lab.Kind) []string {
	passes := []string{"Fallocate", "FallocateKeepSize"}
	if kind == lab.ProFTPD {
		passes = append(passes, "SetattrSymlink")
	}
	return passes
}

const emulateAll = "emulate=mode+mtime+fallocate"

// TestPosix runs go-fuse's own suite on a mount of each server, and once more with all that emulate= has.
func TestPosix(t *testing.T) {
	suite, err := posixBinary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(suite)) })
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		posix(t, suite, s, posixFails)
		fails := maps.Clone(posixFails)
		for _, passes := range emulated(c.kind) {
			delete(fails, passes)
		}
		posix(t, suite, s, fails, emulateAll, "state_dir="+stateDir(t))
	})
}

func posix(t *testing.T, suite string, s *lab.Server, expected map[string][]lab.Kind, options ...string) {
	dir := fmt.Sprint("posix", len(options))
	makeServed(t, s, dir)
	m := mountServer(t, s, options...)
	out, err := output(exec.Command(suite, "-posixdir="+m.path(dir), "-test.run=TestAll", "-test.v", "-test.timeout=100s"), 2*time.Minute)
	verdicts := regexp.MustCompile(`(?m)^ +--- (\w+): TestAll/(\w+) `).FindAllStringSubmatch(out, -1)
	if len(verdicts) < 20 {
		t.Fatalf("only %d tests ran: %v\n%s", len(verdicts), err, lastBytes(out, 5000))
	}
	for _, v := range verdicts {
		kinds, listed := expected[v[2]]
		if fails := listed && (kinds == nil || slices.Contains(kinds, s.Kind)); (v[1] == "FAIL") != fails {
			t.Errorf("%v: %s: %s, expected to fail: %v", options, v[2], v[1], fails)
		}
	}
	if t.Failed() {
		t.Log(lastBytes(out, 8000))
	}
}
