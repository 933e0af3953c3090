package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"

	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// extraCapabilities: O_TRUNC comes with the open instead of as a SETATTR behind it; READDIRPLUS only where the kernel
// saw that attributes are wanted.
const extraCapabilities = fuse.CAP_ATOMIC_O_TRUNC | fuse.CAP_READDIRPLUS_AUTO

// readAhead is what the kernel may read ahead of a sequential reader, in KiB. Its own default of 128 leaves the prefetch window
// behind it half used.
const readAhead = 2048

// genericOptions are those of mount(8) that concern the kernel: the flag of mount(2) that each sets or clears, and
// whether fusermount3 takes it from anybody.
var genericOptions = map[string]struct {
	set, clear uintptr
	helper     bool
}{
	"ro":            {set: unix.MS_RDONLY, helper: true},
	"rw":            {clear: unix.MS_RDONLY, helper: true},
	"nosuid":        {set: unix.MS_NOSUID, helper: true},
	"suid":          {clear: unix.MS_NOSUID},
	"nodev":         {set: unix.MS_NODEV, helper: true},
	"dev":           {clear: unix.MS_NODEV},
	"noexec":        {set: unix.MS_NOEXEC, helper: true},
	"exec":          {clear: unix.MS_NOEXEC, helper: true},
	"sync":          {set: unix.MS_SYNCHRONOUS, helper: true},
	"async":         {clear: unix.MS_SYNCHRONOUS, helper: true},
	"dirsync":       {set: unix.MS_DIRSYNC, helper: true},
	"noatime":       {set: unix.MS_NOATIME, helper: true},
	"atime":         {clear: unix.MS_NOATIME, helper: true},
	"nodiratime":    {set: unix.MS_NODIRATIME},
	"diratime":      {clear: unix.MS_NODIRATIME},
	"relatime":      {set: unix.MS_RELATIME},
	"strictatime":   {set: unix.MS_STRICTATIME},
	"lazytime":      {set: unix.MS_LAZYTIME},
	"nosymfollow":   {set: unix.MS_NOSYMFOLLOW},
	"norelatime":    {clear: unix.MS_RELATIME},
	"nostrictatime": {clear: unix.MS_STRICTATIME},
	"nolazytime":    {clear: unix.MS_LAZYTIME},
}

// platformOptions sets the options of mount(2) or fusermount3. Root mounts directly, which needs no helper, and falls back to it.
// The kernel always checks modes by itself.
func platformOptions(cfg *Config, o *fuse.MountOptions) {
	o.Options = append(o.Options, "default_permissions")
	wanted := cfg.MountOptions
	if cfg.ReadOnly {
		wanted = append([]string{"ro"}, wanted...)
	}
	o.DirectMount = os.Geteuid() == 0
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	for _, name := range wanted {
		g, ok := genericOptions[name]
		if !ok {
			continue
		}
		flags = flags&^g.clear | g.set
		if !o.DirectMount && g.helper {
			o.Options = append(o.Options, name)
		}
	}
	// Zero would mean the default; MS_SILENT means nothing to mount(2) of a FUSE file system.
	if flags == 0 {
		flags = unix.MS_SILENT
	}
	o.DirectMountFlags = flags
}

// detach is umount -l.
func detach(mountpoint string) error {
	if err := unix.Unmount(mountpoint, unix.MNT_DETACH); err == nil || !errors.Is(err, unix.EPERM) {
		return err
	}
	for _, helper := range []string{"fusermount3", "fusermount"} {
		if bin, err := exec.LookPath(helper); err == nil {
			out, err := exec.Command(bin, "-u", "-z", mountpoint).CombinedOutput()
			if err != nil {
				return fmt.Errorf("%s -u -z %s: %w: %s", helper, mountpoint, err, out)
			}
			return nil
		}
	}
	return &os.PathError{Op: "unmount", Path: mountpoint, Err: unix.EPERM}
}

// deviceOf gives the number of what is mounted on mountpoint last, "" if it cannot be told.
func deviceOf(mountpoint string) string {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mountpoint))
	if err != nil || len(mounts) == 0 {
		return ""
	}
	m := mounts[len(mounts)-1]
	return fmt.Sprintf("%d:%d", m.Major, m.Minor)
}

// attached says whether device is mounted on mountpoint; true also when that cannot be told.
func attached(mountpoint, device string) bool {
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(mountpoint))
	return err != nil || device == "" || slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool {
		return fmt.Sprintf("%d:%d", m.Major, m.Minor) == device
	})
}

// raiseReadAhead needs root; without it the kernel's default stays.
func raiseReadAhead(device string, log *slog.Logger) {
	if device == "" {
		return
	}
	knob := "/sys/class/bdi/" + device + "/read_ahead_kb"
	if err := os.WriteFile(knob, []byte(strconv.Itoa(readAhead)), 0); err != nil {
		log.Debug("read-ahead of the kernel stays as it is", "err", err)
	}
}
