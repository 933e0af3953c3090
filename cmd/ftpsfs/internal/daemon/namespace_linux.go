package daemon

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// EnterNamespace starts this program again with args in another mount namespace: that of a process, or the one that a file
// stands for. It returns only when it failed. A Go program has threads from its first moment, and the kernel moves only one
// that shares its root and working folder with nobody; so one thread is set apart, moves, and becomes the new program.
func EnterNamespace(ns string, args []string) error {
	if _, err := strconv.Atoi(ns); err == nil {
		ns = "/proc/" + ns + "/ns/mnt"
	}
	fd, err := unix.Open(ns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", ns, err)
	}
	// The program may have another name there, or none.
	exe, err := unix.Open("/proc/self/exe", unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("/proc/self/exe: %w", err)
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("setns", err)
	}
	return os.NewSyscallError("exec", syscall.Exec("/proc/self/fd/"+strconv.Itoa(exe), args, os.Environ()))
}
