package pool

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Stats is a snapshot of what a pool did since it was made (counters) and does now (gauges).
type Stats struct {
	Server   string   `json:"server"` // host:port
	Greeting string   `json:"greeting"`
	Features []string `json:"features"`
	// Insecure: certificates are not checked (insecure_skip_verify).
	Insecure bool `json:"insecure"`
	// Prot is "P" when data channels are encrypted, "C" when they are not, as observed once one was used.
	Prot string `json:"prot"`
	CCC  bool   `json:"ccc"` // the control connection goes on in clear after login

	Commands        map[string]int64 `json:"commands"` // sent, by name
	Waits           int64            `json:"waits"`    // round trips that a caller waited for
	BackgroundWaits int64            `json:"background_waits"`
	DataChannels    int64            `json:"data_channels"`
	Transfers       int64            `json:"transfers"`   // begun, listings among them
	SparesUsed      int64            `json:"spares_used"` // of them, those that found a data channel made ahead
	// PortsAhead is how often the port for the next data channel was asked for in the middle of a listing or a small file, PortsRefused how
	// often of these the server was not through with it: then it was asked again.
	PortsAhead   int64 `json:"ports_ahead"`
	PortsRefused int64 `json:"ports_refused"`
	BytesIn      int64 `json:"bytes_in"` // payload of data channels
	BytesOut     int64 `json:"bytes_out"`
	Logins       int64 `json:"logins"`
	Handshakes   int64 `json:"handshakes"`  // TLS, control and data
	Resumptions  int64 `json:"resumptions"` // of them on data channels, resuming their control session
	Retries      int64 `json:"retries"`     // attempts after the first
	Pressures    int64 `json:"pressures"`   // transfers asked to make room
	Shared       int64 `json:"shared"`      // changes that went out behind others, on the connection of those
	// Queued is how often a caller found no connection free and waited for one: for another's, or for one that had to be made.
	// Work ahead is not counted, unless a caller has come to wait for it.
	Queued int64 `json:"queued"`
	// BytesInVain are those of listings ahead that were given up on their way, and of short ends of files that nobody had asked for
	// and that were read rather than cut off.
	BytesInVain int64 `json:"bytes_in_vain"`

	Errors map[string]int64 `json:"errors"` // that left the pool, by kind
	// What was learned of the server so far, in this mount or an earlier one: what it can, and what in names it keeps.
	Capabilities map[Capability]bool `json:"capabilities"`
	Names        map[string]bool     `json:"names"`
	// The commands that set a file's time and mode; "": not known yet, "-": there is none.
	TimeCommand string `json:"time_command"`
	ModeCommand string `json:"mode_command"`
	// ClockAhead is how many seconds the server's clock was ahead of ours when a file was last written; nil: not known.
	ClockAhead *int64 `json:"clock_ahead_seconds,omitempty"`

	Connections Connections `json:"connections"`
	Waiting     int         `json:"waiting"` // callers that wait for a connection
}

// Connections are the gauges of a pool.
type Connections struct {
	Open    int `json:"open"`
	Busy    int `json:"busy"`
	Idle    int `json:"idle"`
	Ready   int `json:"ready"` // of the idle ones, those whose next transfer finds its data channel made
	Dialing int `json:"dialing"`
	Max     int `json:"max"` // max_conns
	// LearnedLimit is what the server was found to allow, 0 when it refused nobody.
	LearnedLimit int `json:"learned_limit"`
}

// counters are the counting part of Stats. They implement session.Counter.
type counters struct {
	waits, background, dataChannels                 atomic.Int64
	transfers, sparesUsed                           atomic.Int64
	bytesIn, bytesOut                               atomic.Int64
	logins, handshakes, resumptions, retries, press atomic.Int64
	queued, shared, vain                            atomic.Int64
	clockAhead                                      atomic.Pointer[int64] // seconds

	mu       sync.Mutex
	commands map[string]int64 // guarded by mu
	errors   map[string]int64 // guarded by mu
}

func newCounters() *counters {
	return &counters{commands: map[string]int64{}, errors: map[string]int64{}}
}

// Command counts a command by name.
func (c *counters) Command(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands[name]++
}

// Wait counts a round trip.
func (c *counters) Wait(background bool) {
	if background {
		c.background.Add(1)
	} else {
		c.waits.Add(1)
	}
}

// DataChannel counts a data connection.
func (c *counters) DataChannel() { c.dataChannels.Add(1) }

// DataBytes counts payload.
func (c *counters) DataBytes(received, sent int) {
	c.bytesIn.Add(int64(received))
	c.bytesOut.Add(int64(sent))
}

// noteQueued counts w if a caller is left in the queue with it.
func (c *counters) noteQueued(w *waiter) {
	if w.c == nil && w.err == nil && !w.lane.ahead() {
		c.queued.Add(1)
	}
}

// failed counts an error that leaves the pool.
func (c *counters) failed(k Kind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors[k.String()]++
}

// Stats gives a snapshot. It never waits for the network.
func (p *Pool) Stats() Stats {
	c := p.counters
	s := Stats{
		Waits: c.waits.Load(), BackgroundWaits: c.background.Load(), DataChannels: c.dataChannels.Load(),
		Transfers: c.transfers.Load(), SparesUsed: c.sparesUsed.Load(), BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
		Logins: c.logins.Load(), Handshakes: c.handshakes.Load(), Resumptions: c.resumptions.Load(),
		Retries: c.retries.Load(), Pressures: c.press.Load(), Queued: c.queued.Load(), Shared: c.shared.Load(),
		BytesInVain: c.vain.Load(), ClockAhead: c.clockAhead.Load(),
		Capabilities: p.capabilities(), Names: p.memory.names(),
		Insecure: p.cfg.Session.Trust.Insecure, CCC: p.cfg.Session.CCC, Prot: "P",
	}
	if p.cfg.Session.ProtClear {
		s.Prot = "C"
	}
	m := p.memory.get()
	s.TimeCommand, s.ModeCommand = string(m.MTime), string(m.Chmod)
	c.mu.Lock()
	s.Commands, s.Errors = maps.Clone(c.commands), maps.Clone(c.errors)
	c.mu.Unlock()

	srv := p.server()
	s.Server, s.Greeting, s.Features = p.address(), srv.greeting, srv.featureList()
	for _, t := range []*turns{&p.portTurns, &p.fileTurns} {
		missed := t.missed.Load()
		s.PortsAhead += t.kept.Load() + missed
		s.PortsRefused += missed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Connections = Connections{
		Open: len(p.conns), Busy: len(p.conns) - len(p.idle), Idle: len(p.idle), Dialing: p.dialing,
		Max: p.cfg.MaxConns, LearnedLimit: p.limit.learned,
	}
	now := p.now()
	for _, c := range p.idle {
		if c.ready(now) {
			s.Connections.Ready++
		}
	}
	s.Waiting = len(p.queue)
	return s
}

// MaxConnections is how many connections there may be at present: max_conns, or fewer as the server has taught. It may be called at any time.
func (p *Pool) MaxConnections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit.now(p.cfg.MaxConns, p.now())
}
