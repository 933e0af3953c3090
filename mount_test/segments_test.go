//go:build linux

package mount_test

import (
	"fmt"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// TestSegments reads large files over a line that caps each connection. That several are used is seen by the counter, that
// they bring the right bytes by comparison; how much faster it is, `make bench` tells (FTPSFS_BENCH_FLOW).
func TestSegments(t *testing.T) {
	inTurn(t, realServers, func(t *testing.T, c cell) {
		const (
			size  = 12 << 20
			tries = 8 // on a machine that has no time to read, the line is not the limit
		)
		server := c.start(t)
		for i := range tries {
			makeFile(t, server.Disk(fmt.Sprint("f", i)), uint64(i), size)
		}
		r := relay.Start(t, relay.Options{Target: server.Host, Port: server.Port, PassiveLow: server.PassiveLow, PassiveHigh: server.PassiveHigh})
		r.SetFlowRate(2 << 20)
		m := mountURL(t, server, server.URLVia(r.Host))
		for i := range tries {
			must(t, sameFile(m.path(fmt.Sprint("f", i)), server.Disk(fmt.Sprint("f", i))))
			if m.number(m.status(), "fs.content.line.segments") > 0 {
				return
			}
		}
		t.Errorf("%d files by one connection each", tries)
	})
}
