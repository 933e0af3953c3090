package stage

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"unicode/utf8"
)

// compactAt is the size in bytes from which a line file is written anew with its last line only.
const compactAt = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// name is a path in JSON. Paths are raw bytes, JSON strings are Unicode: others than valid UTF-8 are written as hex.
type name string

// MarshalText gives "=text" or "%hex".
func (n name) MarshalText() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return append([]byte{'='}, n...), nil
	}
	return append([]byte{'%'}, hex.EncodeToString([]byte(n))...), nil
}

// UnmarshalText reads what MarshalText wrote.
func (n *name) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("empty name")
	}
	if b[0] == '=' {
		*n = name(b[1:])
		return nil
	}
	raw, err := hex.DecodeString(string(b[1:]))
	*n = name(raw)
	return err
}

// lineFile is a file of checksummed JSON lines of which the last counts. Not safe for concurrent use.
type lineFile struct {
	path string
	f    *os.File
	size int64 // end of the last good line
}

// createLines makes a new file; it must not exist.
func createLines(path string) (*lineFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &lineFile{path: path, f: f}, nil
}

// openLines opens a file that another run wrote and decodes its last good line into v. ok is false when there is none.
func openLines(path string, v any) (l *lineFile, ok bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		f.Close()
		return nil, false, err
	}
	last, size := lastLine(b)
	if last != nil && json.Unmarshal(last, v) != nil {
		last = nil
	}
	return &lineFile{path: path, f: f, size: size}, last != nil, nil
}

// lastLine gives the JSON of the last good line before the first bad one, and where that line ends.
func lastLine(b []byte) (last []byte, size int64) {
	for {
		end := bytes.IndexByte(b[size:], '\n')
		if end < 0 {
			return last, size
		}
		line := b[size : size+int64(end)]
		if len(line) < 9 || line[8] != ' ' || fmt.Sprintf("%08x", crc32.Checksum(line[9:], castagnoli)) != string(line[:8]) {
			return last, size
		}
		last = line[9:]
		size += int64(end) + 1
	}
}

func encodeLine(v any) ([]byte, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return appendLine(nil, j), nil
}

// appendLine appends a line with its checksum.
func appendLine(b, payload []byte) []byte {
	return fmt.Appendf(b, "%08x %s\n", crc32.Checksum(payload, castagnoli), payload)
}

// put makes v the last line. With sync it is on the disk when put returns. After an error the line before still counts.
func (l *lineFile) put(v any, sync bool) error {
	line, err := encodeLine(v)
	if err != nil {
		return err
	}
	if l.size > compactAt {
		return l.rewrite(line)
	}
	if _, err := l.f.WriteAt(line, l.size); err != nil {
		_ = l.f.Truncate(l.size) // half a line does no harm, the next put overwrites it
		return err
	}
	// What another run left behind the last good line must not follow ours.
	end := l.size + int64(len(line))
	if err := l.f.Truncate(end); err != nil {
		return err
	}
	if sync {
		if err := l.f.Sync(); err != nil {
			return err
		}
	}
	l.size = end
	return nil
}

// rewrite replaces the file by one with a single line, atomically and durably.
func (l *lineFile) rewrite(line []byte) error {
	tmp := l.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, l.path)
	}
	if err != nil {
		f.Close()
		os.Remove(tmp)
		return err
	}
	l.f.Close()
	l.f, l.size = f, int64(len(line))
	return nil
}

// close ends the use of the file. What counts was synced or is allowed to get lost.
func (l *lineFile) close() { l.f.Close() }

// remove closes and deletes the file.
func (l *lineFile) remove() error {
	l.f.Close()
	return os.Remove(l.path)
}
