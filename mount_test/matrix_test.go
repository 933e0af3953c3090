//go:build linux

package mount_test

import (
	"fmt"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// cell is one server in one configuration.
type cell struct {
	kind     lab.Kind
	implicit bool
	version  string // TLS
}

func (c cell) String() string {
	start := "explicit"
	if c.implicit {
		start = "implicit"
	}
	return fmt.Sprintf("%s-%s-tls%s", c.kind, start, c.version)
}

// matrix is every configuration that the tests promise to serve. Pure-FTPd has no implicit TLS.
var matrix = []cell{
	{lab.Embedded, false, "1.2"}, {lab.Embedded, false, "1.3"}, {lab.Embedded, true, "1.2"}, {lab.Embedded, true, "1.3"},
	{lab.VSFTPD, false, "1.2"}, {lab.VSFTPD, false, "1.3"}, {lab.VSFTPD, true, "1.2"}, {lab.VSFTPD, true, "1.3"},
	{lab.ProFTPD, false, "1.2"}, {lab.ProFTPD, false, "1.3"}, {lab.ProFTPD, true, "1.2"}, {lab.ProFTPD, true, "1.3"},
	{lab.PureFTPd, false, "1.2"}, {lab.PureFTPd, false, "1.3"},
}

// TestMatrixIsWhole holds the table against what the servers can do.
func TestMatrixIsWhole(t *testing.T) {
	in := map[cell]bool{}
	for _, c := range matrix {
		if in[c] {
			t.Errorf("%v is listed twice", c)
		}
		in[c] = true
	}
	for _, kind := range append([]lab.Kind{lab.Embedded}, lab.Real...) {
		for _, implicit := range []bool{false, true} {
			for _, version := range []string{"1.2", "1.3"} {
				c := cell{kind, implicit, version}
				if want := !implicit || lab.HasImplicit(kind); in[c] != want {
					t.Errorf("%v: listed %v, want %v", c, in[c], want)
				}
			}
		}
	}
}

// anyServer, realServers and all choose cells.
func anyServer(c cell) bool   { return !c.implicit && c.version == "1.3" }
func realServers(c cell) bool { return anyServer(c) && c.kind != lab.Embedded }
func bothVersions(c cell) bool {
	return !c.implicit && c.kind != lab.Embedded
}
func all(cell) bool { return true }

// inTurn runs f as a subtest for every chosen cell, with nothing beside it. Whoever counts what the mount does for an
// open file needs that: each program that the test starts closes inherited descriptors, and the mount hears of it.
func inTurn(t *testing.T, chosen func(cell) bool, f func(t *testing.T, c cell)) {
	t.Helper()
	for _, c := range matrix {
		if chosen(c) {
			t.Run(c.String(), func(t *testing.T) { f(t, c) })
		}
	}
}

// each runs f as a parallel subtest for every chosen cell.
func each(t *testing.T, chosen func(cell) bool, f func(t *testing.T, c cell)) {
	t.Helper()
	for _, c := range matrix {
		if chosen(c) {
			t.Run(c.String(), func(t *testing.T) {
				t.Parallel()
				f(t, c)
			})
		}
	}
}

// start runs the cell's server.
func (c cell) start(t testing.TB, extra ...string) *lab.Server {
	t.Helper()
	return lab.Start(t, lab.Options{Kind: c.kind, Implicit: c.implicit, Version: c.version, Extra: extra})
}
