package cache

import (
	"context"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Source answers what the cache does not know. *pool.Pool is one. Its methods are called from goroutines of the cache,
// many at a time, and end when their context does.
type Source interface {
	Stat(ctx context.Context, path string) (pool.Entry, error)
	StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error)
	List(ctx context.Context, dir string) (*pool.Listing, error)
}

// Options of a cache. A zero TTL believes nothing longer than the call that asked.
type Options struct {
	// AttrTTL is for what is known of a file, DirTTL for which names a folder has, NegTTL for absences.
	AttrTTL, DirTTL, NegTTL time.Duration
	MaxBytes                int64                  // budget of remembered metadata, estimated; 0: 64 MiB
	Now                     func() time.Time       // nil: time.Now
	Hide                    func(name string) bool // names that no listing shows (our temporary files); nil: none
	Walk                    WalkOptions            // listing ahead of a walk, and of absences
	// Together tells whether the source answers for a name and its folder in the time that it takes for the name. It is
	// called under the cache's lock. nil: it does not.
	Together func() bool
}

// WalkOptions say how much is listed ahead of somebody who lists folder after folder (find, du, rsync, ls -R).
type WalkOptions struct {
	Parallel int   // most listings under way ahead of the walker; 0: none at all
	MaxBytes int64 // most bytes of listings that nobody asked for yet; 0: an eighth of Options.MaxBytes
	// Background marks the context of a listing that nobody waits for; nil: left unmarked. A source should refuse such a
	// question at once where it would have to queue or keep others waiting: a caller who meanwhile waits for the answer
	// asks again without the mark.
	Background func(context.Context) context.Context
	// Aside is Background for a listing that nobody is going to wait for before it is there, beside a program that goes on
	// asking: it should take nothing away from that. nil: Background.
	Aside func(context.Context) context.Context
	// AtHand marks the context of a listing that begins at once or fails, and tells whether it can begin, beside a question about
	// one name. nil: it never can.
	AtHand func(context.Context) (marked context.Context, now bool)
	// Wanted is told, of such a context, that a caller has come to wait for the answer; nil: nobody is told. It must not block.
	Wanted func(context.Context)
}

// Stats are counters since the start and, for the first three and the last, what is there now.
type Stats struct {
	Entries          int64 `json:"entries"`            // names known, absent ones included
	Listings         int64 `json:"listings"`           // folders whose listing is known
	Bytes            int64 `json:"bytes"`              // estimated memory of all that
	Hits             int64 `json:"hits"`               // answers given without asking
	Misses           int64 `json:"misses"`             // answers that had to be asked for
	NegativeHits     int64 `json:"negative_hits"`      // hits that said: absent
	Evictions        int64 `json:"evictions"`          // folders forgotten for lack of room
	Prefetched       int64 `json:"prefetched"`         // listings made ahead of a walk, or of absences
	PrefetchedInVain int64 `json:"prefetched_in_vain"` // of these, forgotten without use
	BytesInVain      int64 `json:"bytes_in_vain"`      // that listings made ahead took on the line, of those forgotten without use
	Unread           int64 `json:"unread"`             // gauge: the same, of those that nobody asked for yet
}
