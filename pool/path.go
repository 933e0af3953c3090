package pool

import (
	"context"
	"path"
	"strconv"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// maxPath leaves room for the longest command name and its arguments ("SITE UTIME path t t t UTC") in a line that all
// servers take.
const maxPath = wire.MaxCommand - 80

// remote turns a path within the mount into the absolute path on the server. It does not ask the server.
func (p *Pool) remote(op, name string) (string, error) {
	if !strings.HasPrefix(name, "/") {
		return "", &Error{Op: op, Path: name, Kind: KindInvalidName, Reply: "not an absolute path"}
	}
	if strings.ContainsAny(name, "\r\n\x00") || strings.IndexByte(name, 0xff) >= 0 {
		return "", &Error{Op: op, Path: name, Kind: KindInvalidName, Advice: "FTP cannot carry CR, LF, NUL or byte 0xFF in a name"}
	}
	abs := p.base() + strings.TrimSuffix(name, "/")
	if abs == "" {
		abs = "/"
	}
	if len(abs) > maxPath {
		return "", &Error{Op: op, Path: name, Kind: KindNameTooLong}
	}
	return abs, nil
}

// remoteNew is remote for a name that is about to be created: it must be stored as it is.
func (p *Pool) remoteNew(ctx context.Context, op, name string) (string, error) {
	abs, err := p.remote(op, name)
	if err != nil {
		return "", err
	}
	return abs, p.KeepsName(ctx, name)
}

// manglesName tells names that Pure-FTPd refuses or silently changes when it creates them, for folders in which nothing can be
// tried out.
func manglesName(base string) bool {
	if strings.HasSuffix(base, " ") {
		return true
	}
	return strings.IndexFunc(base, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) >= 0
}

// base is the server's path of the mount's root, without a slash at its end; "" for the server's root.
func (p *Pool) base() string { return p.server().base }

// Root is the server's path of the mount's root, as the server writes absolute paths; "" is the server's root. It is known
// from the first login on.
func (p *Pool) Root() string { return p.base() }

// basePath joins what the server said of the login folder and what the URL says.
func basePath(home, root string) string {
	if strings.HasPrefix(root, "/") {
		home = "/"
	}
	return strings.TrimSuffix(path.Join("/", home, root), "/")
}

// parentOf gives the folder of a path within the mount.
func parentOf(name string) string { return path.Dir(strings.TrimSuffix(name, "/")) }

// nameOf gives the last element of a path within the mount, "" for the root.
func nameOf(name string) string {
	if name == "/" {
		return ""
	}
	return path.Base(name)
}

func isRoot(name string) bool { return path.Clean(name) == "/" }

// joinClean joins within the mount; ".." does not leave it.
func joinClean(dir, rel string) string { return path.Join("/", dir, rel) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
