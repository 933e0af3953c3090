package pool

import (
	"slices"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// waiting is a pool without connections, with callers in its queue, while dialing connections are being made and no more can be.
func waiting(t *testing.T, dialing int, claims ...claim) (*Pool, []*waiter) {
	t.Helper()
	p, err := New(Config{Session: session.Config{Host: "127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing, p.limit.dialAt = dialing, p.now().Add(time.Hour)
	var all []*waiter
	for _, c := range claims {
		w := &waiter{claim: c, ready: make(chan struct{})}
		all = append(all, w)
		p.queueLocked(w)
	}
	return p, all
}

func TestCallersComeBeforeWorkAhead(t *testing.T) {
	ahead, caller := claim{lane: laneAhead, ahead: true}, claim{lane: laneMeta}
	far, near := claim{lane: laneBackground, far: 2}, claim{lane: laneBackground, far: 1}
	p, all := waiting(t, 8, ahead, far, caller, ahead, claim{lane: laneTransfer}, far, near)
	want := []*waiter{all[2], all[4], all[0], all[6], all[1], all[3], all[5]}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.queue, want) {
		t.Error("not in the order of who waits")
	}
}

// Behind a caller who waits for a connection, questions ahead stay as long as connections are on their way for them as well.
func TestQuestionsAheadWaitForTheirOwnConnections(t *testing.T) {
	ahead, caller := claim{lane: laneAhead, ahead: true}, claim{lane: laneMeta}
	for _, c := range []struct{ dialing, stay int }{{1, 0}, {2, 1}, {3, 2}, {8, 4}} {
		p, all := waiting(t, c.dialing, caller, ahead, ahead, ahead, ahead)
		p.mu.Lock()
		p.pumpLocked()
		if got := len(p.queue) - 1; got != c.stay || p.queue[0] != all[0] {
			t.Errorf("%d connections on their way: %d questions ahead wait", c.dialing, got)
		}
		p.mu.Unlock()
	}
}

// What is short and ahead leaves two connections at least where there are few; where there are many it may use all of them,
// but one where it takes long.
func TestRoomAhead(t *testing.T) {
	for _, c := range []struct {
		held, most  int
		soon, later bool // with work that is over soon, and with such that is not
	}{{6, 8, true, true}, {7, 8, true, false}, {8, 8, false, false}, {5, 6, true, false}, {3, 5, false, false}, {2, 5, true, true}, {1, 2, false, false}} {
		for soon, want := range map[bool]bool{true: c.soon, false: c.later} {
			if got := room(laneAhead, [lanes]int{laneAhead: c.held}, c.most, calm{soon: soon}); got != want {
				t.Errorf("%d held of %d, soon %v: %v", c.held, c.most, soon, got)
			}
		}
	}
}
