package trust

import (
	"bytes"
	"crypto/tls"
	"sync"
)

// Channels makes the TLS configurations of one control connection and its data channels. Sessions are not shared with
// any other control connection: servers demand that a data channel resumes the session of its own.
type Channels struct {
	policy *Policy
	store  sessions

	mu      sync.Mutex
	control *tls.ConnectionState // guarded by mu
}

// Channels begins a new control connection.
func (p *Policy) Channels() *Channels { return &Channels{policy: p} }

// Control is the configuration for the control connection. It never resumes.
func (c *Channels) Control() *tls.Config {
	cfg := c.policy.base()
	cfg.ClientSessionCache = &view{store: &c.store, control: true}
	if c.policy.ownRules() {
		cfg.InsecureSkipVerify = true // replaced by the rules in verify
		cfg.VerifyConnection = c.policy.verify
	}
	return cfg
}

// Established notes the control connection's parameters, on which data channels depend.
func (c *Channels) Established(s tls.ConnectionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.control = &s
}

// Data is the configuration for one data channel. It resumes the control session if the server gave a ticket.
func (c *Channels) Data() *tls.Config {
	c.mu.Lock()
	control := c.control
	c.mu.Unlock()
	cfg := c.policy.base()
	cfg.ClientSessionCache = &view{store: &c.store}
	if control != nil && control.HelloRetryRequest {
		// The server wanted another key share than the one that we would offer first; offering it at once saves a round
		// trip.
		cfg.CurvePreferences = []tls.CurveID{control.CurveID}
	}
	if c.policy.ownRules() {
		cfg.InsecureSkipVerify = true // replaced by the rule below
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return c.verifyData(control, s) }
	}
	return cfg
}

// verifyData: where the user, not an authority, decided on the control connection's certificate, only the same key will
// do on data channels. A pinned key may be any of the pinned ones.
func (c *Channels) verifyData(control *tls.ConnectionState, s tls.ConnectionState) error {
	p := c.policy
	if len(p.cfg.Pins) > 0 || p.cfg.Insecure || control == nil || len(s.PeerCertificates) == 0 {
		return p.verify(s)
	}
	leaf, want := s.PeerCertificates[0], control.PeerCertificates[0]
	if bytes.Equal(spki(leaf), spki(want)) {
		return nil
	}
	return &Error{Reason: ReasonChanged, Subject: Subject(leaf), Fingerprint: Fingerprint(leaf), Expected: Fingerprint(want),
		Detail: "data channel shows another key than the control connection"}
}

// sessions keeps the tickets of one control connection and its data channels.
type sessions struct {
	mu   sync.Mutex
	list []*ticket // oldest first. guarded by mu
}

type ticket struct {
	state   *tls.ClientSessionState
	control bool // came on the control connection
	used    bool // guarded by sessions.mu
	failed  int  // handshakes with it that did not end well. guarded by sessions.mu
}

const maxTickets = 16

// take gives the ticket for the next data channel: the newest unused one from the control connection (some servers
// accept only that), then the newest unused one from a data channel, then the newest of all, used again.
func (s *sessions) take() *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *ticket
	for _, t := range s.list {
		if best == nil || t.rank() >= best.rank() {
			best = t
		}
	}
	if best != nil {
		best.used = true
	}
	return best
}

func (t *ticket) rank() int {
	switch {
	case t.failed > 0:
		return -t.failed
	case t.used:
		return 0
	case t.control:
		return 2
	}
	return 1
}

func (s *sessions) put(state *tls.ClientSessionState, control bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, &ticket{state: state, control: control})
	if len(s.list) > maxTickets {
		s.list = s.list[1:]
	}
}

// view is the store as one channel's configuration sees it. The key is ignored: one store, one server.
type view struct {
	store   *sessions
	control bool
	taken   *ticket // by this channel; package tls calls from the one goroutine that does the handshake
}

var _ tls.ClientSessionCache = (*view)(nil)

// Get is called once per handshake.
func (v *view) Get(string) (*tls.ClientSessionState, bool) {
	if v.control {
		return nil, false
	}
	if v.taken = v.store.take(); v.taken == nil {
		return nil, false
	}
	return v.taken.state, true
}

// Put is called for each ticket that comes, and with nil when a handshake with the taken one failed. That happens to
// good tickets too (the server closed the channel as it refused the transfer), and there may be no other one, so it is
// just put last.
func (v *view) Put(_ string, state *tls.ClientSessionState) {
	if state != nil {
		v.store.put(state, v.control)
		return
	}
	if v.taken == nil {
		return
	}
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.taken.failed++
}
