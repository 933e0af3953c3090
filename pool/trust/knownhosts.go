package trust

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// knownHosts is a file of the keys that were accepted: one line "HOST:PORT sha256:HEX DATE SUBJECT" each. Several
// processes may share it.
type knownHosts struct{ path string }

// lookup gives the remembered fingerprint of host, "" when there is none.
func (k knownHosts) lookup(host string) (string, error) {
	data, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", configError("file of known servers is not readable", err, "")
	}
	return find(data, host), nil
}

func find(data []byte, host string) string {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) >= 2 && f[0] == host {
			return f[1]
		}
	}
	return ""
}

// remember adds host, unless another process was faster: then the fingerprints must agree. The file is replaced as a
// whole, under a lock beside it, so that readers never see half of it.
func (k knownHosts) remember(host, fingerprint, subject string) (stored string, err error) {
	if err := os.MkdirAll(filepath.Dir(k.path), 0o700); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(k.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // releases the lock
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	data, err := os.ReadFile(k.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if stored := find(data, host); stored != "" {
		return stored, nil
	}
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(data, '\n')
	}
	subject = strings.Map(oneLine, subject)
	data = fmt.Appendf(data, "%s %s %s %s\n", host, fingerprint, time.Now().UTC().Format("2006-01-02"), subject)
	return fingerprint, replaceFile(k.path, data)
}

func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
