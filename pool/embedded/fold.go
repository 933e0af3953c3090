package embedded

import (
	"path"
	"strings"
)

// rel gives the path below the root of what a client names. On a server that folds case, each element is the one that is
// there under a name that differs in case alone.
func (f *folder) rel(name string) string {
	if !f.fold {
		return rel(name)
	}
	at := "."
	for _, element := range strings.Split(rel(name), "/") {
		at = path.Join(at, f.stored(at, element))
	}
	return at
}

// stored gives the name under which a folder has an element, the element itself if it has none such.
func (f *folder) stored(dir, element string) string {
	d, err := f.root.Open(dir)
	if err != nil {
		return element
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return element
	}
	for _, n := range names {
		if strings.EqualFold(n, element) {
			return n
		}
	}
	return element
}

// rename gives an object another name, which may be its own in another case.
func (f *folder) rename(from, to string) error {
	old, target := f.rel(from), f.rel(to)
	if f.fold && old == target {
		target = path.Join(path.Dir(target), path.Base(rel(to)))
	}
	return f.root.Rename(old, target)
}
