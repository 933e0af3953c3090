package fs

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/ftpsfs/ftpsfs/cache"
)

// moves keeps folders where they are while an operation uses a path. An operation is a matter of two or three round trips, in
// which a path must not come to mean something else; a folder that is renamed takes everything below it along. So the rename of a
// folder waits for the operations that were begun before it, and those that come later wait for it. Renames of files
// and the content of open files are no part of this: the folder's token and the content's own order see to those.
type moves struct {
	sem *semaphore.Weighted
}

// everybody is more than there can be operations.
const everybody = 1 << 30

func newMoves() moves { return moves{semaphore.NewWeighted(everybody)} }

// still waits until no folder is being renamed and keeps it so until done. It may be held across the network and is taken
// before a folder's token.
func (m moves) still(ctx context.Context) error { return m.sem.Acquire(ctx, 1) }

func (m moves) done() { m.sem.Release(1) }

// move waits until nobody uses a path and keeps it so until moved.
func (m moves) move(ctx context.Context) error { return m.sem.Acquire(ctx, everybody) }

func (m moves) moved() { m.sem.Release(everybody) }

// ask puts a question about the path that place gives; the caller of the request waits killably. A folder above may be renamed
// while the answer is on its way: then an absence is about a path that means nothing any more, and the question is put
// again.
func ask[T any](s *Server, ctx context.Context, place func(context.Context) (string, error), question func(context.Context, string) (T, error)) (T, error) {
	caller := callerOf(ctx)
	return run(s, ctx, func(ctx context.Context) (T, error) {
		ctx = cache.By(ctx, caller)
		for {
			path, err := place(ctx)
			if err != nil {
				var zero T
				return zero, err
			}
			v, err := question(ctx, path)
			if !notFound(err) || s.moves.still(ctx) != nil {
				return v, err
			}
			now, _ := place(ctx)
			s.moves.done()
			if now == path {
				return v, err
			}
		}
	}, nil)
}
