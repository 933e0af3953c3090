//go:build linux

// Package mount_test mounts the built binary on real servers and uses the mount as programs do. It knows nothing of
// the rooms inside: what it sees is the mount, the command line, `ftpsfs status --json` and the server's disk.
//
//	FTPSFS_BIN=FILE       tests that binary; otherwise one is built
//	FTPSFS_RACE=1         ... with the race detector
//	FTPSFS_LONG=1         full figures: every cell of the matrix, every seed, large files
//	FTPSFS_DEBUG=1        mounts with -d; the logs are printed when a test fails
//	CI=true               a server or tool that is missing fails the test
package mount_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// long says that the full figures are wanted.
var long = os.Getenv("FTPSFS_LONG") == "1"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerVariable); path != "" {
		os.Exit(runWriter(path))
	}
	syscall.Umask(0o022) // modes in the tests are meant as written
	code := m.Run()
	lab.RemoveBinary()
	os.Exit(code)
}

// pick gives full with FTPSFS_LONG=1, otherwise short.
func pick[T any](short, full T) T {
	if long {
		return full
	}
	return short
}

// tool fails or skips the test when a program is missing.
func tool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		lab.Unavailable(t, "%v: run mount_test/setup.sh %s", err, pick("test", "long"))
	}
}

// runTool runs a program to its end and fails the test when it fails. Output is stdout and stderr together.
func runTool(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	out, err := tryTool(t, 10*time.Minute, dir, name, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// tryTool runs a program for at most d.
func tryTool(t testing.TB, d time.Duration, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	return output(cmd, d)
}
