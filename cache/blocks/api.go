package blocks

import (
	"context"
)

// ChunkSize is the size of every chunk in bytes.
const ChunkSize = 256 << 10

// Key names one version of one file's content. Two handles of one file use the same key and so share its blocks.
type Key struct {
	File    uint64 // given by the file's inode, never used for another file in the life of the mount
	Version uint64 // grows whenever the content changes
}

// Chunk is ChunkSize bytes of the budget. It belongs to whoever allocated it until Free or Put.
type Chunk struct {
	// Buf is the memory, always ChunkSize long. It must not be touched after Free or Put. Its content is undefined at first.
	Buf []byte

	holder *Holder
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
}

// Pressure says how badly room is needed, see NewHolder.
type Pressure uint8

// The degrees of pressure.
const (
	// PressureShare: others want to grow. Hold no more than Share chunks from now on, no need to throw anything away.
	PressureShare Pressure = iota
	// PressureStarving: somebody who has nothing waits. Free or Put what nobody reads or writes at this moment.
	PressureStarving
)

// New gives a store that never has more than limit bytes of chunks (rounded down to chunks, at least two).
func New(limit int64) *Store { return &Store{} }

// Store is the one budget for file data in memory (-o cache_mem). All methods may be called concurrently.
type Store struct{}

// Holder is one user of the budget that must make progress: a reader's window, a writer's replay window. The store
// keeps some chunks back for holders that have none, and asks other holders to give up theirs, so that a holder with
// nothing always gets one chunk. It is safe for concurrent use.
type Holder struct {
	store *Store
}

// NewHolder registers a user of the budget. relief may be nil; otherwise it is called, without any lock of the store
// held, from a goroutine that waits for room. It must not block nor allocate; it may Free, Put and call Share.
func (s *Store) NewHolder(relief func(Pressure)) *Holder { return &Holder{store: s} }

// Alloc gives a chunk; cached blocks are evicted for it, after that it waits its turn until one is freed or ctx ends.
// A holder that has no chunk goes before those that have some.
func (h *Holder) Alloc(ctx context.Context) (*Chunk, error) { return nil, ctx.Err() }

// TryAlloc is Alloc for those who can do without: nil when the budget is used up or others wait for it.
func (h *Holder) TryAlloc() *Chunk { return nil }

// Held is the number of chunks that this holder has.
func (h *Holder) Held() int { return 0 }

// Share is the number of chunks that this holder should not exceed while others want to grow, at least 1.
func (h *Holder) Share() int { return 1 }

// Close unregisters the holder. Chunks that it still has stay its caller's duty to Free.
func (h *Holder) Close() {}

// Alloc gives a chunk to a caller without a Holder; see Holder.Alloc. Such a caller must not hold a chunk while it
// waits for another one without a bound: it would wait for itself.
func (s *Store) Alloc(ctx context.Context) (*Chunk, error) { return nil, ctx.Err() }

// TryAlloc gives nil when the budget is used up (after evicting) or others wait for it.
func (s *Store) TryAlloc() *Chunk { return nil }

// Free gives the chunk back to the budget. Once only.
func (c *Chunk) Free() {}

// Put gives the chunk to the cache: its first n bytes are those at index*ChunkSize of the content named by key. Of two
// blocks for one place the longer one stays.
func (s *Store) Put(key Key, index int64, c *Chunk, n int) { c.Free() }

// Get copies what the cache has of a block, from off within the block, into dst. ok is false when the block is not
// cached or has nothing at off.
func (s *Store) Get(key Key, index int64, dst []byte, off int) (n int, ok bool) { return 0, false }

// Has tells how many bytes of a block are cached, without counting as a use of it.
func (s *Store) Has(key Key, index int64) int { return 0 }

// Drop forgets all blocks of that content.
func (s *Store) Drop(key Key) {}

// Stats gives the gauges and counters of this moment.
func (s *Store) Stats() Stats { return Stats{} }

// Close drops the cache and gives free memory back to the system. Holders must have freed everything before.
func (s *Store) Close() {}
