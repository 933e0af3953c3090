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

// TestCutUploadThatComesLate: the server carries out the command of a cut upload when the name is not needed any more. The file
// that this makes goes away, and nothing else does.
func TestCutUploadThatComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, quirks{})
		k.srv.put("/f", "the new content, under its name")
		name, err := k.s.newTemp(tempOp, "/f", "/", stage.Base{})
		if err != nil {
			t.Fatal(err)
		}
		d := k.s.newSender(name.path, nil, 0, false)
		d.temp = name
		d.fail()
		name.remove(t.Context())
		k.srv.put(name.path(), "")
		time.Sleep(2 * firstSweep)
		synctest.Wait()
		if n, left := k.s.Stats().Temps, k.srv.content(name.path()); n != 0 || left != "absent" {
			t.Errorf("%d temporary names are left; on the server %q", n, left)
		}
		if got := k.srv.content("/f"); got != "the new content, under its name" {
			t.Errorf("the file itself: %q", got)
		}
	})
}

// TestOnlyTheTemporaryNameIsLookedFor: a record that names files of the user, too, is not the order to remove them.
func TestOnlyTheTemporaryNameIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, quirks{})
		k.srv.put("/user", "content")
		name, err := k.s.newTemp(stage.OpReplace, "/f", "/", stage.Base{})
		if err != nil {
			t.Fatal(err)
		}
		own := name.path()
		if err := name.amend(func(r *stage.Record) { r.Temp, r.Aside, r.Step = "/user", own, stepHide }); err != nil {
			t.Fatal(err)
		}
		name.mayCome()
		name.over()
		k.srv.put(own, "late")
		time.Sleep(2 * firstSweep)
		synctest.Wait()
		if user, late := k.srv.content("/user"), k.srv.content(own); user != "content" || late != "absent" {
			t.Errorf("of the user: %q; what came late: %q", user, late)
		}
	})
}
