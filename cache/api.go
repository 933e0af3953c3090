package cache

import (
	"context"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Source answers what the cache does not know. *pool.Pool is one.
type Source interface {
	Stat(ctx context.Context, path string) (pool.Entry, error)
	StatMany(ctx context.Context, paths []string) ([]pool.StatResult, error)
	List(ctx context.Context, dir string) (*pool.Listing, error)
}

// Options of a cache. A zero TTL believes nothing longer than the call that asked.
type Options struct {
	AttrTTL, DirTTL, NegTTL time.Duration
	MaxBytes                int64                  // budget of remembered metadata, estimated; 0: 64 MiB
	Now                     func() time.Time       // nil: time.Now
	Hide                    func(name string) bool // names that no listing shows (our temporary files); nil: none
}

// The methods of Cache:
//
//	New(src Source, o Options) *Cache
//	Lookup(ctx, path) (pool.Entry, error)                 from a fresh listing, a fresh answer, an absence; else asks. KindNotFound when absent
//	LookupFresh(ctx, path, maxAge) (pool.Entry, error)    the same, believing nothing older than maxAge (O_EXCL: 1 s; open: AttrTTL)
//	Exact(ctx, path) (pool.Entry, error)                  as Lookup, with an exact time (asks for the whole folder's times in one flight where LIST gave rough ones)
//	List(ctx, dir) (*pool.Listing, error)                 shared, must not be changed by the caller
//	Peek(path) (e pool.Entry, fresh bool)                 never asks
//	Changed(path, e pool.Entry)                           our own change: this is the object now (creates it in its folder's listing too)
//	Removed(path)                                         our own change: absent now, with everything below it
//	Renamed(from, to)                                     our own change, with everything below it; what was at to is gone
//	Forget(path)                                          nothing is known of path any more (an operation failed half-way)
//	ForgetDir(dir)                                        the listing of dir and what it told is forgotten
//	Stats() Stats
//
// A listing or an answer that was on its way while one of our own changes was made never undoes that change.
