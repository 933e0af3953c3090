package embedded

import (
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"
)

// dialTimeout is how long a passive port waits for its client.
const dialTimeout = 30 * time.Second

var errLogin = errors.New("login incorrect")

// driver answers the library's questions about the server as a whole.
type driver struct {
	s *Server
}

var (
	_ ftpserver.MainDriver                        = (*driver)(nil)
	_ ftpserver.MainDriverExtensionPassiveWrapper = (*driver)(nil)
)

func (d *driver) GetSettings() (*ftpserver.Settings, error) {
	required := ftpserver.MandatoryEncryption
	if d.s.cfg.Implicit {
		required = ftpserver.ImplicitEncryption
	}
	return &ftpserver.Settings{
		Listener:                d.s.ctrl,
		Banner:                  "ftpsfs embedded server",
		TLSRequired:             required,
		ConnectionTimeout:       int(dialTimeout / time.Second),
		ActiveTransferPortNon20: true,
		DisableMLSD:             d.s.cfg.ListOnly,
		DisableMLST:             d.s.cfg.ListOnly,
		EnableHASH:              true,
	}, nil
}

func (d *driver) ClientConnected(ftpserver.ClientContext) (string, error) {
	return "ftpsfs embedded server ready", nil
}

func (d *driver) ClientDisconnected(ftpserver.ClientContext) { d.s.clients.Done() }

func (d *driver) AuthUser(_ ftpserver.ClientContext, user, pass string) (ftpserver.ClientDriver, error) {
	u := subtle.ConstantTimeCompare([]byte(user), []byte(d.s.cfg.User))
	p := subtle.ConstantTimeCompare([]byte(pass), []byte(d.s.cfg.Password))
	if u&p != 1 {
		return nil, errLogin
	}
	return &folder{root: d.s.root, fold: d.s.cfg.FoldCase}, nil
}

func (d *driver) GetTLSConfig() (*tls.Config, error) { return d.s.tls, nil }

// WrapPassiveListener puts the data port on the server's own address: the library would listen on all of them.
func (d *driver) WrapPassiveListener(l net.Listener) (net.Listener, error) {
	return d.s.passive(l)
}

// folder is the tree that a client sees, rooted at an os.Root.
type folder struct {
	root *os.Root
	fold bool // names that differ in case alone are one
}

var (
	_ ftpserver.ClientDriver                   = (*folder)(nil)
	_ ftpserver.ClientDriverExtensionFileList  = (*folder)(nil)
	_ ftpserver.ClientDriverExtensionRemoveDir = (*folder)(nil)
)

// rel turns the library's absolute path into one below the root.
func rel(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}

func (f *folder) Name() string { return "folder" }

func (f *folder) Create(name string) (afero.File, error) {
	return f.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0)
}

func (f *folder) Open(name string) (afero.File, error) { return f.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile refuses what is not a regular file (a FIFO would block for ever) and creates with 0644, as FTP servers do; the
// library asks for 0777.
func (f *folder) OpenFile(name string, flag int, _ os.FileMode) (afero.File, error) {
	if fi, err := f.root.Stat(f.rel(name)); err == nil && !fi.Mode().IsRegular() {
		cause := error(syscall.EINVAL)
		if fi.IsDir() {
			cause = syscall.EISDIR
		}
		return nil, &os.PathError{Op: "open", Path: name, Err: cause}
	}
	file, err := f.root.OpenFile(f.rel(name), flag, 0o644)
	if err != nil {
		return nil, err // not a nil *os.File in a non-nil interface
	}
	return file, nil
}

func (f *folder) Mkdir(name string, perm os.FileMode) error { return f.root.Mkdir(f.rel(name), perm) }

func (f *folder) MkdirAll(name string, perm os.FileMode) error {
	return f.root.MkdirAll(f.rel(name), perm)
}

// Remove is DELE: files only.
func (f *folder) Remove(name string) error {
	if fi, err := f.root.Lstat(f.rel(name)); err == nil && fi.IsDir() {
		return &os.PathError{Op: "delete", Path: name, Err: syscall.EISDIR}
	}
	return f.root.Remove(f.rel(name))
}

// RemoveDir is RMD: folders only.
func (f *folder) RemoveDir(name string) error {
	if fi, err := f.root.Lstat(f.rel(name)); err == nil && !fi.IsDir() {
		return &os.PathError{Op: "rmdir", Path: name, Err: syscall.ENOTDIR}
	}
	return f.root.Remove(f.rel(name))
}

func (f *folder) RemoveAll(name string) error { return f.root.RemoveAll(f.rel(name)) }

func (f *folder) Rename(from, to string) error { return f.rename(from, to) }

func (f *folder) Stat(name string) (os.FileInfo, error) { return f.root.Stat(f.rel(name)) }

func (f *folder) Chmod(name string, mode os.FileMode) error {
	return f.root.Chmod(f.rel(name), mode.Perm())
}

func (f *folder) Chown(name string, uid, gid int) error { return f.root.Chown(f.rel(name), uid, gid) }

func (f *folder) Chtimes(name string, atime, mtime time.Time) error {
	return f.root.Chtimes(f.rel(name), atime, mtime)
}

// ReadDir shows a symlink as what it points to, and leaves out names that would break a line.
func (f *folder) ReadDir(name string) ([]os.FileInfo, error) {
	dir, err := f.root.Open(f.rel(name))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	all, err := dir.Readdir(-1)
	if err != nil {
		return nil, err
	}
	shown := all[:0]
	for _, fi := range all {
		if strings.ContainsAny(fi.Name(), "\r\n") {
			continue
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			if target, err := f.root.Stat(path.Join(f.rel(name), fi.Name())); err == nil {
				fi = named{target, fi.Name()}
			}
		}
		shown = append(shown, fi)
	}
	return shown, nil
}

// named is a target's attributes under the link's name.
type named struct {
	os.FileInfo
	name string
}

func (n named) Name() string { return n.name }
