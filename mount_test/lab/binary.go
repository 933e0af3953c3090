package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Binary gives the path of the ftpsfs binary under test: $FTPSFS_BIN, or one built once per process from the sources
// around this package, with the race detector when FTPSFS_RACE=1. Who calls it from a TestMain removes it with
// RemoveBinary.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := binary()
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return path
}

var (
	binaryDir string // the folder of what was built, "" when nothing was
	binary    = sync.OnceValues(buildBinary)
)

// RemoveBinary removes what Binary built.
func RemoveBinary() {
	if binaryDir != "" {
		os.RemoveAll(binaryDir)
	}
}

func buildBinary() (string, error) {
	if given := os.Getenv("FTPSFS_BIN"); given != "" {
		return filepath.Abs(given)
	}
	dir, err := os.MkdirTemp("", "ftpsfs-bin-")
	if err != nil {
		return "", err
	}
	binaryDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ftpsfs")
	args := []string{"build", "-o", path}
	if os.Getenv("FTPSFS_RACE") == "1" {
		args = append(args, "-race")
	}
	_, source, _, _ := runtime.Caller(0)
	build := exec.Command("go", append(args, "./cmd/ftpsfs")...)
	build.Dir = filepath.Join(filepath.Dir(source), "..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build ./cmd/ftpsfs: %w\n%s", err, out)
	}
	return path, nil
}
