//go:build linux

package mount_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// TestReadPatterns counts what reads cost that follow a pattern, and that those without one bring nothing but what they ask for.
// The line has a round trip, so that reading ahead is worth something; nothing is timed.
func TestReadPatterns(t *testing.T) {
	const (
		size  = 64 << 20
		ahead = "fs.content.line.ahead"
		in    = "pool.bytes_in"
	)
	inTurn(t, realServers, func(t *testing.T, c cell) {
		server := c.start(t)
		makeFile(t, server.Disk("f"), 5, size)
		content, err := os.ReadFile(server.Disk("f"))
		must(t, err)
		r := relay.Start(t, relay.Options{Target: server.Host, Port: server.Port, PassiveLow: server.PassiveLow, PassiveHigh: server.PassiveHigh})
		r.SetRTT(10 * time.Millisecond)
		m := mountURL(t, server, server.URLVia(r.Host))
		// Each row reads places that no row before it has read: the kernel has their pages.
		for _, row := range []struct {
			name        string
			from, step  int64 // step 0: at random, each in a block of its own
			n, reads    int
			waits       int64 // at most; two or more for each read where nothing is fetched ahead
			bytes       int64 // from the server, at most
			patternless bool
		}{
			{"at random", 0, 0, 4 << 10, 60, 4 * 60, 60 * 8 << 10, true},
			{"backwards", 40 << 20, -64 << 10, 64 << 10, 256, 160, 16<<20 + 12<<20, false},
			{"in steps", 63<<20 + 40<<10, -3 << 19, 16 << 10, 40, 70, 60 * 20 << 10, false},
		} {
			t.Run(row.name, func(t *testing.T) {
				blocks := rand.New(rand.NewPCG(5, 5)).Perm(size >> 18)
				before := m.status()
				f, err := os.Open(m.path("f"))
				must(t, err)
				defer f.Close()
				p := make([]byte, row.n)
				for i := range row.reads {
					off := row.from + int64(i)*row.step
					if row.step == 0 {
						off = int64(blocks[i])<<18 + int64(i)<<12
					}
					_, err := f.ReadAt(p, off)
					must(t, err)
					if !bytes.Equal(p, content[off:off+int64(row.n)]) {
						t.Fatalf("wrong bytes at %d", off)
					}
				}
				must(t, f.Close())
				after := m.status()
				spent := func(name string) int64 { return m.number(after, name) - m.number(before, name) }
				t.Logf("%d round trips, %d bytes, %d fetched ahead", spent(waits), spent(in), spent(ahead))
				if spent(waits) > row.waits || spent(in) > row.bytes || (spent(ahead) == 0) != row.patternless {
					t.Errorf("%d round trips, %d allowed; %d bytes, %d allowed; %d fetched ahead:\n%s",
						spent(waits), row.waits, spent(in), row.bytes, spent(ahead), after.since(before))
				}
			})
		}
	})
}
