package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// longestKept is the most bytes of the target's own name that go into a recovery name.
const longestKept = 120

// Keep closes the file and moves it to the recovery folder, with a text beside it that tells the target, the time and
// the reason (in words). place is where it is now. On an error the file stays where the next run finds it.
func (f *File) Keep(reason string) (place string, err error) {
	return f.keepBy(reason, f.store.keep)
}

// KeepLast is Keep for content whose writer knows that it was not stored, and may write it again. Of one target only the
// last such content is kept, of all targets no more than keptFiles, a tenth of Limit, and nothing older than keptFor:
// programs that try again and again do not fill the disk. What is too large alone is removed, place is "" then.
func (f *File) KeepLast(reason string) (place string, err error) {
	return f.keepBy(reason, f.store.keepLast)
}

func (f *File) keepBy(reason string, move func(dataPath, target, text string) (string, error)) (place string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.data == nil {
		return "", nil
	}
	text := f.describeLocked(reason)
	dataPath, metaPath, target := f.path, f.meta.path, f.target
	f.endLocked()
	if place, err = move(dataPath, target, text); err != nil {
		return "", err
	}
	return place, os.Remove(metaPath)
}

// Bounds of what KeepLast keeps.
const (
	keptFiles = 100
	keptFor   = 7 * 24 * time.Hour
	keptShare = 10 // of Limit, one part
	// lastPrefix begins the names of such files.
	lastPrefix = "last-"
)

// keepLast moves a data file to the recovery folder in the place of an earlier one of the same target.
func (s *Store) keepLast(dataPath, target, text string) (place string, err error) {
	sum := sha256.Sum256([]byte(s.cfg.Server + "\x00" + target))
	place = filepath.Join(s.recovery, lastPrefix+hex.EncodeToString(sum[:6])+"-"+readable(target))
	now := s.cfg.Now()
	fi, err := os.Stat(dataPath)
	if err != nil {
		return "", err
	}
	if s.cfg.Limit > 0 && allocated(fi) > s.cfg.Limit/keptShare {
		return "", os.Remove(dataPath)
	}
	if err := os.Chtimes(dataPath, now, now); err != nil { // its age counts from now
		return "", err
	}
	if err := os.Rename(dataPath, place); err != nil {
		return "", err
	}
	if err := os.WriteFile(place+".txt", []byte(text), 0o600); err != nil {
		s.cfg.Log.Warn("no text beside kept content", "file", place, "error", err)
	}
	s.mu.Lock()
	s.kept++
	s.mu.Unlock()
	s.pruneLast(now)
	return place, syncDir(s.recovery)
}

// pruneLast removes the oldest of what keepLast made, as far as it is beyond the bounds. What Keep made stays.
func (s *Store) pruneLast(now time.Time) {
	entries, err := os.ReadDir(s.recovery)
	if err != nil {
		s.cfg.Log.Warn("recovery folder not looked through", "error", err)
		return
	}
	var all []os.FileInfo
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), lastPrefix) || strings.HasSuffix(e.Name(), ".txt") {
			continue
		}
		if info, err := e.Info(); err == nil {
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	var bytes int64
	for i, info := range all {
		bytes += allocated(info)
		if i < keptFiles && now.Sub(info.ModTime()) <= keptFor && (s.cfg.Limit == 0 || bytes <= s.cfg.Limit/keptShare) {
			continue
		}
		place := filepath.Join(s.recovery, info.Name())
		s.cfg.Log.Warn("kept content makes room for later content", "file", place)
		if err := errors.Join(os.Remove(place), os.Remove(place+".txt")); err != nil {
			s.cfg.Log.Warn("kept content not removed", "file", place, "error", err)
		}
	}
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
