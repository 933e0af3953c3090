package blocks

import (
	"context"
	"slices"
	"time"
)

// askAgain is how often a caller that waits for room asks the other holders again to give up theirs: one that was busy
// the first time may be idle now.
const askAgain = 250 * time.Millisecond

// Chunk is ChunkSize bytes of the budget. It belongs to whoever allocated it until Free or Put.
type Chunk struct {
	// Buf is the memory, always ChunkSize long. It must not be touched after Free or Put. Its content is undefined at first.
	Buf []byte

	store  *Store
	holder *Holder // nil: none; guarded by store.mu
	out    bool    // in somebody's hands; guarded by store.mu
}

// Pressure says how badly room is needed, see NewHolder.
type Pressure uint8

// The degrees of pressure.
const (
	// PressureShare: others want to grow. Hold no more than Share chunks from now on, no need to throw anything away
	// that is in use.
	PressureShare Pressure = iota
	// PressureStarving: somebody who has nothing waits. Free or Put what nobody reads or writes at this moment.
	PressureStarving
)

// Holder is one user of the budget that must make progress: a reader's window, a writer's replay window. The store
// keeps some chunks back for holders that have none, and asks other holders to give up theirs, so that a holder with
// nothing gets one chunk as soon as any holder can spare one. It is safe for concurrent use.
type Holder struct {
	store  *Store
	team   *Team
	relief func(Pressure)
	held   int // guarded by store.mu
}

// Team is several holders that serve one purpose, such as the downloads of one open file: among others they count as one.
type Team struct {
	store *Store
	held  int // by all of them; guarded by store.mu
}

// NewTeam gives a team without holders. It need not be closed.
func (s *Store) NewTeam() *Team { return &Team{store: s} }

type waiter struct {
	h     *Holder
	ready chan grant // gets exactly one grant, sent with store.mu held after the waiter left the queue
}

type grant struct {
	c   *Chunk
	err error
}

// NewHolder registers a user of the budget. relief may be nil; otherwise it is called, without any lock of the store
// held, from a goroutine that waits for room. It must not block nor allocate; it may Free, Put and call Share.
func (s *Store) NewHolder(relief func(Pressure)) *Holder { return s.NewTeam().NewHolder(relief) }

// NewHolder is Store.NewHolder for one of a team.
func (t *Team) NewHolder(relief func(Pressure)) *Holder {
	s := t.store
	h := &Holder{store: s, team: t, relief: relief}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holders[h] = struct{}{}
	return h
}

// Close unregisters the holder. Chunks that it still has stay its caller's duty to Free.
func (h *Holder) Close() {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	delete(h.store.holders, h)
}

// Alloc gives a chunk; cached blocks are evicted for it, after that it waits its turn until one is freed or ctx ends.
// A holder that has no chunk goes before those that have some.
func (h *Holder) Alloc(ctx context.Context) (*Chunk, error) { return h.store.alloc(ctx, h) }

// TryAlloc is Alloc for those who can do without: nil when the budget is used up, when others wait for it, or when it
// is nearly used up and this holder's team has its share already.
func (h *Holder) TryAlloc() *Chunk { return h.store.tryAlloc(h, 0) }

// TryAllocLeaving is TryAlloc, and nil when fewer than that many chunks would be left for the rest of the team. A holder with nothing gets its first
// one all the same.
func (h *Holder) TryAllocLeaving(chunks int) *Chunk { return h.store.tryAlloc(h, chunks) }

// Held is the number of chunks that this holder has.
func (h *Holder) Held() int {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.held
}

// Share is the number of chunks that this holder's team should not exceed while others want to grow, at least 1.
func (h *Holder) Share() int {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.store.shareLocked()
}

// Alloc gives a chunk to a caller without a Holder; see Holder.Alloc. Such a caller must not hold a chunk while it
// waits for another one without a bound: it would wait for itself.
func (s *Store) Alloc(ctx context.Context) (*Chunk, error) { return s.alloc(ctx, nil) }

