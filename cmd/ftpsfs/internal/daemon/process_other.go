//go:build !linux

package daemon

import (
	"os"

	"golang.org/x/sys/unix"
)

// Harden keeps the process's memory, which holds the password, out of core dumps.
func Harden() error {
	return os.NewSyscallError("setrlimit", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}))
}

// closeInherited keeps descriptors that somebody left open for us from being held by the child for ever.
func closeInherited() {
	const first, last = 3, 256
	for fd := first; fd < last; fd++ {
		unix.CloseOnExec(fd)
	}
}
