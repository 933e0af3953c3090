package relay

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Kind is what a connection is for.
type Kind uint8

// The kinds of connections.
const (
	Any Kind = iota
	Control
	Data
)

func (k Kind) String() string { return [...]string{"any", "control", "data"}[k] }

func (k Kind) has(other Kind) bool { return k == Any || k == other }

// Direction is where bytes go.
type Direction uint8

// The directions.
const (
	Up   Direction = iota // client to server
	Down                  // server to client
)

func (d Direction) String() string { return [...]string{"up", "down"}[d] }

// Options says between whom the relay stands.
type Options struct {
	Listen string // loopback address of its own; "" is 127.0.0.2
	Target string // address of the server, without port; "" is 127.0.0.1
	Port   int    // control port, of both
	// PassiveLow to PassiveHigh are the server's ports for data, both included; 0 and 0: none.
	PassiveLow, PassiveHigh int
	// Record keeps this many bytes of what passes for Find and Recorded; 0 keeps none.
	Record int
}

// Relay is a running relay.
type Relay struct {
	Host string // where clients find it
	Port int

	target string
	wg     sync.WaitGroup
	done   chan struct{} // closed by Close

	mu        sync.Mutex
	listeners []net.Listener
	flows     map[*flow]struct{} // open ones; guarded by mu
	stats     Stats              // guarded by mu
	rules     []*Armed           // guarded by mu
	frozen    map[Kind]bool      // new connections start frozen; guarded by mu
	refused   map[Kind]bool      // guarded by mu
	closed    bool               // guarded by mu

	shape  shape
	record recording
}

// Stats are counters since the start and gauges of now.
type Stats struct {
	Control, Data         int // connections accepted
	ControlOpen, DataOpen int
	// Bytes passed on, encrypted ones.
	ControlUp, ControlDown, DataUp, DataDown int64
}

// Start runs a relay until the test ends.
func Start(tb testing.TB, o Options) *Relay {
	tb.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.2"
	}
	if o.Target == "" {
		o.Target = "127.0.0.1"
	}
	r := &Relay{
		Host: o.Listen, Port: o.Port, target: o.Target, done: make(chan struct{}),
		flows: map[*flow]struct{}{}, frozen: map[Kind]bool{}, refused: map[Kind]bool{},
		record: recording{room: o.Record},
	}
	tb.Cleanup(r.Close)
	if err := r.listen(o.Port, Control); err != nil {
		tb.Fatalf("relay: %v", err)
	}
	for port := o.PassiveLow; port <= o.PassiveHigh && port != 0; port++ {
		if err := r.listen(port, Data); err != nil {
			tb.Fatalf("relay: %v", err)
		}
	}
	return r
}

// Addr is the address of the control port.
func (r *Relay) Addr() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// Close ends everything at once. Idempotent.
func (r *Relay) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.done)
		for _, l := range r.listeners {
			l.Close()
		}
		for f := range r.flows {
			f.reset()
		}
	}
	r.mu.Unlock()
	r.wg.Wait()
}

// Stats gives the counters.
func (r *Relay) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

func (r *Relay) listen(port int, kind Kind) error {
	l, err := net.Listen("tcp", net.JoinHostPort(r.Host, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("%v port: %w", kind, err)
	}
	r.listeners = append(r.listeners, l)
	target := net.JoinHostPort(r.target, strconv.Itoa(port))
	r.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue // the client was gone again
			}
			r.accept(conn.(*net.TCPConn), target, kind)
		}
	})
	return nil
}

// accept makes a flow of a new connection and starts it.
func (r *Relay) accept(client *net.TCPConn, target string, kind Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.refused[kind] {
		hardClose(client)
		return
	}
	f := newFlow(r, client, target, kind)
	r.flows[f] = struct{}{}
	if kind == Control {
		r.stats.Control++
		r.stats.ControlOpen++
	} else {
		r.stats.Data++
		r.stats.DataOpen++
	}
	if r.frozen[kind] {
		f.gate.shut()
	}
	for _, a := range r.rules {
		a.meet(f)
	}
	r.wg.Go(func() {
		f.run()
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.flows, f)
		if kind == Control {
			r.stats.ControlOpen--
		} else {
			r.stats.DataOpen--
		}
	})
}

// passed counts bytes that were forwarded.
func (r *Relay) passed(kind Kind, dir Direction, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counter := map[Kind]map[Direction]*int64{
		Control: {Up: &r.stats.ControlUp, Down: &r.stats.ControlDown},
		Data:    {Up: &r.stats.DataUp, Down: &r.stats.DataDown},
	}[kind][dir]
	*counter += int64(n)
}

// dial connects to the server when the connection has come that far through the delayed line.
func (r *Relay) dial(target string, giveUp <-chan struct{}) (*net.TCPConn, error) {
	if wait := 3 * r.shape.oneWay(); wait > 0 { // SYN, SYN-ACK, ACK
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-giveUp:
			return nil, net.ErrClosed
		}
	}
	conn, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// hardClose closes with a TCP reset.
func hardClose(c *net.TCPConn) {
	_ = c.SetLinger(0) // fails only on a closed connection
	disconnect(c)
	c.Close()
}
