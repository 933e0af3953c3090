package pool

import (
	"fmt"
	"testing"
	"time"
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

// Where no caller has come for half a second, it takes that one as well. The first who comes then has it from the transfer that was begun
// last, and those that come soon after find it free.
func TestBackgroundTakesAllWhenQuiet(t *testing.T) {
	e := newEnv(t, conns(0, 4))
	called := func(at time.Time) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.called = at
	}
	write(t, e, "big", big)
	if _, err := e.Stat(e.ctx, "/big"); err != nil {
		t.Fatal(err)
	}
	var all []*suspendable
	begin := func() {
		t.Helper()
		f := &suspendable{e: e, background: true}
		if n, err := f.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		t.Cleanup(f.pressure)
		all = append(all, f)
	}
	for range 3 {
		begin()
	}
	called(time.Now().Add(-quiet))
	begin()
	if s := e.Stats(); s.Pressures != 0 || s.Connections.Open != 4 {
		t.Fatalf("%d pressures, %+v", s.Pressures, s.Connections)
	}
	for range 2 {
		if _, err := e.Stat(e.ctx, "/big"); err != nil {
			t.Fatal(err)
		}
	}
	if s := e.Stats(); s.Pressures != 1 {
		t.Errorf("%d were asked to make room for two questions, one after the other", s.Pressures)
	}
	for i, f := range all {
		f.mu.Lock()
		if gone := f.d == nil; gone != (i == 3) {
			t.Errorf("transfer %d of 4 was cut: %v", i+1, gone)
		}
		f.mu.Unlock()
	}
	called(time.Now().Add(time.Hour))
	late := &suspendable{e: e, background: true}
	t.Cleanup(late.pressure)
	done := make(chan error, 1)
	go func() { _, err := late.Read(make([]byte, 1)); done <- err }()
	eventually(t, e, func(Stats) bool { return queued(e.Pool) == 1 })
	called(time.Now().Add(-quiet))
	e.poke()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func queued(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
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