// TryAlloc gives nil when the budget is used up (after evicting) or others wait for it.
func (s *Store) TryAlloc() *Chunk { return s.tryAlloc(nil, 0) }

// Free gives the chunk back to the budget. Once only.
func (c *Chunk) Free() {
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c)
	s.free = append(s.free, c)
	s.serveLocked()
}

func (s *Store) tryAlloc(h *Holder, leaving int) *Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	hungry := h.hungryLocked()
	if s.firstLocked(hungry) >= 0 {
		return nil
	}
	if !hungry && h != nil {
		share := s.shareLocked()
		if s.held >= s.total*3/4 && h.team.held+leaving >= share || s.held+leaving >= s.total-s.reserve {
			return nil
		}
	}
	// An error here means that the system has no memory for us: do without.
	c, _ := s.takeLocked(h, hungry)
	return c
}

func (s *Store) alloc(ctx context.Context, h *Holder) (*Chunk, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	hungry := h.hungryLocked()
	if s.firstLocked(hungry) < 0 {
		if c, err := s.takeLocked(h, hungry); c != nil || err != nil {
			s.mu.Unlock()
			return c, err
		}
	}
	w := &waiter{h: h, ready: make(chan grant, 1)}
	s.waiters = append(s.waiters, w)
	s.stats.waits++
	s.mu.Unlock()
	return s.wait(ctx, w)
}

func (s *Store) wait(ctx context.Context, w *waiter) (*Chunk, error) {
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		s.relieve(w)
		select {
		case g := <-w.ready:
			return g.c, g.err
		case <-again.C:
		case <-ctx.Done():
			s.mu.Lock()
			i := slices.Index(s.waiters, w)
			if i >= 0 {
				s.waiters = slices.Delete(s.waiters, i, i+1)
			}
			s.mu.Unlock()
			if i < 0 { // the grant came at the same moment
				g := <-w.ready
				return g.c, g.err
			}
			return nil, ctx.Err()
		}
	}
}

// relieve asks holders, the largest first, to give up chunks until w has got one. Those with no more than their share
// are asked only for somebody who has nothing.
func (s *Store) relieve(w *waiter) {
	s.mu.Lock()
	degree, floor := PressureShare, s.shareLocked()
	if w.h.hungryLocked() {
		degree, floor = PressureStarving, 0
	}
	type candidate struct {
		h    *Holder
		held int
	}
	var ask []candidate
	for h := range s.holders {
		if h != w.h && h.relief != nil && h.held > 0 && h.team.held > floor {
			ask = append(ask, candidate{h, h.held})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(ask, func(a, b candidate) int { return b.held - a.held })
	for _, c := range ask {
		if len(w.ready) > 0 {
			return
		}
		c.h.relief(degree)
	}
}

// serveLocked hands chunks to those who wait. It is called whenever there may be room.
func (s *Store) serveLocked() {
	for {
		i, hungry := s.firstLocked(true), true
		if i < 0 {
			i, hungry = s.firstLocked(false), false
		}
		if i < 0 {
			return
		}
		w := s.waiters[i]
		c, err := s.takeLocked(w.h, hungry)
		if c == nil && err == nil {
			return
		}
		s.waiters = slices.Delete(s.waiters, i, i+1)
		w.ready <- grant{c, err}
	}
}

// firstLocked gives the place in the queue of the first caller that goes before a newcomer: for a hungry newcomer only
// others who have nothing do. -1: none.
func (s *Store) firstLocked(hungry bool) int {
	return slices.IndexFunc(s.waiters, func(w *waiter) bool { return !hungry || w.h.hungryLocked() })
}

// hungryLocked tells whether h has nothing. Callers without a Holder never count as such: nobody knows what they have.
func (h *Holder) hungryLocked() bool { return h != nil && h.held == 0 }

// shareLocked divides what is not reserved among the teams that have something, and the callers that wait for it.
func (s *Store) shareLocked() int {
	return max(1, (s.total-s.reserve)/max(1, s.teams+len(s.waiters)))
}
