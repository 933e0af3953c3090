package reader

import (
	"testing"
	"testing/synctest"
	"time"
)

// The window grows where READs have to wait for the server, and is filled; where the reader is the slower one it stays as it was.
func TestWindow(t *testing.T) {
	const size, n = 160 * mib, 128 << 10
	for name, c := range map[string]struct {
		flow   float64 // bytes a second of the server
		pause  time.Duration
		window int64
	}{
		"server slower": {mb, 0, maxWindow},
		"reader slower": {100 * mb, 10 * time.Millisecond, minWindow},
	} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(size)
			(&cable{flow: c.flow}).throttle(srv)
			g := newRig(t, srv, 80*mib)
			off := int64(0)
			for ; off < size/2; off += n {
				g.read(off, n)
				time.Sleep(c.pause)
				srv.mu.Lock()
				if ahead := srv.bytes - off - n; ahead > c.window {
					t.Errorf("%s: %d bytes ahead of the reader", name, ahead)
				}
				srv.mu.Unlock()
			}
			g.mu.Lock()
			if g.window != c.window {
				t.Errorf("%s: a window of %d bytes", name, g.window)
			}
			g.mu.Unlock()
			time.Sleep(time.Minute) // it is filled; the clock of the rig is another one
			g.settle()
			if ahead := srv.bytes - off; ahead < c.window*3/4 || ahead > c.window {
				t.Errorf("%s: %d bytes ahead of a reader that stopped", name, ahead)
			}
			if len(srv.downloads()) != 1 {
				t.Errorf("%s: %d downloads", name, len(srv.downloads()))
			}
		})
	}
}
