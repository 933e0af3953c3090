//go:build !linux

package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// RedirectStderr makes f standard error, where the Go runtime writes when it crashes.
func RedirectStderr(f *os.File) error { return unix.Dup2(int(f.Fd()), 2) }
