package stage

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// longestKept is the most bytes of the target's own name that go into a recovery name.
const longestKept = 120

// Keep closes the file and moves it to the recovery folder, with a text beside it that tells the target, the time and
// the reason (in words). place is where it is now. On an error the file stays where the next run finds it.
func (f *File) Keep(reason string) (place string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		return "", nil
	}
	text := f.describeLocked(reason)
	dataPath, metaPath, target := f.path, f.meta.path, f.target
	f.endLocked()
	if place, err = f.store.keep(dataPath, target, text); err != nil {
		return "", err
	}
	return place, os.Remove(metaPath)
}

// keep moves a data file to the recovery folder under a readable name.
func (s *Store) keep(dataPath, target, text string) (place string, err error) {
	stem := filepath.Join(s.recovery, fmt.Sprintf("%s-%s-%s", s.cfg.Now().UTC().Format("20060102T150405Z"), s.cfg.Mount, readable(target)))
	place = stem
	var note *os.File
	for i := 2; ; i++ {
		// The text claims the name: whoever makes it first owns both.
		note, err = os.OpenFile(place+".txt", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, os.ErrExist) {
			break
		}
		place = fmt.Sprintf("%s-%d", stem, i)
	}
	if err != nil {
		return "", err
	}
	_, err = note.WriteString(text)
	err = errors.Join(err, note.Sync(), note.Close())
	if err != nil {
		// A full disk must not stand between the user and the content; the name tells most of it.
		s.cfg.Log.Warn("no text beside kept content", "file", place, "error", err)
	}
	if err := os.Rename(dataPath, place); err != nil {
		os.Remove(place + ".txt")
		return "", err
	}
	s.mu.Lock()
	s.kept++
	s.mu.Unlock()
	return place, syncDir(s.recovery)
}

// readable makes a target fit for a local file name.
func readable(target string) string {
	base := path.Base(target)
	if base == "/" || base == "." || base == ".." {
		base = "unnamed"
	}
	base = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '/' || r == utf8.RuneError {
			return '_'
		}
		return r
	}, base)
	for len(base) > longestKept {
		_, size := utf8.DecodeLastRuneInString(base)
		base = base[:len(base)-size]
	}
	return base
}

func (f *File) describeLocked(reason string) string {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s "+format+"\n", append([]any{key + ":"}, args...)...)
	}
	b.WriteString("Content that ftpsfs kept because " + reason + ".\n\n")
	line("server", "%q", f.store.cfg.Server)
	line("file", "%q", f.target)
	line("kept at", "%s", f.store.cfg.Now().Format(time.RFC3339))
	line("size", "%d bytes", f.size)
	if f.base.Exists {
		line("based on", "%d bytes of %s", f.base.Size, f.base.ModTime.Format(time.RFC3339))
	} else {
		line("based on", "nothing, the file was new")
	}
	line("closed", "%t (whether a close or fsync had begun)", f.committed)
	for _, r := range f.dirty.ranges() {
		line("changed", "bytes %d to %d", r.Off, r.End()-1)
	}
	for _, r := range f.present.gaps(0, f.size) {
		line("not here", "bytes %d to %d were never fetched and are zeros in this file", r.Off, r.End()-1)
	}
	return b.String()
}
