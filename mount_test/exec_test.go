//go:build linux

package mount_test

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestExecClosesNewFile: execve(2) closes descriptors while the kernel holds a lock of that process, and who reads the
// process's folder in /proc waits for it. A close of a new and still empty file must be answered all the same.
func TestExecClosesNewFile(t *testing.T) {
	m := mountServer(t, lab.Start(t, lab.Options{Kind: lab.Embedded}))
	f, err := os.OpenFile(m.path("new"), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 20 { // each child has the descriptor until its execve
		if out, err := output(exec.Command("/bin/true"), 10*time.Second); err != nil {
			t.Fatalf("a program started while a new file is open: %v\n%s", err, out)
		}
	}
}
