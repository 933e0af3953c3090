package relay

import (
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 32 << 10
	inFlight  = 256 // chunks on the line per direction: the most that a delay holds
)

// flow is one connection with its way in both directions.
type flow struct {
	r      *Relay
	kind   Kind
	target string
	client *net.TCPConn
	gate   gate
	pace   [2]pacer // per-flow rate, by direction
	marks  [2]marks // faults to come, by direction

	mu     sync.Mutex
	server *net.TCPConn  // nil until dialled; guarded by mu
	cut    bool          // both ends were told FIN, the rest is thrown away; guarded by mu
	gone   bool          // guarded by mu
	over   chan struct{} // closed with gone
}

// chunk is bytes under way that arrive when due; end says that the sender closed its side, rst that it reset the connection.
type chunk struct {
	data     []byte
	due      time.Time
	end, rst bool
}

func newFlow(r *Relay, client *net.TCPConn, target string, kind Kind) *flow {
	return &flow{r: r, kind: kind, target: target, client: client, over: make(chan struct{})}
}

// run dials, forwards, and returns when the flow is over and both connections are closed.
func (f *flow) run() {
	defer f.reset()
	server, err := f.r.dial(f.target, f.over)
	if err != nil {
		return
	}
	f.mu.Lock()
	if f.gone {
		f.mu.Unlock()
		hardClose(server)
		return
	}
	f.server = server
	f.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { f.forward(f.client, server, Up) })
	both.Go(func() { f.forward(server, f.client, Down) })
	both.Wait()
	f.client.Close()
	server.Close()
}

// forward moves bytes one way until the sender closed its side or the flow is over.
func (f *flow) forward(from, to *net.TCPConn, dir Direction) {
	line := make(chan chunk, inFlight)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(line)
		f.read(from, line, dir)
	})
	f.write(to, line, dir)
	reader.Wait()
}

// read takes bytes from the sender at the speed that the line allows and puts them on it.
func (f *flow) read(from *net.TCPConn, line chan<- chunk, dir Direction) {
	for {
		if !f.gate.wait(f.over) {
			return
		}
		buf := make([]byte, f.r.shape.piece(dir))
		n, err := from.Read(buf)
		now := time.Now()
		sent := f.r.shape.send(&f.pace[dir], dir, n, now)
		c := chunk{data: buf[:n], due: sent.Add(f.r.shape.oneWay()), end: err == io.EOF, rst: err != nil && err != io.EOF}
		select {
		case line <- c:
		case <-f.over:
			return
		}
		if err != nil || !pause(sent.Sub(now), f.over) {
			return
		}
	}
}

// write delivers what is due, and lets the faults happen where they were ordered.
func (f *flow) write(to *net.TCPConn, line <-chan chunk, dir Direction) {
	for c := range line {
		if !pause(time.Until(c.due), f.over) || !f.pass(dir) {
			f.reset() // lets the reader end
			continue
		}
		if !f.deliver(to, c.data, dir) || c.rst {
			f.reset()
			continue
		}
		if c.end {
			_ = to.CloseWrite() // fails when the receiver is gone, which its own direction notices
		}
	}
}

// deliver writes p, stopping at each mark for its fault. It returns false when the flow is over.
func (f *flow) deliver(to *net.TCPConn, p []byte, dir Direction) bool {
	for {
		n, fault := f.marks[dir].next(len(p))
		if fault != nil && fault.rule.Do == Corrupt && n < len(p) {
			p[n] ^= 0xff
			fault.fire()
			continue // the mark is gone; deliver from here on
		}
		if !f.put(to, p[:n], dir) {
			return false
		}
		p = p[n:]
		if fault == nil {
			return true
		}
		f.suffer(fault)
		if !f.pass(dir) {
			return false
		}
	}
}

// pass waits until the gate is open. Bytes of a sender that reset the connection while it was shut are lost, as they are on
// a line that lets nothing pass: the kernel of who resets does not send them again.
func (f *flow) pass(dir Direction) bool {
	from := f.client
	if dir == Down {
		from = f.server
	}
	frozen := f.gate.wasShut(dir)
	return f.gate.wait(f.over) && (!frozen || !wasReset(from))
}

func (f *flow) put(to *net.TCPConn, p []byte, dir Direction) bool {
	f.mu.Lock()
	cut := f.cut
	f.mu.Unlock()
	if cut || len(p) == 0 {
		return true
	}
	f.r.record.add(f, dir, p)
	f.r.passed(f.kind, dir, len(p)) // before the receiver can know of them
	f.marks[dir].advance(len(p))
	_, err := to.Write(p)
	return err == nil
}

// suffer carries out a fault on this flow.
func (f *flow) suffer(a *Armed) {
	switch a.rule.Do {
	case Cut:
		f.sever()
	case Reset:
		f.reset()
	case Freeze:
		f.gate.shut()
	}
	a.fire()
}

// sever sends FIN to both ends and throws away what they still send, so that no reset follows.
func (f *flow) sever() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cut || f.gone {
		return
	}
	f.cut = true
	_ = f.client.CloseWrite()
	if f.server != nil {
		_ = f.server.CloseWrite()
	}
}

// reset ends the flow with a TCP reset to both ends. Idempotent.
func (f *flow) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return
	}
	f.gone = true
	close(f.over)
	hardClose(f.client)
	if f.server != nil {
		hardClose(f.server)
	}
}

// pause waits for d; false when over was closed first.
func pause(d time.Duration, over <-chan struct{}) bool {
	if d <= 0 {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-over:
		return false
	}
}

// gate holds bytes back while it is shut. The zero value is open.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil: open; guarded by mu
	shuts  int           // how often it was shut; guarded by mu
	seen   [2]int        // shuts, as known to each direction; guarded by mu
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened == nil {
		g.opened = make(chan struct{})
		g.shuts++
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		close(g.opened)
		g.opened = nil
	}
}

// wasShut says whether the gate was shut since it was asked last for that direction, or is.
func (g *gate) wasShut(dir Direction) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.seen[dir] != g.shuts || g.opened != nil
	g.seen[dir] = g.shuts
	return was
}

// wait returns true when the gate is open, false when over is closed.
func (g *gate) wait(over <-chan struct{}) bool {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened == nil {
		return pause(0, over)
	}
	select {
	case <-opened:
		return g.wait(over)
	case <-over:
		return false
	}
}
