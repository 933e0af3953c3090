package credentials

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// maxSecret bounds what is read of a file that should hold one line.
const maxSecret = 64 << 10

// fromFile reads -o password_file. It was asked for by name, so whatever is wrong with it is an error.
func fromFile(_ context.Context, r *Request) (Found, error) {
	if r.PasswordFile == "" {
		return Found{}, ErrNotFound
	}
	f, err := os.Open(r.PasswordFile)
	if err != nil {
		return Found{}, exitcode.NewUsage(fmt.Sprintf("password_file %s cannot be read: %v", r.PasswordFile, cause(err)), "")
	}
	defer f.Close()
	if err := private(f); err != nil {
		return Found{}, exitcode.NewUsage(fmt.Sprintf("password_file %s %v", r.PasswordFile, err), "run chmod 600 "+r.PasswordFile)
	}
	p, err := firstLine(f)
	if err != nil {
		return Found{}, exitcode.NewUsage(fmt.Sprintf("password_file %s: %v", r.PasswordFile, err), "write the password into its first line")
	}
	return Found{Password: options.Secret(p), HasPassword: true, Source: "password_file " + r.PasswordFile}, nil
}

// private refuses an open file that others than its owner can read. It looks at the open file, not at the name, so that
// nothing can be exchanged in between.
func private(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.IsDir() {
		return errors.New("is a folder")
	}
	if m := st.Mode().Perm(); m&0o077 != 0 {
		return fmt.Errorf("can be read or changed by others (mode %04o)", m)
	}
	return nil
}

// firstLine gives the first line without its end.
func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, maxSecret), 4096).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", cause(err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("the first line is empty")
	}
	return line, nil
}

// fromSystemd reads a credential that systemd handed to the service (systemd.exec(5), LoadCredential): ftpsfs.HOST, then
// ftpsfs.password. systemd itself sees to the permissions of the folder.
func fromSystemd(_ context.Context, r *Request) (Found, error) {
	dir := r.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || r.User == "" {
		return Found{}, ErrNotFound
	}
	for _, name := range []string{"ftpsfs." + r.Host, "ftpsfs.password"} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Found{}, exitcode.NewSystem("systemd credential "+name+" cannot be read", cause(err), "")
		}
		p, err := firstLine(f)
		f.Close()
		if err != nil {
			return Found{}, exitcode.NewUsage(fmt.Sprintf("systemd credential %s: %v", name, err), "")
		}
		return Found{Password: options.Secret(p), HasPassword: true, Source: "systemd credential " + name}, nil
	}
	return Found{}, ErrNotFound
}

// cause leaves the name of the file out, which the message has already.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
