//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestQuota: a server that says that the account's quota is used up. The writer gets EDQUOT, the old content stays, and the
// mount goes on.
func TestQuota(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.PureFTPd, Extra: []string{"--quota", "100:3"}}) // files:MiB
	m := mountServer(t, s)
	old := randomBytes(1, 1<<20)
	must(t, os.WriteFile(m.path("f"), old, 0o644))
	for _, name := range []string{"new", "f"} {
		if err := os.WriteFile(m.path(name), randomBytes(2, 4<<20), 0o644); !errors.Is(err, syscall.EDQUOT) {
			t.Errorf("%s: 4 MiB where 3 are allowed: %v", name, err)
		}
	}
	if got, err := os.ReadFile(s.Disk("f")); err != nil || !bytes.Equal(got, old) {
		t.Errorf("the old content: %d bytes, %v", len(got), err)
	}
	must(t, os.WriteFile(m.path("small"), []byte("goes on"), 0o644))
	if got, err := os.ReadFile(s.Disk("small")); err != nil || string(got) != "goes on" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
