package cache

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/ftpsfs/ftpsfs/pool"
)

// defaultMaxBytes is the budget where Options name none.
const defaultMaxBytes = 64 << 20

// Cache remembers what a [Source] told, for as long as Options say. All paths are absolute and clean ("/", "/a/b").
// All methods lock internally and are safe for concurrent use; no lock is held while a source is asked, and a caller
// waits no longer than its context allows. Failures are *pool.Error.
//
// Knowledge is ordered by a counter that grows with each question asked and each change of our own: of two pieces the one
// with the higher number counts, whatever the order in which answers arrive. That is why an answer that was on its way
// while we changed something cannot undo the change.
type Cache struct {
	src   Source
	o     Options
	epoch time.Time

	mu      sync.Mutex
	seq     uint64                          // guarded by mu; the counter described above
	floor   uint64                          // guarded by mu; answers to older questions are not remembered
	top     *node                           // guarded by mu, like all nodes; holds the root folder's own attributes
	lru     *simplelru.LRU[*node, struct{}] // guarded by mu; nodes that know something
	bytes   int64                           // guarded by mu; sum of the nodes' bytes
	flights map[question]*flight            // guarded by mu; the newest of each question
	running map[*flight]struct{}            // guarded by mu; all that are under way
	batches map[string][]*flight            // guarded by mu; flights for exact times, by folder
	stats   Stats                           // guarded by mu; counters only
	walk    walker                          // guarded by mu
	beside  int                             // guarded by mu; listings under way that renew one
	look    looker                          // guarded by mu
	moving  map[string]int                  // guarded by mu; paths that are being renamed, by how many
	closed  bool                            // guarded by mu
	ended   sync.WaitGroup                  // flights
}

// New makes a cache over src. Close it to end what it has under way.
func New(src Source, o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.Hide == nil {
		o.Hide = func(string) bool { return false }
	}
	if o.Together == nil {
		o.Together = func() bool { return false }
	}
	if o.Walk.MaxBytes <= 0 {
		o.Walk.MaxBytes = o.MaxBytes / 8
	}
	if o.Walk.Background == nil {
		o.Walk.Background = func(ctx context.Context) context.Context { return ctx }
	}
	if o.Walk.Aside == nil {
		o.Walk.Aside = o.Walk.Background
	}
	// The budget is ours and counts bytes: the library's own limit, of items, is never reached.
	lru, err := simplelru.NewLRU[*node, struct{}](1<<31-1, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Cache{
		src: src, o: o, epoch: o.Now(),
		top: &node{}, lru: lru,
		flights: make(map[question]*flight), running: make(map[*flight]struct{}), batches: make(map[string][]*flight),
	}
}

// Close cancels what is under way and waits for its end. Questions asked later fail with KindClosed.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	for f := range c.running {
		f.cancel()
	}
	c.mu.Unlock()
	c.ended.Wait()
}

// Stats gives counters and gauges.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Bytes = c.bytes
	for _, n := range c.lru.Keys() {
		s.Entries += int64(len(n.recs))
		if n.ahead || n.renewal.unused {
			s.Unread += n.cost
		}
		if n.base != nil {
			s.Listings++
			s.Entries += int64(len(n.base.Entries))
		}
	}
	return s
}

// next gives the next number in the order of questions and changes.
func (c *Cache) nextLocked() uint64 {
	c.seq++
	return c.seq
}

// moment is a point in time on two clocks: the monotonic one stands still while the machine sleeps, the wall clock may be
// set. Age takes the larger difference, so neither makes anything look younger than it is.
type moment struct{ mono, wall int64 }

func (c *Cache) now() moment {
	t := c.o.Now()
	return moment{int64(t.Sub(c.epoch)), t.UnixNano()}
}

func (m moment) age(now moment) time.Duration {
	return time.Duration(max(now.mono-m.mono, now.wall-m.wall))
}

// split parts a path into the folder and the name in it. The root folder is the nameless entry of the folder "", which
// only the tree of nodes knows.
func split(path string) (dir, name string) {
	if path == "/" || path == "" {
		return "", ""
	}
	i := strings.LastIndexByte(path, '/')
	if i <= 0 {
		return "/", path[i+1:]
	}
	return path[:i], path[i+1:]
}

// join is the reverse of split.
func join(dir, name string) string {
	switch dir {
	case "":
		return "/"
	case "/":
		return "/" + name
	}
	return dir + "/" + name
}

func failure(op, path string, kind pool.Kind) error {
	return &pool.Error{Op: op, Path: path, Kind: kind}
}
