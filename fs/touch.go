package fs

import (
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// touch is the time that a change made through the mount gave a folder. It is told instead of the server's own as long as
// what the server told may be older than the change, which rsync(1) depends on: it sets a folder's time, fills the
// folder, and looks whether it has to set the time again. Afterwards it is told as long as the server's can be that
// of the same change: tar(1) takes a folder whose time turns by a second, or to the full minute, for one that was changed.
type touch struct {
	mu     sync.Mutex
	at     time.Time // whole seconds by our clock; zero: no change, or undone by utimes(2)
	server time.Time // what the server told of the change; zero: not known yet
}

const (
	// clocks is how far behind ours the server's stamp of a change may be: it comes before the answer.
	clocks = 2 * time.Second
	// lines is the same where times are from lines of LIST, which have minutes.
	lines = clocks + time.Minute
)

// now notes a change.
func (c *touch) now(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.server = t.Truncate(time.Second), time.Time{}
}

// undo forgets the change: the folder was given another time.
func (c *touch) undo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Time{}
}

// over gives a folder as the server told of it with the time to be shown. old is how old, at most, that is.
func (c *touch) over(e pool.Entry, t time.Time, old time.Duration) pool.Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.at.IsZero():
		return e
	case t.Sub(c.at) > old+time.Second: // the server knew of the change when it told e
		if !c.same(e) {
			c.at = time.Time{}
			return e
		}
		c.server = e.ModTime
	case e.ModTime.After(c.at):
		return e
	}
	e.ModTime = c.at
	return e
}

// same reports whether the server's time can be that of the change, and no later one. mu is held.
func (c *touch) same(e pool.Entry) bool {
	behind := c.at.Sub(e.ModTime)
	return behind >= 0 && (behind <= clocks || !e.Exact && behind <= lines) && (c.server.IsZero() || c.server.Equal(e.ModTime))
}
