package relay

import (
	"sync"
	"time"
)

// shape is the line's delay and its rates.
type shape struct {
	mu    sync.Mutex
	delay time.Duration // one way; guarded by mu
	flow  int64         // bytes a second of each flow and direction, 0: any; guarded by mu
	link  [2]pacer      // all flows together, by direction
}

// overslept is how far behind its rate a busy line may be and still make up for it: we wake up late, above all on a busy
// machine, and the rate would turn out a fifth lower than it says.
const overslept = 8 * time.Millisecond

// pacer spaces bytes at a rate.
type pacer struct {
	mu   sync.Mutex
	rate int64     // bytes a second, 0: any; guarded by mu
	free time.Time // when the line is free again; guarded by mu
}

// SetRTT makes a round trip take that long. It concerns bytes sent from now on.
func (r *Relay) SetRTT(d time.Duration) {
	r.shape.mu.Lock()
	defer r.shape.mu.Unlock()
	r.shape.delay = d / 2
}

// SetRate limits all connections together to that many bytes a second each way; 0 lifts the limit.
func (r *Relay) SetRate(bytesPerSecond int64) {
	for d := range r.shape.link {
		p := &r.shape.link[d]
		p.mu.Lock()
		p.rate = bytesPerSecond
		p.mu.Unlock()
	}
}

// SetFlowRate limits each connection to that many bytes a second each way; 0 lifts the limit.
func (r *Relay) SetFlowRate(bytesPerSecond int64) {
	r.shape.mu.Lock()
	defer r.shape.mu.Unlock()
	r.shape.flow = bytesPerSecond
}

func (s *shape) oneWay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.delay
}

// piece is how much to read at once: little where the line is slow, so that the sender feels it.
func (s *shape) piece(dir Direction) int {
	s.mu.Lock()
	rate := s.flow
	s.mu.Unlock()
	if link := s.link[dir].limit(); link > 0 && (rate == 0 || link < rate) {
		rate = link
	}
	if rate == 0 {
		return chunkSize
	}
	return int(min(chunkSize, max(64, rate/50)))
}

// send books n bytes on the flow and on the link and returns when the last of them has left.
func (s *shape) send(flow *pacer, dir Direction, n int, now time.Time) time.Time {
	s.mu.Lock()
	rate := s.flow
	s.mu.Unlock()
	own := flow.book(n, rate, now)
	all := s.link[dir].book(n, s.link[dir].limit(), now)
	if all.After(own) {
		return all
	}
	return own
}

func (p *pacer) limit() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate
}

func (p *pacer) book(n int, rate int64, now time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate == 0 {
		p.free = now
		return now
	}
	if late := now.Add(-overslept); p.free.Before(late) {
		p.free = late
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return p.free
}
