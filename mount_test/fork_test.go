//go:build linux

package mount_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestStartedPrograms: a program that is started while a file is rewritten closes the descriptor that it inherits, of which
// the mount hears. That is not the end of the rewriting. A look at the caller may take too long on a loaded machine, and
// then the mount is on the safe side: so a few publications are let pass, where it used to be one for each program.
func TestStartedPrograms(t *testing.T) {
	inTurn(t, anyServer, func(t *testing.T, c cell) {
		m := mountServer(t, c.start(t))
		const pieces = 12
		for range 1500 { // as a server has that starts programs
			other, err := os.Open(os.DevNull)
			must(t, err)
			defer other.Close()
		}
		old, want := randomBytes(1, 2_000_000), randomBytes(2, pieces*100_000)
		must(t, os.WriteFile(m.path("f"), old, 0o644))
		f, err := os.OpenFile(m.path("f"), os.O_WRONLY|os.O_TRUNC, 0)
		must(t, err)
		early := m.spent("fs.content.uploads", func() {
			for i := range pieces {
				_, err := f.Write(want[i*100_000 : (i+1)*100_000])
				must(t, err)
				must(t, exec.Command("true").Run())
			}
		})
		if early > pieces/3 {
			t.Errorf("%d uploads were ended by %d started programs", early, pieces)
		}
		must(t, f.Close())
		if got, err := os.ReadFile(m.server.Disk("f")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the server, %v", len(got), err)
		}
	})
}

// TestProgramsInTurn: programs that write one after the other through one inherited descriptor. What each of them wrote is on the
// server when it has ended. Where files can be continued nothing is sent twice for that; where none can, a server gets the
// whole file for each of them, and no more.
func TestProgramsInTurn(t *testing.T) {
	run := func(t *testing.T, s *lab.Server, limit int64) {
		m := mountServer(t, s)
		const piece, programs = 10_000, 10
		script := `for i in 1 2 3 4 5 6 7 8 9 10; do head -c 10000 "$2"; stat -c %s "$3" >&2; done > "$1"`
		source := filepath.Join(t.TempDir(), "source")
		must(t, os.WriteFile(source, randomBytes(5, piece), 0o600))
		n := m.spent(sent, func() {
			out, err := output(exec.Command("sh", "-c", script, "sh", m.path("f"), source, s.Disk("f")), time.Minute)
			must(t, err)
			for i, size := range strings.Fields(out) {
				if size != strconv.Itoa((i+1)*piece) {
					t.Errorf("after program %d the server has %s bytes", i+1, size)
				}
			}
			if len(strings.Fields(out)) != programs {
				t.Errorf("%q", out)
			}
		})
		want := bytes.Repeat(randomBytes(5, piece), programs)
		if got, err := os.ReadFile(s.Disk("f")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the server, %v", len(got), err)
		}
		if n > limit*piece+1000 { // a little goes to find out what the server can
			t.Errorf("%d bytes sent for %d", n, len(want))
		}
	}
	each(t, realServers, func(t *testing.T, c cell) { run(t, c.start(t), 10) })
	t.Run("proftpd-restricted", func(t *testing.T) {
		t.Parallel()
		run(t, cell{lab.ProFTPD, false, "1.3"}.start(t, restricted...), 1+2+3+4+5+6+7+8+9+10)
	})
}
