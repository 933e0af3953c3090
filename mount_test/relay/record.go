package relay

import (
	"bytes"
	"sync"
)

// recording keeps what passed, each direction of each connection apart.
type recording struct {
	mu    sync.Mutex
	room  int // bytes that may still be kept; guarded by mu
	full  bool
	lanes []*lane // in order of their first byte; guarded by mu
}

// Lane is one direction of one connection.
type Lane struct {
	Kind  Kind
	Dir   Direction
	Bytes []byte
}

type lane struct {
	flow *flow
	Lane
}

func (rec *recording) add(f *flow, dir Direction, p []byte) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(p) > rec.room {
		rec.full = true
		p = p[:rec.room]
	}
	if len(p) == 0 {
		return
	}
	rec.room -= len(p)
	for _, l := range rec.lanes {
		if l.flow == f && l.Dir == dir {
			l.Bytes = append(l.Bytes, p...)
			return
		}
	}
	rec.lanes = append(rec.lanes, &lane{f, Lane{f.kind, dir, bytes.Clone(p)}})
}

// Recorded gives what passed so far. complete is false when there was more than Options.Record allowed to keep.
func (r *Relay) Recorded() (lanes []Lane, complete bool) {
	r.record.mu.Lock()
	defer r.record.mu.Unlock()
	for _, l := range r.record.lanes {
		lanes = append(lanes, Lane{l.Kind, l.Dir, bytes.Clone(l.Bytes)})
	}
	return lanes, !r.record.full
}

// Find gives the lanes in which needle passed as it is.
func (r *Relay) Find(needle []byte) []Lane {
	lanes, _ := r.Recorded()
	var found []Lane
	for _, l := range lanes {
		if bytes.Contains(l.Bytes, needle) {
			found = append(found, l)
		}
	}
	return found
}
