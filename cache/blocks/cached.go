package blocks

// Key names one version of one file's content. Two handles of one file use the same key and so share its blocks.
type Key struct {
	File    uint64 // given by the file's inode, never used for another file in the life of the mount
	Version uint64 // grows whenever the content changes
}

type place struct {
	key   Key
	index int64
}

// block is a cached chunk. A block that left the LRU while somebody copies from it is freed by the last of them.
type block struct {
	c        *Chunk
	from, to int  // valid bytes; guarded by Store.mu
	unread   int  // of them, those that nobody has read; guarded by Store.mu
	pins     int  // Gets that copy now; guarded by Store.mu
	gone     bool // no longer in the LRU; guarded by Store.mu
}

// Put gives the chunk to the cache: its first n bytes are those at index*ChunkSize of the content named by key.
func (s *Store) Put(key Key, index int64, c *Chunk, n int) { s.PutRange(key, index, c, 0, n) }

// PutRange is Put for a chunk of which only the bytes from..to are valid. When a block is cached at that place already the
// two become one where they touch; otherwise the longer one stays.
func (s *Store) PutRange(key Key, index int64, c *Chunk, from, to int) {
	s.PutUnread(key, index, c, from, to, 0)
}

// PutUnread is PutRange for a chunk of which nobody has read so many bytes yet: they count as fetched in vain unless Get
// finds a use for them.
func (s *Store) PutUnread(key Key, index int64, c *Chunk, from, to, unread int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c)
	p := place{key, index}
	s.unread += unread
	if from >= to || s.mergedLocked(p, c, from, to, unread) {
		s.free = append(s.free, c)
	} else {
		s.lru.Remove(p) // or the LRU would overwrite it without telling us
		s.lru.Add(p, &block{c: c, from: from, to: to, unread: unread})
		if s.byKey[key] == nil {
			s.byKey[key] = map[int64]struct{}{}
		}
		s.byKey[key][index] = struct{}{}
	}
	s.serveLocked()
}

// mergedLocked puts from..to of c into the block that is cached at p, or finds it not worth it. false: c shall take its place.
func (s *Store) mergedLocked(p place, c *Chunk, from, to, unread int) bool {
	old, ok := s.lru.Get(p)
	switch {
	case !ok:
		return false
	case old.from <= from && to <= old.to:
		s.wasteLocked(unread)
		return true
	case old.pins > 0 || from > old.to || to < old.from: // being read, or apart
		if old.to-old.from <= to-from {
			return false
		}
		s.wasteLocked(unread)
		return true
	}
	twice := max(0, min(to, old.to)-max(from, old.from))
	s.wasteLocked(min(unread, twice))
	old.unread += unread - min(unread, twice)
	if from < old.from {
		copy(old.c.Buf[from:old.from], c.Buf[from:old.from])
		old.from = from
	}
	if to > old.to {
		copy(old.c.Buf[old.to:to], c.Buf[old.to:to])
		old.to = to
	}
	return true
}

// Get copies what the cache has of a block, from off within the block, into dst. ok is false when the block is not
// cached or has nothing at off.
func (s *Store) Get(key Key, index int64, dst []byte, off int) (n int, ok bool) {
	s.mu.Lock()
	b, ok := s.lru.Get(place{key, index})
	if !ok || off < b.from || off >= b.to {
		s.stats.misses++
		s.mu.Unlock()
		return 0, false
	}
	s.stats.hits++
	b.pins++
	to := b.to
	used := min(b.unread, len(dst), to-off)
	b.unread -= used
	s.unread -= used
	s.mu.Unlock()

	n = copy(dst, b.c.Buf[off:to])

	s.mu.Lock()
	defer s.mu.Unlock()
	b.pins--
	if b.gone && b.pins == 0 {
		s.pinned--
		s.free = append(s.free, b.c)
		s.serveLocked()
	}
	return n, true
}

// Has tells whether Get would find something at off within a block, without counting as a use of it.
func (s *Store) Has(key Key, index int64, off int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.lru.Peek(place{key, index})
	return ok && off >= b.from && off < b.to
}

// HasBlock tells whether anything of a block is cached, without counting as a use of it.
func (s *Store) HasBlock(key Key, index int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lru.Contains(place{key, index})
}

// Drop forgets all blocks of that content.
func (s *Store) Drop(key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for index := range s.byKey[key] {
		s.lru.Remove(place{key, index})
	}
	s.serveLocked()
}

// Waste notes bytes that were fetched, that nobody read, and that are not worth keeping.
func (s *Store) Waste(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.vain += uint64(n)
}

// wasteLocked notes that so many unread bytes of the cache are gone.
func (s *Store) wasteLocked(n int) {
	s.unread -= n
	s.stats.vain += uint64(n)
}

// evictedLocked is the LRU's callback for every block that leaves it.
func (s *Store) evictedLocked(p place, b *block) {
	if m := s.byKey[p.key]; m != nil {
		delete(m, p.index)
		if len(m) == 0 {
			delete(s.byKey, p.key)
		}
	}
	b.gone = true
	s.wasteLocked(b.unread)
	if b.pins > 0 {
		s.pinned++
		return
	}
	s.free = append(s.free, b.c)
}
