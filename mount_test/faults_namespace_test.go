//go:build linux

package mount_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestUnmountWithACopyElsewhere: who makes a mount namespace of his own (a container, unshare -m) gets a copy of every mount,
// which keeps the kernel's side of ours alive. umount and SIGTERM come to an end all the same.
func TestUnmountWithACopyElsewhere(t *testing.T) {
	tool(t, "unshare")
	s := lab.Start(t, lab.Options{Kind: lab.Embedded})
	for name, end := range map[string]func(m *mnt){
		"umount":  (*mnt).unmount,
		"SIGTERM": func(m *mnt) { must(t, m.cmd.Process.Signal(syscall.SIGTERM)); m.awaitExit() },
	} {
		t.Run(name, func(t *testing.T) {
			m := mountServer(t, s)
			must(t, os.WriteFile(m.path(name), lines(100), 0o644))
			copied := exec.Command("unshare", "-m", "--propagation", "private", "cat") // lives as long as its input
			in, err := copied.StdinPipe()
			must(t, err)
			must(t, copied.Start())
			defer func() {
				in.Close()
				if err := copied.Wait(); err != nil {
					t.Error(err)
				}
			}()
			table := fmt.Sprintf("/proc/%d/mountinfo", copied.Process.Pid)
			ours, err := os.Readlink("/proc/self/ns/mnt")
			must(t, err)
			for deadline := time.Now().Add(mountTimeout); ; time.Sleep(10 * time.Millisecond) { // nothing tells when it is there
				if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", copied.Process.Pid)); err == nil && theirs != ours {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("there is no other mount namespace")
				}
			}
			if mounts, err := os.ReadFile(table); err != nil || !strings.Contains(string(mounts), m.dir+" ") {
				t.Fatalf("the mount was not copied: %v", err)
			}
			end(m)
			if got, err := os.ReadFile(s.Disk(name)); err != nil || len(got) != len(lines(100)) {
				t.Errorf("on the server: %d bytes, %v", len(got), err)
			}
		})
	}
}
