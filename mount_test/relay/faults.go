package relay

import (
	"slices"
	"sync"
)

// Action is what a fault does to a connection.
type Action uint8

// The faults.
const (
	Cut     Action = iota // FIN to both ends
	Reset                 // RST to both ends
	Freeze                // nothing passes any more, nothing is closed, until Resume
	Corrupt               // the next byte is inverted
	Note                  // nothing but Happened: the test itself acts
)

func (a Action) String() string { return [...]string{"cut", "reset", "freeze", "corrupt", "note"}[a] }

// Rule orders a fault at a place.
type Rule struct {
	Kind Kind // which connections
	// Nth is the n-th connection of the kind that is accepted from now on, counted from 1; 0 is every one, with those
	// that are open now.
	Nth   int
	Dir   Direction
	After int64 // after so many more bytes in that direction; 0: before the next byte
	Do    Action
	Times int // on how many connections it happens, 0: 1
}

// Armed is a rule at work.
type Armed struct {
	rule Rule

	mu    sync.Mutex
	seen  int           // connections of the kind accepted since; guarded by mu
	fired int           // guarded by mu
	first chan struct{} // closed when it happened first
}

// Arm sets a fault.
func (r *Relay) Arm(rule Rule) *Armed {
	if rule.Times == 0 {
		rule.Times = 1
	}
	a := &Armed{rule: rule, first: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = append(r.rules, a)
	if rule.Nth == 0 {
		for f := range r.flows {
			if rule.Kind.has(f.kind) {
				f.marks[rule.Dir].set(a, rule.After)
			}
		}
	}
	return a
}

// Disarm removes all rules. Faults that happened stay.
func (r *Relay) Disarm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rules = nil
	for f := range r.flows {
		f.marks[Up].clear()
		f.marks[Down].clear()
	}
}

// Fired is how often the fault happened.
func (a *Armed) Fired() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fired
}

// Happened is closed when the fault happened first.
func (a *Armed) Happened() <-chan struct{} { return a.first }

// meet lets the rule look at a new connection.
func (a *Armed) meet(f *flow) {
	if !a.rule.Kind.has(f.kind) {
		return
	}
	a.mu.Lock()
	a.seen++
	concerned := a.rule.Nth == 0 || a.rule.Nth == a.seen
	a.mu.Unlock()
	if concerned {
		f.marks[a.rule.Dir].set(a, a.rule.After)
	}
}

// take says whether the fault may happen once more.
func (a *Armed) take() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rule.Times == 0 {
		return false
	}
	a.rule.Times--
	return true
}

func (a *Armed) fire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fired++
	if a.fired == 1 {
		close(a.first)
	}
}

// marks are the faults to come in one direction of a flow, by the number of bytes until they happen.
type marks struct {
	mu   sync.Mutex
	list []mark // guarded by mu
}

type mark struct {
	armed *Armed
	left  int64
}

func (m *marks) set(a *Armed, after int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, mark{a, after})
}

func (m *marks) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = nil
}

// next says how many of n bytes may pass before the next fault, and takes that fault off the list. Without a fault
// within n bytes it returns n and nil. A fault before the very next byte waits for that byte to come.
func (m *marks) next(n int) (int, *Armed) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if len(m.list) == 0 || n == 0 {
			return n, nil
		}
		i := 0
		for k := range m.list {
			if m.list[k].left < m.list[i].left {
				i = k
			}
		}
		at := m.list[i]
		if at.left > int64(n) || at.left == int64(n) && at.armed.rule.Do == Corrupt {
			return n, nil
		}
		m.list = slices.Delete(m.list, i, i+1)
		if at.armed.take() {
			return int(at.left), at.armed
		}
	}
}

// advance tells that n bytes were passed on.
func (m *marks) advance(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.list {
		m.list[i].left = max(0, m.list[i].left-int64(n))
	}
}

// CutAll sends FIN to both ends of all open connections of the kind.
func (r *Relay) CutAll(kind Kind) { r.each(kind, (*flow).sever) }

// ResetAll resets all open connections of the kind.
func (r *Relay) ResetAll(kind Kind) { r.each(kind, (*flow).reset) }

// FreezeAll lets nothing pass on connections of the kind, new ones too, until ResumeAll.
func (r *Relay) FreezeAll(kind Kind) {
	r.set(r.frozen, kind, true)
	r.each(kind, func(f *flow) { f.gate.shut() })
}

// ResumeAll ends every freeze.
func (r *Relay) ResumeAll() {
	r.set(r.frozen, Any, false)
	r.each(Any, func(f *flow) { f.gate.open() })
}

// Refuse resets new connections of the kind as soon as they are accepted.
func (r *Relay) Refuse(kind Kind, refuse bool) { r.set(r.refused, kind, refuse) }

func (r *Relay) each(kind Kind, do func(*flow)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.flows {
		if kind.has(f.kind) {
			do(f)
		}
	}
}

func (r *Relay) set(m map[Kind]bool, kind Kind, v bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range []Kind{Control, Data} {
		if kind.has(k) {
			m[k] = v
		}
	}
}
