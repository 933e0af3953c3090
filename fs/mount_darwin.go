package fs

import (
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// extraCapabilities: O_TRUNC comes with the open where macFUSE knows it.
const extraCapabilities = fuse.CAP_ATOMIC_O_TRUNC

// genericOptions are the options of mount(8) that mount_macfuse knows.
var genericOptions = map[string]bool{
	"ro": true, "rw": true, "nosuid": true, "suid": true, "nodev": true, "dev": true, "noexec": true, "exec": true,
	"sync": true, "async": true, "noatime": true,
}

// platformOptions sets the options of mount_macfuse.
func platformOptions(cfg *Config, o *fuse.MountOptions) {
	o.Options = append(o.Options, "default_permissions", "noappledouble")
	if cfg.ReadOnly {
		o.Options = append(o.Options, "ro")
	}
	for _, name := range cfg.MountOptions {
		if genericOptions[name] {
			o.Options = append(o.Options, name)
		}
	}
}

// detach forces the mount out of the tree.
func detach(mountpoint string) error { return syscall.Unmount(mountpoint, 0x00080000) } // MNT_FORCE

// deviceOf has no table to look into.
func deviceOf(string) string { return "" }

// attached: there are no mount namespaces that could keep a copy.
func attached(string, string) bool { return true }

// raiseReadAhead has no knob to turn.
func raiseReadAhead(string, *slog.Logger) {}
