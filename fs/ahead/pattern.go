package ahead

import (
	"slices"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// What makes a reader of many small files, and how far to be ahead of one.
const (
	maxFile    = 256 << 10       // larger files are streamed, which needs no help
	inOrder    = 2               // files read in the order of the listing, after a first one, that make a pattern
	maxGap     = 4               // files of the listing between two that are still in order
	nearBehind = 16              // files behind the foremost one that several readers at once may be
	pause      = 5 * time.Second // a longer one ends a pattern
	aheadFor   = 2 * time.Second // of the reader's pace
	minAhead   = 4               // files
	maxAhead   = 64              // files
	maxFolders = 64              // folders that are watched
	maxWaiting = 3               // fetches that wait for a connection, of which any may get the first
)

// folder is what is known of the readers in one.
type folder struct {
	path  string
	front string              // the foremost file read, in the order of the listing
	when  time.Time           // of that
	run   int                 // files in order
	pace  time.Duration       // between two files, averaged
	skip  map[string]struct{} // files that could not be fetched
}

// noticed looks at a read of a whole small file.
func (f *Files) noticed(path string) {
	if f.cfg.Parallel <= 0 {
		return
	}
	dir, name := split(path)
	l, fresh := f.cfg.Meta.PeekList(dir)
	if !fresh {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	d := f.folderLocked(dir)
	if d.step(l, name, f.cfg.Now()) {
		f.fillLocked(d)
	}
}

func split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

func (f *Files) folderLocked(path string) *folder {
	d := f.folders[path]
	if d != nil {
		return d
	}
	if len(f.folders) >= maxFolders {
		var oldest *folder
		for _, o := range f.folders {
			if oldest == nil || o.when.Before(oldest.when) {
				oldest = o
			}
		}
		delete(f.folders, oldest.path)
	}
	d = &folder{path: path, skip: map[string]struct{}{}}
	f.folders[path] = d
	return d
}

// step notes that name was read and tells whether that goes on with a pattern.
func (d *folder) step(l *pool.Listing, name string, now time.Time) bool {
	gap, forward := d.gap(l, name)
	since := now.Sub(d.when)
	switch {
	case d.front != "" && !forward && gap <= nearBehind: // one of several readers, or the same file again
		return d.run >= inOrder
	case d.front == "" || !forward || gap > maxGap || since > pause:
		d.run, d.pace = 0, 0
		clear(d.skip)
	case d.run == 0:
		d.run, d.pace = 1, since
	default:
		d.run++
		d.pace = (3*d.pace + since) / 4
	}
	d.front, d.when = name, now
	return d.run >= inOrder
}

// gap counts the files from the foremost one to name, no further than matters.
func (d *folder) gap(l *pool.Listing, name string) (files int, forward bool) {
	from, to := d.front, name
	if forward = to > from; !forward {
		from, to = to, from
	}
	for i := find(l, from); i < len(l.Entries) && l.Entries[i].Name < to && files <= nearBehind; i++ {
		if l.Entries[i].Type == pool.TypeFile {
			files++
		}
	}
	return files, forward
}

// find gives the position of name in a listing, or of the first one after it.
func find(l *pool.Listing, name string) int {
	i, _ := slices.BinarySearchFunc(l.Entries, name, func(e pool.Entry, name string) int { return strings.Compare(e.Name, name) })
	return i
}

// reach is how many files to be ahead.
func (d *folder) reach(ttl time.Duration) int {
	pace := max(d.pace, time.Millisecond)
	return int(min(max(min(aheadFor, ttl/2)/pace, minAhead), maxAhead))
}

// fillLocked fetches the files after the foremost one, as far as it goes.
func (f *Files) fillLocked(d *folder) {
	now := f.cfg.Now()
	if f.closed || d.run < inOrder || now.Sub(d.when) > pause {
		return
	}
	l, fresh := f.cfg.Meta.PeekList(d.path)
	if !fresh {
		return
	}
	left := d.reach(f.cfg.TTL)
	for i := find(l, d.front); i < len(l.Entries) && left > 0 && f.under < f.cfg.Parallel && f.waiting < maxWaiting; i++ {
		e := &l.Entries[i]
		if e.Name == d.front || e.Type != pool.TypeFile || e.Size <= 0 || e.Size > maxFile {
			continue
		}
		left--
		path := join(d.path, e.Name)
		if _, no := d.skip[e.Name]; no || f.files[path] != nil || f.writing[path] > 0 || f.asked[path] > 0 {
			continue
		}
		known, fresh := f.cfg.Meta.Peek(path)
		if !fresh || !known.Exact || known.Type != pool.TypeFile || known.Size != e.Size {
			continue
		}
		if f.stats.Held+known.Size > f.cfg.Budget {
			return
		}
		f.launchLocked(d, path, known)
	}
}
