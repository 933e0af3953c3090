package reader

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// stalls makes each download stand still three times before it finds its rate, as ProFTPD's do on a line that holds packets back.
func stalls(srv *server) {
	carry := srv.before
	srv.before = func(d *download) {
		switch d.pos - d.o.Offset {
		case 0:
			time.Sleep(80 * time.Millisecond)
		case 2 * piece, 4 * piece, 8 * piece:
			time.Sleep(375 * time.Millisecond)
		}
		carry(d)
	}
}

// Where a stream stands still at its begin other flows are begun beside it at once, and segments are as long as the memory allows.
func TestStalledStream(t *testing.T) {
	for conns, least := range map[int]float64{4: 2.6, 8: 3.5} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(256 * mib)
			srv.conns = conns
			(&cable{flow: 6.25 * mb}).throttle(srv)
			stalls(srv)
			g := newRig(t, srv, 56*mib, exact(srv.size))
			start := time.Now()
			var begun time.Duration
			ratio := 0.0
			for off := int64(0); off < srv.size; off += 128 << 10 {
				g.read(off, 128<<10)
				if begun == 0 && len(srv.downloads()) > 1 {
					begun = time.Since(start)
				}
			}
			ratio = float64(srv.size) / 6.25 / mb / time.Since(start).Seconds()
			short := 0
			for _, o := range srv.opened[len(srv.opened)/2:] {
				if o.Length < 3*mib {
					short++
				}
			}
			if ratio < least || begun > time.Second || short > 0 || srv.bytes != srv.size {
				t.Errorf("%d connections: %.2f times one flow, others begun after %v, %d short segments of %d, %d bytes twice",
					conns, ratio, begun, short, len(srv.opened), srv.bytes-srv.size)
			}
		})
	}
}

// Where each stands still at random, some longer than others, none of it adds up: the memory is not full of what lies behind the slowest, and
// nothing is asked for twice.
func TestStreamsThatStallAtRandom(t *testing.T) {
	for conns, least := range map[int]float64{4: 2.05, 8: 2.9} {
		for seed := range uint64(2) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(256 * mib)
				srv.conns = conns
				(&cable{flow: 6.25 * mb}).throttle(srv)
				random := rand.New(rand.NewPCG(seed, 7))
				var mu sync.Mutex
				often := map[*download]int64{}
				carry := srv.before
				srv.before = func(d *download) {
					mu.Lock()
					n, ok := often[d]
					if !ok {
						n = []int64{2, 3, 3, 3, 3, 3, 4, 5}[random.IntN(8)]
						often[d] = n
					}
					mu.Unlock()
					if at := (d.pos - d.o.Offset) / piece; at&(at-1) == 0 && at > 1 && at < 2<<n { // at 2, 4, 8 and so on
						time.Sleep(375 * time.Millisecond)
					}
					carry(d)
				}
				g := newRig(t, srv, 56*mib, exact(srv.size))
				ratio := float64(srv.size) / 6.25 / mb / g.readAll().Seconds()
				if ratio < least || srv.bytes > srv.size+4*mib {
					t.Errorf("%d connections, seed %d: %.2f times one flow, %d bytes twice", conns, seed, ratio, srv.bytes-srv.size)
				}
			})
		}
	}
}

// Some of those that are begun beside a stream are up as soon as it, or before.
func TestStreamsThatComeUpTogether(t *testing.T) {
	for _, early := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(256 * mib)
			srv.conns = 8
			(&cable{flow: 6.25 * mb}).throttle(srv)
			carry := srv.before
			srv.before = func(d *download) {
				stalls := d.pos-d.o.Offset == 2*piece || d.pos-d.o.Offset == 4*piece
				late := d.o.Offset == 0 || len(srv.downloads()) > 1+early
				if stalls || late && d.pos-d.o.Offset == 8*piece {
					time.Sleep(375 * time.Millisecond)
				}
				carry(d)
			}
			g := newRig(t, srv, 56*mib, exact(srv.size))
			ratio := float64(srv.size) / 6.25 / mb / g.readAll().Seconds()
			if st := g.line.Stats(); ratio < 3.4 || st.Useless > 0 || srv.bytes != srv.size {
				t.Errorf("%d: %.2f times one flow, %d bytes twice, %+v", early, ratio, srv.bytes-srv.size, st)
			}
		})
	}
}

// What was learned of the line is used where the stream of the next file stands still.
func TestStalledStreamOfKnownLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := NewLine()
		var took [2]time.Duration
		for i := range took {
			srv := newServer(100 * mib)
			srv.conns = 8
			(&cable{flow: 6.25 * mb}).throttle(srv)
			stalls(srv)
			took[i] = newRig(t, srv, 56*mib, exact(srv.size), func(c *Config) { c.Line = line }).readAll()
		}
		if took[1] >= took[0] {
			t.Errorf("%v, then %v", took[0], took[1])
		}
	})
}

// A stream that stands still at its begin on a fast line, or on one that is full, goes on by itself.
func TestStallOnFastLine(t *testing.T) {
	for name, c := range map[string]*cable{"fast": {link: 200 * mb}, "full": {link: 4 * mb}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(64 * mib)
				srv.conns = 8
				c.throttle(srv)
				stalls(srv)
				g := newRig(t, srv, 56*mib, exact(srv.size))
				took, alone := g.readAll(), time.Duration(float64(srv.size)/c.link*float64(time.Second))
				if took > alone*11/10+1500*time.Millisecond || srv.bytes > srv.size+2*mib {
					t.Errorf("%v in place of %v, %d bytes twice, %+v", took, alone, srv.bytes-srv.size, g.line.Stats())
				}
			})
		})
	}
}

// A segment that stands still again and again, where others do not, is begun anew, once.
func TestSegmentThatStaysBehindIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(256 * mib)
		srv.conns = 8
		(&cable{flow: 6.25 * mb}).throttle(srv)
		stalls(srv)
		carry := srv.before
		var trapped atomic.Pointer[download]
		srv.before = func(d *download) {
			if d.o.Offset > 120*mib {
				trapped.CompareAndSwap(nil, d)
			}
			if trapped.Load() == d && (d.pos-d.o.Offset)%(8*piece) == 0 {
				time.Sleep(375 * time.Millisecond)
			}
			carry(d)
		}
		g := newRig(t, srv, 56*mib, exact(srv.size))
		ratio := float64(srv.size) / 6.25 / mb / g.readAll().Seconds()
		at, again := trapped.Load().o, 0
		for _, o := range srv.opened {
			if o.Offset > at.Offset && o.Offset < at.Offset+at.Length {
				again++
			}
		}
		if ratio < 2.2 || again != 1 || srv.bytes != srv.size {
			t.Errorf("%.2f times one flow, begun anew %d times, %d bytes twice", ratio, again, srv.bytes-srv.size)
		}
	})
}
