package pool

import (
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// earlyAfter is how far the questions stay behind the last byte of an upload to a server that reads commands at any time. It has
// stored a small file in less; if not, or if packets of the data channel are late, it answers during the transfer, and nothing was won.
const earlyAfter = 3 * time.Millisecond

// portAfter is how long after our end of the data channel of a listing, or of a small file, the next one is asked for: by then the server is
// through with a folder that is not large. See earlyAfter.
const portAfter = 5 * time.Millisecond

// turns counts transfers with commands sent ahead of their end, and those where some were not answered in turn. Nothing is lost there,
// but nothing is won either.
type turns struct{ kept, missed atomic.Int64 }

// badTurns is how many are too many, if they are also more than the others.
const badTurns = 4

func (t *turns) bad() bool {
	missed := t.missed.Load()
	return missed >= badTurns && missed > t.kept.Load()
}

func (t *turns) note(d *session.Data) {
	switch {
	case !d.Asked():
	case d.OutOfTurn():
		t.missed.Add(1)
	default:
		t.kept.Add(1)
	}
}

// earlyMost is the largest download whose end goes ahead of it. A server is through with it when all of it lies in its socket's send queue,
// whatever of that we have acknowledged: ProFTPD on Linux with up to 64 KiB, not with 128 KiB; other systems' queues begin with 32 KiB, in which
// TLS (tickets, records) has its part.
const earlyMost = 30 << 10

// endings counts downloads in a row that broke with our end of the data channel ahead, while their control connections lived on.
type endings struct{ broken atomic.Int32 }

func (e *endings) came(early bool) {
	if early {
		e.broken.Store(0)
	}
}

func (e *endings) broke(early bool, c *conn) {
	if early && c.s.Poisoned() == nil {
		e.broken.Add(1)
	}
}

// endsEarly says whether our end of the data channel goes ahead of the n bytes of a download, and the request for the next port behind it:
// for the servers that it was measured with, which are those whose listings are read so.
func (p *Pool) endsEarly(n int64) bool {
	s := p.server()
	return n > 0 && n <= earlyMost && s.proftpd && s.linksLie && !p.cfg.Session.Active &&
		p.finsFailed.Load() < maxFINsFailed && p.endings.broken.Load() < maxFINsFailed && !p.fileTurns.bad()
}
