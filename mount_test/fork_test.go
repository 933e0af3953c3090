//go:build linux

package mount_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// TestStartedPrograms: a program that is started while a file is rewritten closes the descriptor that it inherits, of which
// the mount hears. That is not the end of the rewriting. A look at the caller may take too long on a loaded machine, and
// then the mount is on the safe side: so a few publications are let pass, where it used to be one for each program.
func TestStartedPrograms(t *testing.T) {
	inTurn(t, anyServer, func(t *testing.T, c cell) {
		m := mountServer(t, c.start(t))
		const pieces = 12
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
