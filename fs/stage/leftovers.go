package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Leftover is one thing that a dead run left: either File or Entry is set.
type Leftover struct {
	Mount string // mount id of the dead run
	// File is staged content, now owned by this store: finish and Settle it, then Close, or Keep it.
	File      *File
	Committed bool // a close or fsync had begun for File: its dirty ranges are to be uploaded if Base is unchanged
	Complete  bool // every byte of File that is not dirty is present too
	// Entry is an open journal record, now owned by this store: settle it on the server, then Done.
	Entry *Entry
}

// Leftovers gives what dead runs of the same server and root left, oldest run first. What it returns belongs to this
// store until it is closed; runs that are alive are not touched. Staging files that nothing was written to are removed
// without a word; damaged remains go to the recovery folder, with a warning. The maps of a File that was not committed
// are a guess: what the disk holds is present, nothing is dirty.
func (s *Store) Leftovers() ([]Leftover, error) {
	server, err := lockServer(s.serverDir)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	dead, err := s.deadRuns()
	if err != nil {
		return nil, err
	}
	var out []Leftover
	for _, r := range dead {
		left, rerr := s.adopt(r)
		out = append(out, left...)
		if rerr == nil && len(left) == 0 {
			err = errors.Join(err, r.end())
			continue
		}
		err = errors.Join(err, rerr)
		s.mu.Lock()
		s.adopted = append(s.adopted, r)
		s.mu.Unlock()
	}
	return out, err
}

// Mounts gives the ids of the mounts of all servers that have a folder in the state folder: true for those that run, or whose
// leftovers a running one has taken over. Nothing is changed.
func Mounts(dir string) (map[string]bool, error) {
	runs, err := fs.Glob(os.DirFS(dir), "stage/*/*.*/lock")
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, path := range runs {
		path = filepath.Join(dir, path)
		name := filepath.Base(filepath.Dir(path))
		id := name[:strings.LastIndexByte(name, '.')]
		server, lerr := lockServer(filepath.Dir(filepath.Dir(path))) // else a mount that looks at dead runs now takes us for their owner
		if lerr != nil {
			err = errors.Join(err, lerr)
			continue
		}
		if _, serr := os.Lstat(path); serr == nil { // not ended meanwhile
			lock, lerr := tryLock(path)
			err = errors.Join(err, lerr)
			all[id] = all[id] || lock == nil
			if lock != nil {
				lock.Close()
			}
		}
		server.Close()
	}
	return all, err
}

// deadRuns takes the locks of all runs that have no owner any more, oldest first.
func (s *Store) deadRuns() ([]*run, error) {
	names, err := os.ReadDir(s.serverDir)
	if err != nil {
		return nil, err
	}
	type aged struct {
		r     *run
		since time.Time
	}
	var dead []aged
	for _, n := range names {
		dir := filepath.Join(s.serverDir, n.Name())
		i := strings.LastIndexByte(n.Name(), '.')
		if !n.IsDir() || i <= 0 || dir == s.run.dir {
			continue
		}
		lock, err := tryLock(filepath.Join(dir, "lock"))
		if err != nil {
			s.cfg.Log.Warn("what an earlier run left cannot be looked at", "folder", dir, "error", err)
			continue
		}
		if lock == nil {
			continue // alive, or adopted already
		}
		a := aged{r: &run{dir: dir, mount: n.Name()[:i], lock: lock}}
		if fi, err := lock.Stat(); err == nil {
			a.since = fi.ModTime()
		}
		dead = append(dead, a)
	}
	slices.SortStableFunc(dead, func(a, b aged) int { return a.since.Compare(b.since) })
	out := make([]*run, len(dead))
	for i, a := range dead {
		out[i] = a.r
	}
	return out, nil
}

