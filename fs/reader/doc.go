// Package reader turns positioned reads into few downloads: one sequential stream with a window filled ahead, ranged
// reads after seeks. It knows no FUSE.
//
// A [Reader] serves one open handle. A READ is answered, in this order, from the window of a fetch, from the block cache,
// by waiting for a fetch that will come by in a moment, by a new fetch. A fetch is one download with a goroutine of its
// own and the chunks it has filled: either open-ended (a stream) or bounded (a range). Chunks that were read, and those
// of a fetch that ended, go to the block cache, where another handle of the file finds them too.
//
// How the reader moves (pattern.go) decides what is fetched before it is asked for (ahead.go): pieces before a reader that goes
// backwards, ranges before one that goes in equal steps, nothing for one that shows no pattern: a stream that a READ begins
// where nothing suggested one, which is anywhere but at the begin of the file, stands still until a READ follows on.
//
// Where one flow is measured to be the limit (proof.go), a sequential reader is served by several fetches side by side (a train, in
// segments.go): pieces of the file, as far ahead as there is memory for what they hold, over connections that nobody else wants. A stream that
// stands still at its begin gets others beside it before that is measured (stall.go).
//
// Memory: every fetch is a holder of the block store, those of a reader are one team, and takes no byte outside of it. What no READ waits for is given up
// when somebody else has nothing.
//
// Locks: Reader.mu, then the block store's. Reader.mu is never held across the network, across a wait for memory, across
// a copy of data, or while a function of Config is called, but those that wait for nothing, under locks that are never
// held while a Reader is called: AfterFunc, Now, Expect and MaxFlows.
package reader
