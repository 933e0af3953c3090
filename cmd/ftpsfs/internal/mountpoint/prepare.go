package mountpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// FSType is how our mounts are called in the kernel's table.
const FSType = "fuse.ftpsfs"

// Mount is one line of the kernel's table.
type Mount struct {
	Dir    string
	Source string // the URL, without a password
	UID    int    // who mounted, -1 unknown
}

// Ours lists the mounts of ftpsfs that this process can see, in the order in which they were made.
func Ours() ([]Mount, error) {
	infos, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.FSType != FSType, false
	})
	if err != nil {
		return nil, err
	}
	var list []Mount
	for _, i := range infos {
		m := Mount{Dir: i.Mountpoint, Source: i.Source, UID: -1}
		for _, o := range strings.Split(i.VFSOptions, ",") {
			_, _ = fmt.Sscanf(o, "user_id=%d", &m.UID)
		}
		list = append(list, m)
	}
	return list, nil
}

// At gives our topmost mount on dir, which must be clean and absolute.
func At(dir string) (Mount, bool) {
	list, err := Ours()
	if err != nil {
		return Mount{}, false
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Dir == dir {
			return list[i], true
		}
	}
	return Mount{}, false
}

// Real gives dir without symbolic links, the name that the kernel's table has. It does not ask a file system that is
// mounted on dir, which may not answer.
func Real(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, ok := At(abs); ok {
		return abs, nil
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		if d := filepath.Join(parent, filepath.Base(abs)); d != abs {
			if _, ok := At(d); ok {
				return d, nil
			}
		}
	}
	return filepath.EvalSymlinks(abs)
}

// Prepare checks that dir can be mounted on and gives its real name. A dead end point that an earlier run of ours left
// there is unmounted first.
func Prepare(dir string) (string, error) {
	real, err := Real(dir)
	if err != nil {
		return "", missing(dir, err)
	}
	for {
		m, ok := At(real)
		if !ok {
			break
		}
		if err := Alive(real); !errors.Is(err, syscall.ENOTCONN) {
			return "", exitcode.NewMount(fmt.Sprintf("%s is mounted on %s already", m.Source, dir), nil, "run `ftpsfs umount "+dir+"` first")
		}
		if err := Unmount(real, true); err != nil {
			return "", exitcode.NewMount("the dead mount on "+dir+" cannot be removed", err, "run `fusermount3 -uz "+dir+"`, or as root `umount -l "+dir+"`")
		}
	}
	st, err := os.Stat(real)
	switch {
	case err != nil:
		return "", missing(dir, err)
	case !st.IsDir():
		return "", exitcode.NewMount("the mount point "+dir+" is no folder", nil, "name an empty folder")
	case unix.Access(real, unix.W_OK) != nil && os.Geteuid() != 0:
		return "", exitcode.NewMount("the mount point "+dir+" is not yours", nil, "only root may mount on a folder that it cannot write; name a folder of your own")
	}
	return real, nil
}

func missing(dir string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return exitcode.NewMount("the mount point "+dir+" does not exist", nil, "run `mkdir -p "+dir+"`")
	}
	if errors.Is(err, syscall.ENOTCONN) {
		return exitcode.NewMount("the mount point "+dir+" lies in a mount that is dead", nil, "unmount that one first")
	}
	return exitcode.NewMount("the mount point "+dir+" cannot be used", err, "")
}

// aliveTimeout is how long a mount may take to say anything about its top folder.
const aliveTimeout = 3 * time.Second

// Alive asks the file system mounted on dir for its top folder: nil, ENOTCONN when its process is gone, ETIMEDOUT when it
// does not answer, EACCES when it belongs to somebody else.
func Alive(dir string) error {
	done := make(chan error, 1)
	go func() { // a call that the file system never answers keeps this goroutine
		var st unix.Stat_t
		err := unix.Lstat(dir, &st)
		if err == nil {
			var sf unix.Statfs_t // attributes may come from the kernel's cache, this does not
			err = unix.Statfs(dir, &sf)
		}
		done <- err
	}()
	timer := time.NewTimer(aliveTimeout)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return syscall.ETIMEDOUT
	}
}

// Inside reports whether path lies in dir or is dir; both are real names.
func Inside(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