// adopt reads what is in the folder of a dead run. What it cannot make sense of stays there or goes to the recovery folder.
func (s *Store) adopt(r *run) ([]Leftover, error) {
	names, err := os.ReadDir(r.dir) // sorted: in the order things were made
	if err != nil {
		return nil, err
	}
	var out []Leftover
	for _, n := range names {
		path := filepath.Join(r.dir, n.Name())
		stem, suffix := strings.TrimSuffix(path, filepath.Ext(path)), filepath.Ext(path)
		var left *Leftover
		var aerr error
		switch suffix {
		case ".data":
			left, aerr = s.adoptFile(stem)
		case ".journal":
			left, aerr = s.adoptEntry(path)
		case ".new": // a line file that was being written anew; the old one counts
			aerr = os.Remove(path)
		case ".meta":
			if _, serr := os.Lstat(stem + ".data"); errors.Is(serr, os.ErrNotExist) {
				aerr = os.Remove(path)
			}
		}
		if aerr != nil && !errors.Is(aerr, os.ErrNotExist) { // a meta file may have gone with its data
			s.cfg.Log.Warn("what an earlier run left cannot be used", "file", path, "error", aerr)
			err = errors.Join(err, aerr)
		}
		if left != nil {
			left.Mount = r.mount
			out = append(out, *left)
		}
	}
	return out, err
}

func (s *Store) adoptEntry(path string) (*Leftover, error) {
	var l recordLine
	lines, ok, err := openLines(path, &l)
	if err != nil {
		return nil, err
	}
	if !ok {
		// Begin had not returned, so nothing was done on the server yet.
		return nil, lines.remove()
	}
	s.countEntry(1)
	rec := Record{l.Op, string(l.Path), string(l.Temp), string(l.Aside), l.Base, l.New, l.Step}
	return &Leftover{Entry: &Entry{store: s, lines: lines, rec: rec}}, nil
}

func (s *Store) adoptFile(stem string) (*Leftover, error) {
	data, err := os.OpenFile(stem+".data", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	fi, err := data.Stat()
	if err != nil {
		data.Close()
		return nil, err
	}
	onDisk, err := dataRanges(data, fi.Size())
	if err != nil {
		data.Close()
		return nil, err
	}
	var m meta
	lines, ok, err := openLines(stem+".meta", &m)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		data.Close()
		return nil, err
	}
	if !ok || !m.Touched && !m.Committed {
		data.Close()
		if lines != nil {
			lines.close()
		}
		return nil, s.discard(stem, ok || len(onDisk) == 0)
	}
	f := &File{store: s, path: stem + ".data", data: data, meta: lines, target: string(m.Target), base: m.Base, gen: 1,
		touched: true, committed: m.Committed}
	return f.adopted(m, fi.Size(), onDisk)
}

// discard removes a staging file that holds nothing of value, or keeps one whose meta file is unreadable.
func (s *Store) discard(stem string, worthless bool) error {
	if worthless {
		err := os.Remove(stem + ".data")
		if rerr := os.Remove(stem + ".meta"); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	text := fmt.Sprintf("Content that ftpsfs kept because the note beside it was damaged; which file it belongs to is not known.\nserver: %q\n", s.cfg.Server)
	place, err := s.keep(stem+".data", "unnamed", text)
	if err != nil {
		return err
	}
	s.cfg.Log.Warn("content of an unknown file kept", "file", place)
	if err := os.Remove(stem + ".meta"); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// adopted restores size and maps.
func (f *File) adopted(m meta, size int64, onDisk []Range) (*Leftover, error) {
	f.size = size
	if m.Committed {
		f.size = m.Size
		// Longer: written after the commit and promised to nobody. Shorter cannot be, but must not be trusted to.
		if size != m.Size {
			if err := f.data.Truncate(m.Size); err != nil {
				f.data.Close()
				f.meta.close()
				return nil, err
			}
		}
	}
	if m.Committed && size >= m.Size {
		for _, r := range m.Present {
			f.present.add(r.Off, r.End(), 0)
		}
		for _, r := range m.Dirty {
			f.dirty.add(r.Off, r.End(), 1)
		}
	} else {
		f.committed = false
		for _, r := range onDisk {
			f.present.add(r.Off, min(r.End(), f.size), 0)
		}
	}
	for _, r := range onDisk {
		f.alloc.add(r.Off/blockSize*blockSize, (min(r.End(), f.size)+blockSize-1)/blockSize*blockSize, 0)
	}
	f.store.claim(f.alloc.bytes, true)
	f.store.countFile(1)
	return &Leftover{File: f, Committed: f.committed, Complete: len(f.present.gaps(0, f.size)) == 0}, nil
}
