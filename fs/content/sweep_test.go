package content

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ftpsfs/ftpsfs/fs/stage"
)

// TestLeftNamesAreSweptLater: a temporary name that could not be removed, the server being away for two tries, is removed
// without anybody asking for it.
func TestLeftNamesAreSweptLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, quirks{})
		name, err := k.s.newTemp(stage.OpUpload, "/f", "/", stage.Base{})
		if err != nil {
			t.Fatal(err)
		}
		k.srv.put(name.path(), "half of it")
		k.srv.set(func(q *quirks) { q.broken = true })
		name.remove(t.Context())
		time.Sleep(firstSweep + time.Second)
		synctest.Wait()
		if n := k.s.Stats().Temps; n != 1 {
			t.Errorf("%d temporary names while the server is away, want 1", n)
		}
		k.srv.set(func(q *quirks) { q.broken = false })
		time.Sleep(2 * firstSweep)
		synctest.Wait()
		if n, left := k.s.Stats().Temps, k.srv.content(name.path()); n != 0 || left != "absent" {
			t.Errorf("%d temporary names with the server back; on the server %q", n, left)
		}
	})
}
