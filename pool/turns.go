package pool

import (
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// earlyAfter is how far the questions stay behind the last byte of an upload to a server that reads commands at any time. It has
// stored a small file in less; if not, or if packets of the data channel are late, it answers during the transfer, and nothing was won.
const earlyAfter = 3 * time.Millisecond

// portAfter is how long after our end of a listing's data channel the next one is asked for: by then the server is through with a
// folder that is not large. See earlyAfter.
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
