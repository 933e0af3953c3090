package pool

import (
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Ages of a connection.
const (
	// maxAge is when a session is given up although it works: TLS tickets, with which data channels resume it, were seen to
	// die after 4 h.
	maxAge = 3*time.Hour + 30*time.Minute
	// trustFor is how long a connection that answered is believed to be alive. Longer than keepAlive: only a machine that
	// was suspended, or a server that stopped answering, makes a connection older.
	trustFor = 40 * time.Second
	// checkBound is how long the answer of an idle connection is waited for at most before another is made.
	checkBound = 5 * time.Second
)

// conn is a session and who has it. Its fields but s are guarded by Pool.mu.
type conn struct {
	s        *session.Session
	id       int
	born     time.Time
	proven   time.Time            // when it last gave an answer
	used     time.Time            // when a caller last gave it back
	prepared time.Time            // when the janitor last had a data channel made for it
	lane     lane                 // of the holder
	press    func()               // asks the holder to make room, nil: it cannot
	pressed  bool                 // it was asked
	since    time.Time            // when the holder got it, zero when nobody has it
	talks    bool                 // the holder is a caller who has a dialogue
	sharers  map[*budget]struct{} // those who hold it together; nil: nobody, or one who has it for himself
	retire   bool                 // not to be used again
	quirks   session.Quirks       // of the server, as the memory was told of them
	noSpare  bool                 // the server would not open a data channel ahead
}

// stale says that the connection should be asked whether it lives before it is used.
func (c *conn) stale(now time.Time) bool { return now.Sub(c.proven) > trustFor || now.Before(c.proven) }

// usable says that the connection may be lent.
func (c *conn) usable(now time.Time) bool {
	return !c.retire && now.Sub(c.born) < maxAge && c.s.Poisoned() == nil
}

// rememberLocked keeps what the session has found out of the server since it was asked last.
func (p *Pool) rememberLocked(c *conn) {
	now := c.s.Quirks()
	if now == c.quirks {
		return
	}
	if p.memory.learnQuirks(c.quirks, now) {
		p.spawnLocked(p.memory.save)
	}
	c.quirks = now
}

// retire makes a connection end with its present use.
func (p *Pool) retire(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.retire = true
}

// retireAll makes all connections that exist now end with their present use.
func (p *Pool) retireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.retire = true
	}
	for _, c := range p.idle {
		p.dropLocked(c)
	}
	p.idle = nil
}

// dropLocked gives a connection up. It must not be in p.idle any more, or p.idle is about to be replaced.
func (p *Pool) dropLocked(c *conn) {
	delete(p.conns, c)
	p.spawnLocked(c.s.Close) // a pool that is closing closes it already
}

// open makes a new connection. It runs on a goroutine of its own; callers wait in the queue meanwhile.
func (p *Pool) open(background bool) {
	ctx, cancel := p.ctx, func() {}
	if background {
		ctx, cancel = p.background(p.cfg.Session.ConnectTimeout)
	}
	defer cancel()
	cfg := p.cfg.Session
	cfg.Quirks, cfg.Spare = p.memory.quirks(), true
	d := &dial{}
	overdue := time.AfterFunc(slowDial, func() { p.hedge(d) })
	cfg.Greeted = func() { overdue.Stop() }
	s, err := session.Dial(ctx, cfg)
	overdue.Stop()
	if err == nil {
		p.silence.end()
		p.counters.logins.Add(1)
		p.counters.handshakes.Add(1)
		info := s.Info()
		p.srv.Store(newServerInfo(p.address(), p.cfg.Root, info))
		if p.memory.learnServer(p.server().identity, cfg.Quirks, info.Quirks) {
			p.memory.save() // for a mount that gets no chance to at its end
		}
		d.quirks = info.Quirks
		// Where the login has not asked for it: a line written, nothing waited for, and the first transfer finds its data channel.
		_ = s.Prepare(wire.Background(p.ctx))
	}
	if !p.opened(s, d, err) {
		s.Close()
	}
}

// A connect may be waiting for packets that were lost while the network was away, and TCP sends them again ever more seldom.
// So when the server was silent before and does not greet within slowDial, another one is made beside it, at most mostSlow.
const (
	slowDial = 2500 * time.Millisecond
	mostSlow = 2
)

// dial is a connect under way. Guarded by Pool.mu.
type dial struct {
	quirks session.Quirks // as reported to the memory. Written before opened, which is called once
	hedged bool           // another one may be made beside it
	over   bool
}

// hedge lets another connect be made beside a slow one.
func (p *Pool) hedge(d *dial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.over || p.slow == mostSlow || p.limit.failures == 0 && !p.silence.now() {
		return
	}
	d.hedged = true
	p.slow++
	p.pumpLocked()
}

// opened takes the outcome of a dial. It reports false when the session is not wanted any more.
func (p *Pool) opened(s *session.Session, d *dial, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	d.over = true
	if d.hedged {
		p.slow--
	}
	if err != nil {
		p.dialFailedLocked(p.loginError(err))
		p.pumpLocked()
		return true
	}
	now := p.now()
	if p.closed || d.hedged && len(p.conns) >= p.limit.now(p.cfg.MaxConns, now) {
		return false
	}
	p.nextID++
	c := &conn{s: s, id: p.nextID, quirks: d.quirks, born: now, proven: now, used: now}
	p.conns[c] = struct{}{}
	p.limit.grew(len(p.conns), p.cfg.MaxConns)
	p.connectedLocked()
	p.idle = append(p.idle, c)
	p.pumpLocked()
	p.poke()
	return true
}
