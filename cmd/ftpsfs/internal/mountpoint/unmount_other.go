//go:build !linux

package mountpoint

import "golang.org/x/sys/unix"

// unmountDirect is umount(2), which whoever mounted may. There is no lazy unmount: force is what comes nearest.
func unmountDirect(dir string, lazy bool) error {
	flags := 0
	if lazy {
		flags = unix.MNT_FORCE
	}
	return unix.Unmount(dir, flags)
}
