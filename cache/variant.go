package cache

import (
	"hash/maphash"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Variant gives a name, as far as one is known, that is in the folder of path and differs from path's own in the case of
// letters alone: to servers that fold case both are one. It asks nobody, and what it gives may be gone.
func (c *Cache) Variant(path string) (name string, ok bool) {
	dir, own := split(path)
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.findLocked(dir)
	if n == nil || n == c.top {
		return "", false
	}
	if n.cases == nil {
		n.indexCases()
		c.accountLocked(n)
	}
	name, ok = n.cases[foldHash(own)]
	return name, ok && name != own && strings.EqualFold(name, own) && c.knowLocked(n, name).state == present
}

// indexCases notes all names of the folder; later ones are added as they come.
func (n *node) indexCases() {
	n.cases = make(map[uint64]string)
	if n.base != nil {
		for i := range n.base.Entries {
			name := n.base.Entries[i].Name
			n.cases[foldHash(name)] = name
		}
	}
	for name, r := range n.recs {
		if r.state == present {
			n.cases[foldHash(name)] = name
		}
	}
}

var foldSeed = maphash.MakeSeed()

// foldHash is the same for names that strings.EqualFold finds equal.
func foldHash(name string) uint64 {
	var h maphash.Hash
	h.SetSeed(foldSeed)
	var buf [utf8.UTFMax]byte
	for _, r := range name {
		if r < utf8.RuneSelf && !('A' <= r && r <= 'Z') {
			_ = h.WriteByte(byte(r)) // never fails
			continue
		}
		_, _ = h.Write(buf[:utf8.EncodeRune(buf[:], unicode.ToLower(unicode.ToUpper(r)))])
	}
	return h.Sum64()
}
