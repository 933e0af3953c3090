// Package state knows the folders in which a mount keeps things between runs and while it runs.
//
//	state_dir/stage, recovery   content that the server does not have yet (laid out by fs/stage)
//	state_dir/servers           what was learned of each server
//	state_dir/known_hosts       certificates that the user accepted
//	state_dir/log               logs of mounts in the background
package state

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Dir is a state folder.
type Dir string

// Default is $XDG_STATE_HOME/ftpsfs, ~/.local/state/ftpsfs, or /var/lib/ftpsfs for root; "" for a user without a home.
func Default(getenv func(string) string, uid int) Dir {
	if x := getenv("XDG_STATE_HOME"); filepath.IsAbs(x) {
		return Dir(filepath.Join(x, "ftpsfs"))
	}
	if uid == 0 {
		return "/var/lib/ftpsfs"
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return Dir(filepath.Join(home, ".local", "state", "ftpsfs"))
	}
	return ""
}

// Make creates the folder and those in it that this program (not fs/stage) uses, private to the user, and checks that it
// can be written.
func (d Dir) Make() error {
	if d == "" {
		return errors.New("there is no home folder to keep it in")
	}
	if err := os.MkdirAll(filepath.Dir(string(d)), 0o755); err != nil {
		return err
	}
	for _, dir := range []string{string(d), d.servers(), d.logs()} {
		if err := Private(dir); err != nil {
			return err
		}
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return &fs.PathError{Op: "write", Path: dir, Err: err}
		}
	}
	return nil
}

func (d Dir) servers() string { return filepath.Join(string(d), "servers") }
func (d Dir) logs() string    { return filepath.Join(string(d), "log") }

// KnownHosts is the file of accepted certificates.
func (d Dir) KnownHosts() string { return filepath.Join(string(d), "known_hosts") }

// Server is the file for what was learned of a server.
func (d Dir) Server(host string, port int) string {
	return filepath.Join(d.servers(), fileName(host, fmt.Sprintf("%s:%d", host, port))+".json")
}

// Kept is the file for modes and times that the server cannot keep, of what a user sees below a folder of it.
func (d Dir) Kept(user, host string, port int, root string) string {
	return filepath.Join(d.servers(), fileName(host, fmt.Sprintf("%s@%s:%d%s", user, host, port, root))+".attrs")
}

// Log is the log of the mount on mountpoint.
func (d Dir) Log(mountpoint string) string {
	return filepath.Join(d.logs(), fileName(filepath.Base(mountpoint), mountpoint)+".log")
}

// fileName makes a file name that a person recognises by hint, and that is unique by key.
func fileName(hint, key string) string {
	hint = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' {
			return r
		}
		return '_'
	}, hint)
	return strings.TrimLeft(hint[:min(len(hint), 80)], ".") + "-" + Digest(key)
}

// Digest is a short name for key.
func Digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

// Private makes dir (not its parents) if it is missing, and makes sure that it is a real folder of this user which nobody
// else can enter.
func Private(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !st.IsDir():
		return &fs.PathError{Op: "use", Path: dir, Err: syscall.ENOTDIR}
	case !ok || int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case st.Mode().Perm()&0o077 != 0:
		return os.Chmod(dir, 0o700)
	}
	return nil
}
