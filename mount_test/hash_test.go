//go:build linux

package mount_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestVerifyHash: where the server computes digests, verify=hash has one compared for every upload, in the same round trips
// as the rest.
func TestVerifyHash(t *testing.T) {
	hashing := func(c cell) bool { return anyServer(c) && (c.kind == lab.ProFTPD || c.kind == lab.Embedded) }
	inTurn(t, hashing, func(t *testing.T, c cell) {
		m := mountServer(t, c.start(t), "verify=hash")
		digests := func() (n int64) {
			s := m.status()
			for _, verb := range []string{"HASH", "XSHA256"} {
				n += int64(s[commands+verb])
			}
			return n
		}
		want := randomBytes(31, 3<<20)
		for _, tc := range []struct {
			what string
			do   func() error
		}{
			{"a small file", func() error { return os.WriteFile(m.path("small"), want[:100], 0o644) }},
			{"a streamed file", func() error { return os.WriteFile(m.path("f"), want, 0o644) }},
			{"a file written anew", func() error {
				want = randomBytes(32, 2<<20)
				return os.WriteFile(m.path("f"), want, 0o644)
			}},
			{"a change in the middle", func() error {
				f, err := os.OpenFile(m.path("f"), os.O_RDWR, 0)
				if err != nil {
					return err
				}
				defer f.Close()
				copy(want[1<<20:], "changed")
				if _, err := f.WriteAt([]byte("changed"), 1<<20); err != nil {
					return err
				}
				return f.Close()
			}},
		} {
			before := digests()
			must(t, tc.do())
			if digests() == before {
				t.Errorf("%s: the server was asked for no digest", tc.what)
			}
		}
		if got, err := os.ReadFile(m.server.Disk("f")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes on the server, %v", len(got), err)
		}
	})
}
