// Package blocks holds file data in memory under one budget for the whole mount: windows, cached blocks, replay.
//
// The unit is a [Chunk] of [ChunkSize] bytes. A chunk is either held (by a reader's window, a writer's replay, ...),
// cached (blocks of content by [Key] and index, in an LRU) or free. Held and cached together never exceed the limit;
// cached blocks make room whenever a holder wants it. Memory is taken from the system outside the Go heap, so that the
// garbage collector neither doubles it nor has to look at it, and is reused for ever.
//
// Progress: some chunks are kept back for a [Holder] that has none, it goes before those that have some, and the other
// holders are asked to give up what nobody uses. So a budget smaller than the demand makes everybody slow and nobody stuck.
//
// Locks: Store.mu guards everything in the package and is held for no longer than a few map operations; data is copied
// and relief functions are called without it.
package blocks
