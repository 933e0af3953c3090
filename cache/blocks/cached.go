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
	c    *Chunk
	n    int  // valid bytes; never changes
	pins int  // Gets that copy now; guarded by Store.mu
	gone bool // no longer in the LRU; guarded by Store.mu
}

// Put gives the chunk to the cache: its first n bytes are those at index*ChunkSize of the content named by key. Of two
// blocks for one place the longer one stays.
func (s *Store) Put(key Key, index int64, c *Chunk, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c)
	p := place{key, index}
	old, exists := s.lru.Get(p)
	switch {
	case n <= 0 || exists && old.n >= n:
		s.free = append(s.free, c)
	default:
		if exists {
			s.lru.Remove(p) // or the LRU would overwrite it without telling us
		}
		s.lru.Add(p, &block{c: c, n: n})
		if s.byKey[key] == nil {
			s.byKey[key] = map[int64]struct{}{}
		}
		s.byKey[key][index] = struct{}{}
	}
	s.serveLocked()
}

// Get copies what the cache has of a block, from off within the block, into dst. ok is false when the block is not
// cached or has nothing at off.
func (s *Store) Get(key Key, index int64, dst []byte, off int) (n int, ok bool) {
	s.mu.Lock()
	b, ok := s.lru.Get(place{key, index})
	if !ok || off < 0 || off >= b.n {
		s.stats.misses++
		s.mu.Unlock()
		return 0, false
	}
	s.stats.hits++
	b.pins++
	s.mu.Unlock()

	n = copy(dst, b.c.Buf[off:b.n])

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

// Has tells how many bytes of a block are cached, without counting as a use of it.
func (s *Store) Has(key Key, index int64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.lru.Peek(place{key, index}); ok {
		return b.n
	}
	return 0
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

// evictedLocked is the LRU's callback for every block that leaves it.
func (s *Store) evictedLocked(p place, b *block) {
	if m := s.byKey[p.key]; m != nil {
		delete(m, p.index)
		if len(m) == 0 {
			delete(s.byKey, p.key)
		}
	}
	b.gone = true
	if b.pins > 0 {
		s.pinned++
		return
	}
	s.free = append(s.free, b.c)
}
