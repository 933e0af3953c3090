package mountpoint

import "golang.org/x/sys/unix"

// unmountDirect is umount(2), which root may.
func unmountDirect(dir string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	return unix.Unmount(dir, flags)
}
