package blocks

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// ChunkSize is the size of every chunk in bytes.
const ChunkSize = 256 << 10

// Store is the one budget for file data in memory (-o cache_mem). All methods may be called concurrently.
type Store struct {
	total   int // chunks in the budget
	reserve int // chunks of total that only holders with nothing get

	mu      sync.Mutex
	free    []*Chunk                                            // guarded by mu
	mapped  int                                                 // chunks taken from the system; guarded by mu
	held    int                                                 // chunks in the hands of holders; guarded by mu
	pinned  int                                                 // evicted chunks that a Get still copies from; guarded by mu
	lru     *simplelru.LRU[place, *block]                       // guarded by mu
	byKey   map[Key]map[int64]struct{}                          // the indexes of each key in lru; guarded by mu
	holders map[*Holder]struct{}                                // guarded by mu
	teams   int                                                 // that hold something; guarded by mu
	waiters []*waiter                                           // in order of arrival; guarded by mu
	unread  int                                                 // cached bytes that nobody has read; guarded by mu
	stats   struct{ waits, hits, misses, evicted, vain uint64 } // guarded by mu
}

// Stats are the gauges and counters of a Store. Sizes are bytes.
type Stats struct {
	Limit     int64  `json:"limit"`     // most that held and cached may be together
	Held      int64  `json:"held"`      // in the hands of holders: windows, replay
	Cached    int64  `json:"cached"`    // in the cache, given up when a holder needs the room
	Mapped    int64  `json:"mapped"`    // taken from the system so far, free chunks included; never over Limit
	Holders   int    `json:"holders"`   // open Holders
	Waiting   int    `json:"waiting"`   // callers inside Alloc that wait for room
	Waits     uint64 `json:"waits"`     // times that Alloc had to wait
	Hits      uint64 `json:"hits"`      // Gets that were answered
	Misses    uint64 `json:"misses"`    // Gets that were not
	Evictions uint64 `json:"evictions"` // cached blocks given up for room

	Unread      int64  `json:"unread"`        // of what is cached, bytes that nobody has read yet
	BytesInVain uint64 `json:"bytes_in_vain"` // fetched for readers and given up before anybody read them
}

// New gives a store that never has more than limit bytes of chunks (rounded down to chunks, at least two).
func New(limit int64) *Store {
	total := max(2, int(limit/ChunkSize))
	s := &Store{
		total:   total,
		reserve: max(1, total/8),
		byKey:   map[Key]map[int64]struct{}{},
		holders: map[*Holder]struct{}{},
	}
	// Each cached block costs a chunk of the budget, so the LRU never comes to its own bound. The only error is a bound below 1.
	s.lru, _ = simplelru.NewLRU(total+1, s.evictedLocked)
	return s
}

// Stats gives the gauges and counters of this moment.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Limit:     int64(s.total) * ChunkSize,
		Held:      int64(s.held) * ChunkSize,
		Cached:    int64(s.lru.Len()+s.pinned) * ChunkSize,
		Mapped:    int64(s.mapped) * ChunkSize,
		Holders:   len(s.holders),
		Waiting:   len(s.waiters),
		Waits:     s.stats.waits,
		Hits:      s.stats.hits,
		Misses:    s.stats.misses,
		Evictions: s.stats.evicted,

		Unread:      int64(s.unread),
		BytesInVain: s.stats.vain,
	}
}

// Close drops the cache and gives free memory back to the system. Holders should have freed everything before; a chunk
// that is still out keeps its memory.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lru.Purge()
	for _, c := range s.free {
		unmapMemory(c.Buf)
		c.Buf = nil
		s.mapped--
	}
	s.free = nil
}

// takeLocked finds a chunk for a holder: a free one, a new one, or the oldest cached block's. nil when the budget does
// not allow it; hungry callers may use the reserve too.
func (s *Store) takeLocked(h *Holder, hungry bool) (*Chunk, error) {
	limit := s.total
	if !hungry {
		limit -= s.reserve
	}
	if s.held+s.pinned >= limit {
		return nil, nil
	}
	c, err := s.findLocked()
	if c == nil || err != nil {
		return nil, err
	}
	c.holder, c.out = h, true
	s.held++
	if h != nil {
		h.held++
		if h.team.held++; h.team.held == 1 {
			s.teams++
		}
	}
	return c, nil
}

func (s *Store) findLocked() (*Chunk, error) {
	if len(s.free) == 0 && s.mapped < s.total {
		mem, err := mapMemory()
		if err != nil && s.lru.Len() == 0 {
			return nil, err
		}
		if err == nil {
			s.mapped++
			return &Chunk{Buf: mem, store: s}, nil
		}
	}
	for len(s.free) == 0 && s.lru.Len() > 0 {
		s.lru.RemoveOldest() // evictedLocked puts the chunk on the free list, unless somebody copies from it now
		s.stats.evicted++
	}
	n := len(s.free)
	if n == 0 {
		return nil, nil
	}
	c := s.free[n-1]
	s.free = s.free[:n-1]
	return c, nil
}

// releaseLocked ends a holder's possession of c. What becomes of the chunk is the caller's business.
func (s *Store) releaseLocked(c *Chunk) {
	if !c.out {
		panic("blocks: chunk freed twice")
	}
	c.out = false
	s.held--
	if c.holder != nil {
		c.holder.held--
		if c.holder.team.held--; c.holder.team.held == 0 {
			s.teams--
		}
		c.holder = nil
	}
}
