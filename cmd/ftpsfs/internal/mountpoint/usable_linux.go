package mountpoint

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// Usable tells whether this machine and this user can mount at all.
func Usable(allowOther bool) error {
	if _, err := os.Stat("/dev/fuse"); errors.Is(err, fs.ErrNotExist) {
		return exitcode.NewSystem("there is no /dev/fuse", nil, "load the kernel module fuse, or give the container access to the device")
	}
	if os.Geteuid() == 0 {
		return nil
	}
	if _, err := exec.LookPath("fusermount3"); err != nil {
		if _, err := exec.LookPath("fusermount"); err != nil {
			return exitcode.NewSystem("fusermount3 is not installed", nil, "install the package fuse3, or mount as root")
		}
	}
	if allowOther && !otherAllowed("/etc/fuse.conf") {
		return exitcode.NewMount("allow_other is not allowed on this machine", nil, "have root write user_allow_other into /etc/fuse.conf, or leave allow_other out")
	}
	return nil
}

// otherAllowed looks for user_allow_other. A file that cannot be read leaves the answer to fusermount3.
func otherAllowed(conf string) bool {
	f, err := os.Open(conf)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.TrimSpace(s.Text()) == "user_allow_other" {
			return true
		}
	}
	return false
}
