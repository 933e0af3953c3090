package reader

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// maxFruitless is how many downloads in a row may be cut without a single byte before the READs are told.
const maxFruitless = 3

// errStopped ends a fetch that is not wanted any more. No READ gets to see it.
var errStopped = errors.New("fetch stopped")

// fetch is one download and what it brought. Fields below wake, and end of a stream, are guarded by Reader.mu.
type fetch struct {
	r          *Reader
	key        blocks.Key
	start, end int64
	open       bool // a stream: the download is asked for without a length
	segment    bool // a piece of a train
	ahead      bool // fetched because of a pattern
	piece      bool // what a READ of a reader that goes backwards waits for, with what is before it
	renewed    bool // a piece that was begun anew, or the rest of one
	shortened  bool // a stream that ends where another segment begins: it is cut off there
	background bool // it takes only a connection that can be spared
	holder     *blocks.Holder
	ctx        context.Context // of the download
	cancel     context.CancelFunc
	over       chan struct{} // closed when the goroutine ended
	wake       chan struct{} // tells the goroutine to look again; cap 1

	slots   []*slot   // contiguous as far as they were not shed
	pos     int64     // next byte from the server
	until   int64     // a stream that nothing suggested gets no further before a READ follows on; start: any other
	cursor  int64     // the reader got everything before
	demand  int64     // highest end of a READ that waited
	waiters []*waiter // READs that wait for bytes at pos or later
	refs    int       // READs between attach and detach

	running  bool      // the goroutine lives
	held     bool      // until holds: no READ has followed on
	launched time.Time // when it was asked for
	far      int64     // a segment: how far the reader had to go then, no less than those in front of it
	begun    bool      // the download has a connection
	since    time.Time // when it got it
	stalled  bool      // it stood still before the last bytes came
	stalls   int       // times that it did
	filling  bool      // the goroutine writes into the last slot
	away     bool      // the goroutine waits for a connection or memory: cancel is the way to reach it
	starving bool      // a READ waits, and the goroutine for memory: holding any would be waiting for itself
	paused   bool      // the window is full or there is no memory to fill it
	stopping bool      // end as soon as possible
	leaving  bool      // end when no READ waits
	stays    bool      // leaving, and what it brought is kept in the window, as another fetch goes on behind it
	discard  bool      // the content is not the reader's any more: nothing goes to the cache
	dropped  bool
	err      error // why the fetch failed; nil: complete, or stopped

	patience    func() bool // stops the timer of READs that wait for a connection; nil: none
	slice       slice       // what is left of the time with the connection
	reliefReads uint64      // Reader.reads at the last call of relief
}

// waiter is a READ that waits for the bytes pos..want.
type waiter struct {
	pos, want int64
	done      chan struct{} // closed when they are there or the fetch is over
	woken     bool
}

func (f *fetch) attachLocked(w *waiter, end int64) {
	f.refs++
	// A stall: the window was not enough to bridge what the line does.
	if f.open && f.pos-f.until >= f.r.window && !f.slice.pressed {
		f.r.window = min(2*f.r.window, maxWindow)
	}
	f.demand = max(f.demand, min(end, f.end))
	f.waiters = append(f.waiters, w)
	f.poke()
}

func (f *fetch) detachLocked(w *waiter) {
	f.refs--
	f.waiters = slices.DeleteFunc(f.waiters, func(o *waiter) bool { return o == w })
	if f.refs == 0 {
		if !f.running && !f.keepsLocked() {
			f.shedLocked()
		}
		f.poke() // it may be leaving
	}
	f.dropLocked()
}

func (w *waiter) wakeLocked() {
	if !w.woken {
		w.woken = true
		close(w.done)
	}
}

// poke makes the goroutine look at its state again.
func (f *fetch) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// fillingLocked tells whether the goroutine writes into s right now.
func (f *fetch) fillingLocked(s *slot) bool { return f.filling && s == f.slots[len(f.slots)-1] }

// leaveLocked lets the fetch end when no READ waits for it.
func (f *fetch) leaveLocked() {
	f.leaving, f.stays = true, false
	if f.away && len(f.waiters) == 0 {
		f.cancel()
	}
	f.poke()
	if !f.running && f.refs == 0 {
		f.shedLocked()
		f.dropLocked()
	}
}

// giveWayLocked is leaveLocked for a segment under way whose rest another one is going to bring. What it has brought stays in the window: where
// memory is short the cache would lose it, and the reader would have to ask for it once more, in earnest.
func (f *fetch) giveWayLocked() {
	f.leaveLocked()
	f.stays = true
}

// stopLocked ends the fetch now, cutting the transfer off.
func (f *fetch) stopLocked() {
	f.stopping = true
	f.cancel()
	f.poke()
}

// keepsLocked tells whether the chunks of the fetch stay in the window when it is over: those ahead of a sequential reader do.
func (f *fetch) keepsLocked() bool { return (f.open || f.segment) && !f.leaving && !f.discard }

// run is the goroutine of the fetch.
func (f *fetch) run() {
	defer f.r.wg.Done()
	defer close(f.over)
	err := f.transfer()
	if f.ctx.Err() != nil {
		err = errStopped
	}
	f.cancel()
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.finishLocked(err)
}

func (f *fetch) finishLocked(err error) {
	f.running, f.filling = false, false
	if f.stays { // complete, as far as it goes
		f.leaving, f.stays, f.end = false, false, f.pos
	}
	f.slice.endLocked()
	if f.patience != nil {
		f.patience()
	}
	if f.segment {
		f.r.segmentOverLocked(f, err)
	}
	if f.ahead {
		f.r.aheadOverLocked(f, err)
	}
	if err != nil && !errors.Is(err, errStopped) && !f.spurnedLocked(err) {
		f.err = err
		if c, ok := err.(*cut); ok {
			f.err = c.err
		}
		if !f.ahead || f.refs > 0 {
			f.r.unansweredLocked(f.err)
		}
	}
	for _, w := range f.waiters {
		w.wakeLocked()
	}
	f.waiters = nil
	if f.refs == 0 && !f.keepsLocked() {
		f.shedLocked()
	}
	f.dropLocked()
}

// transfer downloads start..end, in several pieces if the line is cut.
func (f *fetch) transfer() error {
	fruitless := 0
	for {
		from := f.pos // only this goroutine changes it
		err := f.download()
		if _, ok := err.(*cut); !ok {
			return err
		}
		if fruitless++; f.pos > from {
			fruitless = 0
		}
		f.r.cfg.Log.Debug("download cut", "offset", f.pos, "error", err)
		if fruitless >= maxFruitless {
			return err
		}
		if !f.wanted() {
			return errStopped // the next READ goes on, if there is one
		}
		f.forward()
	}
}

// forward makes a piece that a READ waits for as urgent as that.
func (f *fetch) forward() {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.background = false
}

// spurnedLocked tells whether err only says that no connection could be spared. Whoever needs the bytes asks in earnest.
func (f *fetch) spurnedLocked(err error) bool {
	return f.background && pool.KindOf(err) == pool.KindLimit
}

// cut is an error of a download under way, after which it may go on where it was; as opposed to one that did not begin:
// there pool has tried what can be tried. It never reaches a READ.
type cut struct{ err error }

func (c *cut) Error() string { return c.err.Error() }
