package daemon

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Harden keeps the process's memory, which holds the password, out of core dumps and away from other processes of the user.
func Harden() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return os.NewSyscallError("setrlimit", err)
	}
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0))
}

// closeInherited keeps descriptors that somebody left open for us from being held by the child for ever: a shell that waits
// for the end of a pipe would wait as long as the mount lives.
func closeInherited() {
	const first = 3
	if unix.CloseRange(first, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	entries, _ := os.ReadDir("/proc/self/fd") // a kernel before 5.11
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}
