package reader

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// download runs one download from pos on, until the end, an error, or until the fetch is not wanted any more.
func (f *fetch) download() error {
	if !f.goAway() {
		return errStopped
	}
	defer f.comeBack()
	cfg := &f.r.cfg
	f.beginSlice()
	o := f.options()
	if f.r.opened.Swap(true) && cfg.Expect != nil {
		o.Expect = cfg.Expect()
	}
	d, err := cfg.Downloader.Download(f.ctx, cfg.Path(), o)
	if err != nil {
		return err
	}
	f.comeBack()
	// A Read that waits for the server is ended by Close.
	closed := make(chan struct{})
	stop := context.AfterFunc(f.ctx, func() { defer close(closed); d.Close() })
	defer func() {
		if stop() {
			d.Close()
		} else {
			<-closed
		}
	}()
	return f.pump(d)
}

// options asks for what is missing of the fetch.
func (f *fetch) options() pool.DownloadOptions {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.begun = false
	o := pool.DownloadOptions{
		Offset: f.pos, Length: -1, Size: f.r.size, OnPressure: f.press, Background: f.background, Ahead: f.far,
		OnBegin: func() {
			f.r.mu.Lock()
			defer f.r.mu.Unlock()
			f.begun, f.since = true, f.r.cfg.Now()
			if f.segment && f.r.train != nil {
				f.r.train.grantedLocked(f.r)
			}
			if !f.background {
				f.r.aheadLocked()
			}
		},
	}
	if !f.open {
		o.Length = f.end - f.pos
	}
	return o
}

// pump moves the bytes of a download into the window.
func (f *fetch) pump(d pool.Download) error {
	for {
		buf, err := f.room()
		if err != nil {
			return err
		}
		if buf == nil {
			if !f.shortened {
				// The end of the transfer makes the connection usable for the next one; what the server says
				// of it, or that the file has grown since, changes nothing for bytes that were counted.
				var more [1]byte
				_, _ = d.Read(more[:])
			}
			return nil
		}
		asked := f.r.cfg.Now()
		n, err := d.Read(buf)
		complete := f.got(n, f.r.cfg.Now().Sub(asked))
		switch {
		case err == nil || complete:
		case err == io.EOF:
			return &cut{&pool.Error{Op: "read", Path: f.r.cfg.Path(), Kind: pool.KindIncomplete, Err: io.ErrUnexpectedEOF}}
		case pool.KindOf(err) == pool.KindNetwork || pool.KindOf(err) == pool.KindIncomplete:
			return &cut{err}
		default:
			return err
		}
	}
}

// room gives the memory for the next bytes, nil when all are there. It waits while the window is full and nobody waits for
// more.
func (f *fetch) room() ([]byte, error) {
	for {
		f.r.mu.Lock()
		if f.pos == f.end {
			f.r.mu.Unlock()
			return nil, nil
		}
		if f.doneLocked() {
			f.r.mu.Unlock()
			return nil, errStopped
		}
		wanted := f.wantedLocked()
		if wanted || f.mayFillLocked() {
			f.paused = false
			if s := f.lastLocked(); s != nil {
				f.filling = true
				buf := s.c.Buf[s.to:min(blocks.ChunkSize, f.mayReachLocked()-s.index*blocks.ChunkSize)]
				f.r.mu.Unlock()
				return buf, nil
			}
			f.r.mu.Unlock()
			ok, err := f.grow(wanted)
			if err != nil {
				return nil, err
			}
			if ok {
				continue
			}
			if f.ahead {
				return nil, errStopped // others need the memory more
			}
			f.r.mu.Lock()
		}
		f.paused = true
		if f.slice.pressed {
			f.r.mu.Unlock()
			return nil, errStopped
		}
		f.r.mu.Unlock()
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return nil, errStopped
		}
	}
}

// grow adds a slot to the window. Without a READ that waits it does so only if there is memory to spare.
func (f *fetch) grow(wanted bool) (bool, error) {
	c := f.holder.TryAllocLeaving(f.leave(wanted))
	if c == nil {
		f.r.mu.Lock()
		f.pruneLocked(0)
		if wanted {
			f.shedLocked()
		}
		f.starving = wanted // what could not be shed just now, because a READ copies from it, is shed after that
		f.r.mu.Unlock()
		if !wanted {
			return false, nil
		}
		if !f.goAway() {
			return false, errStopped
		}
		var err error
		c, err = f.holder.Alloc(f.ctx)
		f.comeBack()
		if err != nil {
			return false, err
		}
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.starving = false
	from := int(f.pos % blocks.ChunkSize)
	f.slots = append(f.slots, &slot{c: c, index: f.pos / blocks.ChunkSize, from: from, to: from})
	return true, nil
}

// leave is how many chunks f leaves free: nobody waits for it yet, and those that the reader comes to before must not run out of memory because of it.
func (f *fetch) leave(wanted bool) int {
	if !f.segment || wanted {
		return 0
	}
	return spare
}

// lastLocked gives the slot that the next byte belongs into, nil when a new one is needed.
func (f *fetch) lastLocked() *slot {
	if n := len(f.slots); n > 0 && f.slots[n-1].end() == f.pos && f.slots[n-1].to < blocks.ChunkSize {
		return f.slots[n-1]
	}
	return nil
}

// got counts n bytes more, which took so long, and wakes the READs that waited for them. It tells whether that was the last of them.
func (f *fetch) got(n int, took time.Duration) (complete bool) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.filling = false
	waited := f.wantedLocked()
	f.stalled = took >= stallTime && f.pos > f.start
	if f.stalled {
		f.stalls++
	}
	f.slots[len(f.slots)-1].to += n
	f.pos += int64(n)
	f.r.received += int64(n)
	if f.pos == f.end {
		f.r.allThereLocked(f)
	}
	for _, w := range f.waiters {
		if w.want <= f.pos {
			w.wakeLocked()
		}
	}
	if f.discard {
		f.shedLocked()
	}
	f.r.paceLocked(f, n, waited)
	return f.pos == f.end
}

// doneLocked tells whether nobody needs this fetch to go on.
func (f *fetch) doneLocked() bool {
	wanted := f.wantedLocked()
	return f.slice.overLocked(f, wanted) || f.stopping || f.leaving && !wanted || f.ctx.Err() != nil
}

// wantedLocked tells whether a READ waits for bytes that are not there yet.
func (f *fetch) wantedLocked() bool {
	return slices.ContainsFunc(f.waiters, func(w *waiter) bool { return w.want > f.pos })
}

func (f *fetch) wanted() bool {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return f.wantedLocked()
}

// mayReachLocked is the end of what may be asked of the download now.
func (f *fetch) mayReachLocked() int64 {
	if f.held {
		return max(f.until, f.demand)
	}
	return f.end
}

// mayFillLocked tells whether the window has room ahead of the reader. One that was full is filled again when a quarter
// of it was read, not for every READ.
func (f *fetch) mayFillLocked() bool {
	if f.held {
		return f.pos < f.until
	}
	limit := f.end - f.start
	if f.open {
		limit = f.r.window
	}
	if f.paused && !f.segment {
		limit = limit * 3 / 4
	}
	return f.pos-f.cursor < limit
}

// goAway says that the goroutine is going to wait for something that only ctx ends; false: it need not.
func (f *fetch) goAway() bool {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.away = !f.stopping && (!f.leaving || len(f.waiters) > 0)
	return f.away
}

func (f *fetch) comeBack() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.away = false
}
