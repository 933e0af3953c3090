package content

import (
	"context"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Truncate is ftruncate(2) and truncate(2). Without an open handle for writing it returns when the server has the
// result; with one, the next flush of it brings it there.
func (f *File) Truncate(ctx context.Context, size int64) error {
	if f.s.cfg.ReadOnly {
		return opError("truncate", f.path(), pool.KindReadOnly, nil)
	}
	if err := f.truncateTurn(ctx, size); err != nil {
		return err
	}
	if f.writers() > 0 {
		return nil
	}
	return f.do(ctx, func(ctx context.Context) error {
		err := f.push(ctx, nothingToCome)
		switch {
		case f.gone || f.writers() > 0:
		case err == nil:
			f.unstage()
		default: // it failed: the file is what it was
			if f.stg != nil {
				f.dropStage()
			}
			f.revert()
		}
		return err
	})
}

func (f *File) truncateTurn(ctx context.Context, size int64) error {
	t, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	return t.wait(ctx, func(ctx context.Context) error {
		err := f.truncate(ctx, size)
		if err == nil {
			f.touched()
		}
		return err
	})
}

func (f *File) truncate(ctx context.Context, size int64) error {
	switch {
	case size == 0:
		return f.empty(ctx)
	case f.broken != nil:
		return f.broken
	case size == f.size:
		return nil
	case f.stg == nil && f.truncateLinear(size):
		return nil
	}
	if f.stg == nil {
		if err := f.toStaged(ctx); err != nil {
			return err
		}
	}
	if err := f.stg.Truncate(size); err != nil {
		return err
	}
	f.size = size
	f.kept = min(f.kept, size)
	return nil
}

// truncateLinear does what can be done in the part that was not sent.
func (f *File) truncateLinear(size int64) bool {
	f.openWindow()
	start, _ := f.win.bounds()
	switch {
	case size > f.size:
		if f.gone || size-f.size > maxGap || f.size-f.sent > sendAt {
			return false
		}
		for f.size < size {
			n := f.win.append(make([]byte, size-f.size))
			f.size += int64(n)
			if n == 0 {
				return false // the staging file takes the rest
			}
		}
		return true
	case size >= f.sent && size >= start:
	case start == 0 && f.size <= blocks.ChunkSize && f.canRestart():
		if f.snd != nil {
			f.snd.suspend(f.s.ctx)
		}
		f.target()
	default:
		return false
	}
	f.size = size
	f.win.truncate(size)
	return true
}

// empty drops all content: what comes now starts from the first byte.
func (f *File) empty(ctx context.Context) error {
	if f.snd != nil {
		f.snd.suspend(ctx) // a second STOR may have to wait for the first one's end
	}
	if f.stg != nil {
		f.dropStage()
	}
	f.size, f.broken, f.torn, f.restarts, f.reads = 0, nil, nil, 0, 0
	if f.win != nil {
		f.win.reset(0)
	}
	f.target()
	return nil
}
