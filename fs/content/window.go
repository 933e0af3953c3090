package content

import (
	"sync"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
)

// window holds the last bytes of a file that is being written, [start, end), in chunks that lie on multiples of
// blocks.ChunkSize. Bytes from keep on were not sent yet; those before are kept for replay, and so that small files can
// be read and changed without the server, and are given up when the memory is wanted elsewhere.
//
// The File's exclusive user changes it; relief comes from any goroutine.
type window struct {
	blocks *blocks.Store
	max    int // chunks

	mu     sync.Mutex
	holder *blocks.Holder  // nil without chunks; guarded by mu
	chunks []*blocks.Chunk // guarded by mu
	origin int64           // offset of the first byte of chunks[0]; guarded by mu
	start  int64           // guarded by mu
	end    int64           // guarded by mu
	keep   int64           // guarded by mu
}

func newWindow(b *blocks.Store, maxBytes, off int64) *window {
	return &window{blocks: b, max: max(2, int(maxBytes/blocks.ChunkSize)), start: off, end: off, keep: off}
}

// bounds gives the range that is held.
func (w *window) bounds() (start, end int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.start, w.end
}

// setKeep says that everything before off was sent.
func (w *window) setKeep(off int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = off
}

// hold makes sure that nothing from off on is given up until the next setKeep; false when it was given up already.
func (w *window) hold(off int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if off < w.start || off > w.end {
		return false
	}
	w.keep = min(w.keep, off)
	return true
}

// reset forgets everything; the next byte is the one at off.
func (w *window) reset(off int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.chunks {
		c.Free()
	}
	w.chunks = nil
	if w.holder != nil {
		w.holder.Close()
		w.holder = nil
	}
	w.start, w.end, w.keep = off, off, off
}

// truncate forgets what is at or after end, which lies within the window.
func (w *window) truncate(end int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end = end
	w.keep = min(w.keep, end)
	n := 0
	if end > w.start {
		n = int((end - w.origin + blocks.ChunkSize - 1) / blocks.ChunkSize)
	}
	for _, c := range w.chunks[n:] {
		c.Free()
	}
	w.chunks = w.chunks[:n]
	w.closeEmptyLocked()
}

// append takes as much of p as there is room for without giving up bytes that were not sent.
func (w *window) append(p []byte) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n < len(p) {
		if len(w.chunks) == 0 {
			w.origin = w.end - w.end%blocks.ChunkSize
			w.start = w.end
		}
		i := int((w.end - w.origin) / blocks.ChunkSize)
		if i == len(w.chunks) && !w.growLocked() {
			break
		}
		i = int((w.end - w.origin) / blocks.ChunkSize) // the first chunk may have moved to the end
		m := copy(w.chunks[i].Buf[(w.end-w.origin)%blocks.ChunkSize:], p[n:])
		n += m
		w.end += int64(m)
	}
	return n
}

// growLocked adds a chunk at the end: a new one, or the first one when its bytes were sent.
func (w *window) growLocked() bool {
	if len(w.chunks) < w.max {
		if c := w.allocLocked(); c != nil {
			w.chunks = append(w.chunks, c)
			return true
		}
	}
	if len(w.chunks) == 0 || w.origin+blocks.ChunkSize > w.keep {
		return false
	}
	first := w.chunks[0]
	copy(w.chunks, w.chunks[1:])
	w.chunks[len(w.chunks)-1] = first
	w.origin += blocks.ChunkSize
	w.start = w.origin
	return true
}

// allocLocked takes a chunk of the budget, never the last quarter of it with a first chunk: files that are open and not
// yet sent must not keep all readers from working.
func (w *window) allocLocked() *blocks.Chunk {
	if w.holder == nil {
		if st := w.blocks.Stats(); st.Held >= st.Limit/4*3 {
			return nil
		}
		w.holder = w.blocks.NewHolder(w.relief)
	}
	c := w.holder.TryAlloc()
	if c == nil {
		w.closeEmptyLocked()
	}
	return c
}

func (w *window) closeEmptyLocked() {
	if len(w.chunks) == 0 && w.holder != nil {
		w.holder.Close()
		w.holder = nil
	}
	if len(w.chunks) == 0 {
		w.start = w.end
	}
}

// writeAt changes bytes that are in the window.
func (w *window) writeAt(p []byte, off int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(p) > 0 {
		pos := off - w.origin
		n := copy(w.chunks[pos/blocks.ChunkSize].Buf[pos%blocks.ChunkSize:], p)
		p, off = p[n:], off+int64(n)
	}
}

// readAt copies what the window has of [off, off+len(p)); ok is false when it does not have the first byte.
func (w *window) readAt(p []byte, off int64) (n int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if off < w.start || off >= w.end {
		return 0, false
	}
	p = p[:min(int64(len(p)), w.end-off)]
	for n < len(p) {
		pos := off + int64(n) - w.origin
		n += copy(p[n:], w.chunks[pos/blocks.ChunkSize].Buf[pos%blocks.ChunkSize:])
	}
	return n, true
}

// each calls fn with the bytes [from, to), piece by piece and in order. The caller has made sure (keep) that they stay.
func (w *window) each(from, to int64, fn func([]byte) error) error {
	for from < to {
		w.mu.Lock()
		pos := from - w.origin
		b := w.chunks[pos/blocks.ChunkSize].Buf[pos%blocks.ChunkSize:]
		w.mu.Unlock()
		b = b[:min(int64(len(b)), to-from)]
		if err := fn(b); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// relief gives up chunks whose bytes were sent: all of them when somebody has nothing at all, otherwise those beyond
// the fair share. A window that is in use at this moment is left alone, it will be asked again.
func (w *window) relief(p blocks.Pressure) {
	if !w.mu.TryLock() {
		return
	}
	defer w.mu.Unlock()
	least := 0
	if p == blocks.PressureShare && w.holder != nil {
		least = w.holder.Share()
	}
	for len(w.chunks) > least && min(w.origin+blocks.ChunkSize, w.end) <= w.keep {
		w.chunks[0].Free()
		w.chunks = w.chunks[1:]
		w.origin += blocks.ChunkSize
		w.start = min(w.origin, w.end)
	}
	w.closeEmptyLocked()
}
