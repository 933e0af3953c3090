package content

import (
	"context"
	"sync/atomic"
)

// turn is the exclusive use of a File, from begin to end.
type turn struct {
	f    *File
	left bool // an operation that nobody waits for any more ends the turn
}

// begin waits for the exclusive use of f, after all operations that were begun before.
func (f *File) begin(ctx context.Context) (*turn, error) {
	if err := f.turns.Acquire(ctx, whole); err != nil {
		return nil, canceled(ctx)
	}
	return &turn{f: f}, nil
}

func (t *turn) end() {
	if t.left {
		return
	}
	defer t.f.turns.Release(whole)
	t.f.show()
}

// wait runs op, which uses the network, with the store's context. When ctx ends first, op goes on without its caller
// (bytes that others wrote may depend on it), the turn ends with it, and the caller must touch nothing of the File any more.
func (t *turn) wait(ctx context.Context, op func(context.Context) error) error {
	safe := func() (err error) {
		defer t.f.caught(&err)
		return op(t.f.s.ctx)
	}
	if ctx.Done() == nil {
		return safe()
	}
	const finished, abandoned = 1, 2
	var state atomic.Int32
	done := make(chan error, 1)
	run := func() {
		err := safe()
		if !state.CompareAndSwap(0, finished) {
			t.f.fault(nil, err)
			(&turn{f: t.f}).end()
		}
		done <- err
	}
	if !t.f.s.goes(run) {
		return safe()
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if state.CompareAndSwap(0, abandoned) {
		t.left = true
		return canceled(ctx)
	}
	return <-done
}

// caught makes an error of a panic of the function that defers it, which has an exclusive turn: a mistake with one file
// must not end the mount with what was written to all others. What the file holds is uncertain after it, so every flush
// fails until it is emptied or let go.
func (f *File) caught(err *error) {
	if p := recover(); p != nil {
		*err = f.s.panicked(f.path(), p)
		f.broken = *err
	}
}

// do runs op as the exclusive user of f.
func (f *File) do(ctx context.Context, op func(context.Context) error) error {
	t, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	return t.wait(ctx, op)
}
