package fs

import (
	"context"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Whoever changes the name of a file tells those who have it open, through its content. Between the look at the server and the
// open handle nobody is there to be told yet. So beginning to use a file pins its name, a change of the name waits for the
// pins, and pins wait for the change. Both may be held across the network; a pin is taken after moves.still, and no path is
// asked for with [node.own] while it is held.

// pin keeps the name of a file as it is until unpin. It does nothing for other nodes.
func (n *node) pin(ctx context.Context) error {
	for {
		n.file.mu.Lock()
		over := n.file.changing
		if over == nil {
			n.file.pins++
			n.file.mu.Unlock()
			return nil
		}
		n.file.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *node) unpin() {
	n.file.mu.Lock()
	defer n.file.mu.Unlock()
	n.file.pins--
	if n.file.pins == 0 && n.file.free != nil {
		close(n.file.free)
		n.file.free = nil
	}
}

// change says that the name of a file is about to change, or to go, until done is called. The caller holds the token of
// the folder. For nil, and for what is no file, there is nothing to say.
func (n *node) change(ctx context.Context) (done func(), err error) {
	if n == nil || n.kind != pool.TypeFile {
		return func() {}, nil
	}
	over := make(chan struct{})
	done = func() {
		n.file.mu.Lock()
		defer n.file.mu.Unlock()
		n.file.changing = nil
		close(over)
	}
	n.file.mu.Lock()
	n.file.changing = over
	var free chan struct{}
	if n.file.pins > 0 {
		free = make(chan struct{})
		n.file.free = free
	}
	n.file.mu.Unlock()
	if free == nil {
		return done, nil
	}
	select {
	case <-free:
		return done, nil
	case <-ctx.Done():
		done()
		return nil, ctx.Err()
	}
}

// settled waits until the name of a file is not being changed, and reports whether it had to.
func (n *node) settled(ctx context.Context) (waited bool, err error) {
	for {
		n.file.mu.Lock()
		over := n.file.changing
		n.file.mu.Unlock()
		if over == nil {
			return waited, nil
		}
		waited = true
		select {
		case <-over:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
}
