package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// RedirectStderr makes f standard error, where the Go runtime writes when it crashes.
func RedirectStderr(f *os.File) error { return unix.Dup3(int(f.Fd()), 2, 0) }
