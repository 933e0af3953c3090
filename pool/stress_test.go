package pool

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Many callers, few connections, and a network that fails again and again: nothing is lost that was acknowledged, nothing
// hangs, and in the end nobody holds anything.
func TestStress(t *testing.T) {
	e := newEnv(t, conns(0, 3))
	write(t, e, "big", big)
	var g errgroup.Group
	for w := range 6 {
		g.Go(func() error {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 25 {
				name := fmt.Sprintf("/w%d-%d", w, i)
				content := bytes.Repeat([]byte{byte(w)}, rnd.IntN(200_000))
				if err := roundTrip(e, name, content, rnd); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return nil
		})
	}
	for range 15 {
		if err := readSome(e, "/big", 100_000); err != nil {
			t.Logf("reader: %v", err) // a cut in the middle is its caller's business
		}
		e.srv.Cut()
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	eventually(t, e, func(s Stats) bool { return s.Connections.Busy == 0 && s.Waiting == 0 })
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held != [lanes]int{} || e.pressed != 0 || e.serviced != 0 || e.dialing != 0 {
		t.Errorf("left: held %v, pressed %d, serviced %d, dialing %d", e.held, e.pressed, e.serviced, e.dialing)
	}
}

// roundTrip writes, verifies and removes a file, as often as the network makes it necessary.
func roundTrip(e *env, name string, content []byte, rnd *rand.Rand) error {
	for try := 0; ; try++ {
		err := storeBytes(e, name, content)
		if err == nil {
			break
		}
		if k := KindOf(err); try == 20 || k != KindNetwork && k != KindIncomplete && k != KindTimeout {
			return err
		}
	}
	st, err := e.Stat(e.ctx, name)
	if err != nil || st.Size != int64(len(content)) {
		return fmt.Errorf("acknowledged, and then %+v, %w", st, err)
	}
	if rnd.IntN(2) == 0 {
		if err := e.Rename(e.ctx, name, name+"r"); err != nil {
			return err
		}
		name += "r"
	}
	return e.Remove(e.ctx, name)
}

func storeBytes(e *env, name string, content []byte) error {
	u, err := e.Upload(e.ctx, name, UploadOptions{})
	if err != nil {
		return err
	}
	if _, err := u.Write(content); err != nil {
		u.Abort()
		return err
	}
	_, err = u.Finish(e.ctx, Finish{Size: int64(len(content))})
	return err
}

func readSome(e *env, name string, n int64) error {
	d, err := e.Download(e.ctx, name, DownloadOptions{Length: -1, Size: int64(len(big))})
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.CopyN(io.Discard, d, n)
	return err
}
