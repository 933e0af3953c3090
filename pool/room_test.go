package pool

import (
	"fmt"
	"testing"
)

// Work that nobody waits for takes all connections but one. A dialogue has that one; a reader and a writer who come then get
// theirs from it, one each (the writer of two connections from the reader), where nothing else would ever have ended.
func TestBackgroundMakesRoom(t *testing.T) {
	for most := 2; most <= 8; most++ {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			e := newEnv(t, conns(0, most))
			write(t, e, "big", big)
			for range most - 1 {
				f := &suspendable{e: e, background: true}
				if n, err := f.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				t.Cleanup(f.pressure)
			}
			if _, err := e.Stat(e.ctx, "/big"); err != nil {
				t.Error(err)
			}
			if s := e.Stats(); s.Pressures != 0 || s.Connections.Open != most {
				t.Errorf("a dialogue asked %d others for a connection, %+v", s.Pressures, s.Connections)
			}
			reader := &suspendable{e: e}
			if n, err := reader.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if err := storeBytes(e, "/new", []byte(big)); err != nil {
				t.Error(err)
			}
			if s := e.Stats(); s.Pressures != 2 {
				t.Errorf("%d were asked to make room, 2 needed it", s.Pressures)
			}
			reader.finish(t)
			if got, err := e.Stat(e.ctx, "/new"); err != nil || got.Size != int64(len(big)) {
				t.Errorf("written: %+v, %v", got, err)
			}
		})
	}
}

// finish reads the rest and compares it.
func (r *suspendable) finish(t *testing.T) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for r.off < int64(len(big)) {
		at := r.off
		n, err := r.Read(buf)
		if string(buf[:n]) != big[at:at+int64(n)] {
			t.Fatalf("wrong bytes at %d", at)
		}
		if err != nil && r.off < int64(len(big)) {
			t.Fatalf("at %d: %v", r.off, err)
		}
	}
	r.pressure()
}
