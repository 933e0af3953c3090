//go:build linux

package mount_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
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

// posixMayFail are the tests of things that FTP does not have; docs/SEMANTICS.md says why.
var posixMayFail = []string{"Link", "LinkUnlinkRename", "Fallocate", "FallocateKeepSize", "SymlinkReadlink", "SetattrSymlink"}

// TestPosix runs go-fuse's own suite on a mount of each server.
func TestPosix(t *testing.T) {
	suite, err := posixBinary()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(suite)) })
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		makeServed(t, s, "posix")
		m := mountServer(t, s)
		out, err := output(exec.Command(suite, "-posixdir="+m.path("posix"), "-test.run=TestAll", "-test.v", "-test.timeout=100s"), 2*time.Minute)
		verdicts := regexp.MustCompile(`(?m)^ +--- (\w+): TestAll/(\w+) `).FindAllStringSubmatch(out, -1)
		if len(verdicts) < 20 {
			t.Fatalf("only %d tests ran: %v\n%s", len(verdicts), err, lastBytes(out, 5000))
		}
		for _, v := range verdicts {
			if v[1] == "FAIL" && !slices.Contains(posixMayFail, v[2]) {
				t.Errorf("%s fails", v[2])
			}
		}
		if t.Failed() {
			t.Log(lastBytes(out, 8000))
		}
	})
}
