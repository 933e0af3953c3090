package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Defaults of a Config.
const (
	defaultMaxConns       = 8
	defaultTimeout        = 30 * time.Second
	defaultConnectTimeout = 10 * time.Second
)

// Pool owns the connections to one server. All methods may be called from any goroutine and return with no lock held.
//
// mu guards who has which connection; it is never held across the network. The locks of counters and memory are leaves:
// nothing is called while they are held.
type Pool struct {
	cfg      Config
	log      *slog.Logger
	now      func() time.Time // time.Now but in tests; wall clock, so that a suspended machine notices
	counters *counters
	memory   *memory
	srv      atomic.Pointer[serverInfo]
	silence  silence
	// dataLists: a data channel has carried a listing. Check takes it back, to have one used again.
	dataLists atomic.Bool
	// finsFailed counts listings in a row that broke with our FIN sent ahead.
	finsFailed atomic.Int32
	// bareEnds counts listings that ended without a close_notify before one with it was seen.
	bareEnds  atomic.Int32
	turns     turns                  // of what is asked behind uploads
	portTurns turns                  // of ports that are asked for during listings
	fileTurns turns                  // the same, during downloads
	endings   endings                // of downloads whose end went ahead
	password  atomic.Pointer[string] // of the latest login, to hide it in what servers say

	// ctx ends with Close and bounds everything that goroutines of the pool do. Callers' contexts are tied to it.
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // capacity 1: the janitor has something to look at

	probing sync.Mutex // one probe at a time; held across the network, before mu

	mu       sync.Mutex
	closed   bool                // guarded by mu
	started  bool                // the janitor runs. guarded by mu
	visiting bool                // and looks at the queue just now. guarded by mu
	conns    map[*conn]struct{}  // logged in. guarded by mu
	idle     []*conn             // the part of conns that nobody holds, latest used last. guarded by mu
	held     [lanes]int          // connections held, by lane. guarded by mu
	serviced int                 // connections that the janitor has for a moment. guarded by mu
	dialing  int                 // guarded by mu
	warned   warnings            // guarded by mu
	slow     int                 // of these, for so long that others are made beside them; guarded by mu
	queue    []*waiter           // oldest first. guarded by mu
	lasted   time.Duration       // how long work in laneAhead had its connection lately, averaged. guarded by mu
	talked   time.Time           // when a caller's dialogue was last over. guarded by mu
	called   time.Time           // when a caller last came. guarded by mu
	pressed  int                 // holders that were asked to make room and have not yet. guarded by mu
	limit    limit               // guarded by mu
	nextID   int                 // guarded by mu
	reuseAt  time.Time           // when an upload last failed for want of TLS session reuse. guarded by mu
	hidden   map[string]struct{} // folders with names that MLSD does not tell. guarded by mu
	large    map[string]struct{} // folders with more than statMost names. guarded by mu
}

// New checks the configuration and makes a pool without connections. There is no network traffic before Connect or the
// first operation.
func New(cfg Config) (*Pool, error) {
	if cfg.Session.Host == "" {
		return nil, errors.New("no host given")
	}
	if cfg.Session.Port < 0 || cfg.Session.Port > 65535 {
		return nil, fmt.Errorf("port %d out of range", cfg.Session.Port)
	}
	if cfg.MaxConns < 0 || cfg.Timeout < 0 || cfg.Session.ConnectTimeout < 0 {
		return nil, errors.New("negative limit or time")
	}
	defaults(&cfg)
	if cfg.Session.Policy == nil {
		policy, err := trust.NewPolicy(cfg.Session.Trust, cfg.Session.Host, cfg.Session.Port)
		if err != nil {
			return nil, err
		}
		cfg.Session.Policy = policy
	}
	p := &Pool{
		cfg: cfg, log: cfg.Log, counters: newCounters(),
		now:   func() time.Time { return time.Now().Round(0) },
		conns: map[*conn]struct{}{}, wake: make(chan struct{}, 1),
	}
	if ask := cfg.Session.Password; ask != nil {
		p.cfg.Session.Password = func(ctx context.Context) (string, error) {
			password, err := ask(ctx)
			if err != nil {
				return "", &Error{Op: "login", Kind: KindAuth, Err: err}
			}
			p.password.Store(&password)
			return password, nil
		}
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.srv.Store(&serverInfo{base: basePath("", cfg.Root)})
	p.memory = openMemory(cfg.LearnedFile, p.address(), cfg.Log)
	p.cfg.Session.Counter = p.counters
	return p, nil
}

func defaults(cfg *Config) {
	if cfg.MaxConns == 0 {
		cfg.MaxConns = defaultMaxConns
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &cfg.Session
	if s.ConnectTimeout == 0 {
		s.ConnectTimeout = defaultConnectTimeout
	}
	s.Timeout = cfg.Timeout
	if s.Log == nil {
		s.Log = cfg.Log
	}
	if s.Port == 0 {
		s.Port = 21
		if s.TLS == session.TLSImplicit {
			s.Port = 990
		}
	}
}

// address is the server as host:port.
func (p *Pool) address() string {
	return net.JoinHostPort(p.cfg.Session.Host, strconv.Itoa(p.cfg.Session.Port))
}

// Connect logs in for the first time and checks that the root is a folder. Unlike later operations it does not wait for
// a server that is not there: the first failure is the result.
func (p *Pool) Connect(ctx context.Context) error {
	c, err := p.acquire(ctx, claim{lane: laneMeta, first: true})
	if err != nil {
		return p.fail(ctx, "connect", "", err)
	}
	abs, err := p.remote("connect", "/")
	if err != nil {
		p.release(c)
		return err
	}
	_, err = c.s.Command(ctx, "CWD "+abs)
	p.release(c)
	if err == nil {
		return nil
	}
	if e := p.fail(ctx, "connect", "/", err); e.Kind != KindRefused && e.Kind != KindNotFound {
		return e
	}
	return p.fail(ctx, "connect", "/", &Error{Kind: KindNotFound, Err: err, Advice: "the path in the URL is no folder on the server: " + abs})
}

// Close ends all sessions and everything that runs; operations under way, and later ones, give KindClosed. It returns when
// the last goroutine has ended. Idempotent.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.cancel()
	for _, w := range p.queue {
		w.fail(errClosed)
	}
	p.queue = nil
	var all []*conn
	for c := range p.conns {
		all = append(all, c)
	}
	p.mu.Unlock()
	for _, c := range all {
		c.s.Close()
	}
	p.work.Wait()
	p.memory.save()
}

// spawn runs fn on a goroutine that Close waits for. It reports false, and does nothing, when the pool is closed.
func (p *Pool) spawn(fn func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spawnLocked(fn)
}

func (p *Pool) spawnLocked(fn func()) bool {
	if p.closed {
		return false
	}
	p.work.Add(1)
	go func() {
		defer p.work.Done()
		fn()
	}()
	return true
}

// background is a context for work that no caller waits for, ended by Close.
func (p *Pool) background(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(wire.Background(p.ctx), d)
}
