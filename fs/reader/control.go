package reader

import (
	"slices"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// SetSize says that the content is longer or shorter now, and otherwise the same. For content that was cut and has grown
// again use Reset.
func (r *Reader) SetSize(size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size = size
	r.train, r.ahead = nil, nil // what is under way is still right
	for _, f := range r.fetches {
		if f.running && f.end > size {
			f.stopLocked()
		}
	}
}

// Reset says that the content is another one now, under a key of its own: what was fetched of the old is forgotten. READs
// under way may still give old bytes.
func (r *Reader) Reset(key blocks.Key, size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range slices.Clone(r.fetches) {
		f.discard = true
		f.stopLocked()
		f.shedLocked()
		f.dropLocked()
	}
	r.key, r.size = key, size
	r.last, r.window, r.seeks, r.ranged = nil, minWindow, 0, false
	r.at, r.alone, r.train = 0, measure{}, nil
	r.moves, r.ahead = moves{}, nil
}

// Suspend gives the connection up now, waits until that is done, and goes on by itself with the next read that needs it.
// What was fetched ahead stays readable.
func (r *Reader) Suspend() {
	r.mu.Lock()
	r.train, r.ahead = nil, nil
	running := slices.DeleteFunc(slices.Clone(r.fetches), func(f *fetch) bool { return !f.running })
	for _, f := range running {
		f.stopLocked()
	}
	r.mu.Unlock()
	for _, f := range running {
		<-f.over
	}
}

// Close ends the transfer, waits for it and gives all chunks to the cache. Waiting READs get os.ErrClosed. Idempotent.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	for _, f := range r.fetches {
		f.stopLocked()
	}
	if r.idle.stop != nil {
		r.idle.stop()
		r.idle.stop = nil
	}
	r.mu.Unlock()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range slices.Clone(r.fetches) {
		f.shedLocked()
		f.dropLocked()
	}
}
