package state

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// maxSocketDir leaves room in a socket's address (104 bytes on some systems) for the name of the socket.
const maxSocketDir = 64

// RuntimeDirs are the folders where control sockets of uid's mounts may be, the preferred one first. They do not depend on
// -o state_dir, as who asks for the status of a mount does not know its options.
func RuntimeDirs(uid int) []string {
	self := uid == os.Geteuid()
	var dirs []string
	if x := os.Getenv("XDG_RUNTIME_DIR"); self && filepath.IsAbs(x) {
		dirs = append(dirs, filepath.Join(x, "ftpsfs"))
	}
	run := "/run/ftpsfs"
	if uid != 0 {
		run = filepath.Join("/run/user", strconv.Itoa(uid), "ftpsfs")
	}
	dirs = append(dirs, run)
	getenv := os.Getenv
	if !self {
		getenv = func(name string) string {
			if u, err := user.LookupId(strconv.Itoa(uid)); err == nil && name == "HOME" {
				return u.HomeDir
			}
			return ""
		}
	}
	if d := Default(getenv, uid); d != "" {
		dirs = append(dirs, filepath.Join(string(d), "run"))
	}
	return append(dirs, filepath.Join(os.TempDir(), "ftpsfs-"+strconv.Itoa(uid)))
}

// MakeRuntimeDir makes the first of our runtime folders that can be had. The folder above it must exist, except for the one
// in the state folder, which may be the first thing there.
func MakeRuntimeDir() (string, error) {
	var all error
	for _, dir := range RuntimeDirs(os.Geteuid()) {
		if len(dir) > maxSocketDir {
			continue
		}
		if filepath.Base(dir) == "run" {
			_ = os.MkdirAll(filepath.Dir(dir), 0o700) // the error is Private's too
		}
		err := Private(dir)
		if err == nil {
			return dir, nil
		}
		all = errors.Join(all, err)
	}
	return "", all
}

// Owned reports whether dir is a real folder of uid that nobody else can change.
func Owned(dir string, uid int) bool {
	st, err := os.Lstat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm()&0o022 != 0 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == uid
}
