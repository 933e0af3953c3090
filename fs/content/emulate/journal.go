package emulate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// line is one line of the journal: one of Set, Drop, or From and To.
type line struct {
	Set    string
	Record record
	Drop   string
	From   string
	To     string
}

// raw is line as it is written: names are bytes, and a string of JSON would not bring all of them back.
type raw struct {
	Set    []byte `json:"set,omitempty"`
	Record record `json:"record,omitzero"`
	Drop   []byte `json:"drop,omitempty"`
	From   []byte `json:"from,omitempty"`
	To     []byte `json:"to,omitempty"`
}

// journal is an append-only file: cheap to write, and complete up to the last line after a crash.
type journal struct {
	f *os.File
}

// openJournal reads the file and opens it for appending. When most of it is history and no other mount uses it, it is
// shortened first.
func openJournal(file string) (*journal, map[string]record, error) {
	f, err := openLocked(file)
	if err != nil {
		return nil, nil, err
	}
	kept, lines, err := readJournal(file)
	if err == nil && lines > 1000 && lines > 2*len(kept) && syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
		err = rewrite(file, kept)
		if err == nil {
			err = f.Close()
		}
		if err == nil {
			f, err = openLocked(file)
		}
	}
	if err == nil {
		_, err = f.WriteString("\n") // ends a line that a crash cut off
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &journal{f: f}, kept, nil
}

// openLocked opens the file, with a lock that says that it is in use.
func openLocked(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func readJournal(file string) (kept map[string]record, lines int, err error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return map[string]record{}, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // only read
	if kept, lines, err = parseJournal(f); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", file, err)
	}
	return kept, lines, nil
}

func parseJournal(r io.Reader) (kept map[string]record, lines int, err error) {
	kept = map[string]record{}
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for ; sc.Scan(); lines++ {
		var l raw
		if json.Unmarshal(sc.Bytes(), &l) != nil {
			continue // empty, or cut off by a crash
		}
		switch {
		case len(l.Set) > 0:
			kept[string(l.Set)] = l.Record
		case len(l.Drop) > 0:
			drop(kept, string(l.Drop))
		case len(l.From) > 0 && len(l.To) > 0:
			move(kept, string(l.From), string(l.To))
		}
	}
	return kept, lines, sc.Err()
}

// rewrite replaces the file by one that has only what counts.
func rewrite(file string, kept map[string]record) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	if err := writeJournal(tmp, kept); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return tmp.Close()
}

func writeJournal(out io.Writer, kept map[string]record) error {
	w := bufio.NewWriter(out)
	for _, p := range slices.Sorted(maps.Keys(kept)) {
		b, err := encode(line{Set: p, Record: kept[p]})
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Flush()
}

func encode(l line) ([]byte, error) {
	b, err := json.Marshal(raw{Set: []byte(l.Set), Record: l.Record, Drop: []byte(l.Drop), From: []byte(l.From), To: []byte(l.To)})
	return append(b, '\n'), err
}

// append writes one line, in one write.
func (j *journal) append(l line) error {
	b, err := encode(l)
	if err != nil {
		return err
	}
	_, err = j.f.Write(b)
	return err
}

func (j *journal) close() error { return j.f.Close() }
