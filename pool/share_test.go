package pool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

func oneConnection(c *Config) { c.MaxConns = 1 }

// removeAll removes files at once and gives what came of each.
func removeAll(e *env, names []string) []error {
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = e.Remove(e.ctx, name) })
	}
	all.Wait()
	return errs
}

// together makes the server answer none of its first n removals before it has got all of them. then says what it does with each,
// counted from 1.
func together(f *fake, n int, then func(c *fakeConn, nth int, name string) (answered bool)) {
	var seen atomic.Int64
	f.script(func(c *fakeConn, verb, arg string) bool {
		if verb != "DELE" {
			return false
		}
		nth := int(seen.Add(1))
		if nth == 1 {
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := c.br.Peek((n - 1) * len("DELE /f1\r\n")); err != nil {
				c.f.t.Errorf("waiting for all commands before the first is answered: %v", err)
			}
			_ = c.SetReadDeadline(time.Time{})
		}
		return then(c, nth, arg)
	})
}

func fakeFiles(f *fake, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("/f%d", i))
		f.put(names[i], "content")
	}
	return names
}

// Changes of several callers are on their way together where there is one connection for all of them, and each has its own answer.
func TestChangesShareAConnection(t *testing.T) {
	f := newFake(t)
	names := fakeFiles(f, 8)
	f.mu.Lock()
	delete(f.files, "/f5")
	f.mu.Unlock()
	together(f, len(names), func(*fakeConn, int, string) bool { return false })
	e := connectFake(t, f, oneConnection)
	for i, err := range removeAll(e, names) {
		if _, there := f.file(names[i]); there {
			t.Errorf("%s is there", names[i])
		}
		if names[i] == "/f5" {
			wantKind(t, "of a file that is not there", err, KindNotFound)
		} else if err != nil {
			t.Error(err)
		}
	}
	if n := e.Stats().Shared; n != int64(len(names)-1) {
		t.Errorf("%d were sent behind others", n)
	}
}

// Where the connection is lost under them, who was answered has his answer, and what became of the others is looked at for each.
func TestSharedConnectionIsLost(t *testing.T) {
	f := newFake(t)
	names := fakeFiles(f, 8)
	const answered, done = 3, 5 // of those done two are not answered
	together(f, len(names), func(c *fakeConn, nth int, name string) bool {
		switch {
		case nth <= answered || nth > len(names):
			return false
		case nth <= done:
			f.mu.Lock()
			delete(f.files, name)
			f.mu.Unlock()
		default:
			c.Conn.Close()
		}
		return true
	})
	e := connectFake(t, f, oneConnection)
	for i, err := range removeAll(e, names) {
		if err != nil {
			t.Errorf("%s: %v", names[i], err)
		}
		if _, there := f.file(names[i]); there {
			t.Errorf("%s is there", names[i])
		}
	}
	if n := f.sent("DELE"); n != len(names)+len(names)-done { // what had happened is not repeated
		t.Errorf("%d removals for %d files: %q", n, len(names), f.lines())
	}
}

// A server that takes its time for each of many changes is waited for as long as it gets on with them.
func TestSlowAnswersToSharers(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	names := fakeFiles(f, 4)
	together(f, len(names), func(*fakeConn, int, string) bool {
		time.Sleep(1500 * time.Millisecond)
		return false
	})
	e := connectFake(t, f, oneConnection, func(c *Config) { c.Timeout = 4 * time.Second })
	if err := errors.Join(removeAll(e, names)...); err != nil {
		t.Error(err)
	}
	if n := f.sent("DELE"); n != len(names) {
		t.Errorf("%d removals", n)
	}
}

// Who needs a connection for himself has it when those who share it now have their answers: nobody joins them meanwhile.
func TestSharersDoNotKeepTheOnlyConnection(t *testing.T) {
	f := newFake(t)
	fakeFiles(f, 2)
	var first sync.Once
	asked, answer := make(chan struct{}), make(chan struct{})
	f.script(func(c *fakeConn, verb, _ string) bool {
		if verb == "DELE" {
			first.Do(func() { close(asked); <-answer })
		}
		return false
	})
	e := connectFake(t, f, oneConnection)
	var all sync.WaitGroup
	all.Go(func() {
		if err := e.Remove(e.ctx, "/f0"); err != nil {
			t.Error(err)
		}
	})
	<-asked
	before := f.lines()
	all.Go(func() {
		if _, err := e.List(e.ctx, "/"); err != nil {
			t.Error(err)
		}
	})
	eventually(t, e, func(s Stats) bool { return s.Waiting == 1 })
	all.Go(func() {
		if err := e.Remove(e.ctx, "/f1"); err != nil {
			t.Error(err)
		}
	})
	eventually(t, e, func(s Stats) bool { return s.Waiting == 2 })
	close(answer)
	all.Wait()
	listed := false
	for _, line := range f.lines()[len(before):] {
		switch {
		case line == "DELE /f1" && !listed:
			t.Error("the second removal went before the listing")
		case len(line) >= 4 && line[:4] == "MLSD":
			listed = true
		}
	}
	if !listed {
		t.Error("nothing was listed")
	}
}

// The real servers do what many callers send on one connection, each in its own folder.
func TestManyCallersOnOneConnection(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			e := newReal(t, lab.Options{Kind: kind, Version: "1.3"}, conns(0, 1))
			var all sync.WaitGroup
			for i := range 8 {
				dir := fmt.Sprintf("/d%d", i)
				all.Go(func() {
					for n := range 10 {
						if err := e.livesOnce(dir, n); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			left, err := filepath.Glob(filepath.Join(e.root, "d*", "*"))
			if err != nil || len(left) != 8 {
				t.Errorf("left: %v, %v", left, err)
			}
			if n := e.Stats().Shared; n == 0 {
				t.Error("nobody shared the connection")
			}
		})
	}
}

// livesOnce makes, changes, renames and removes in a folder, and asks for refusals between.
func (e *env) livesOnce(dir string, n int) error {
	if err := e.Mkdir(e.ctx, dir); n == 0 && err != nil || n > 0 && KindOf(err) != KindExists {
		return fmt.Errorf("the folder: %w", err)
	}
	sub, moved := fmt.Sprintf("%s/s%d", dir, n), fmt.Sprintf("%s/m%d", dir, n)
	mode := uint32(0o700)
	err := errors.Join(e.Mkdir(e.ctx, sub), e.SetAttrs(e.ctx, sub, true, Attrs{Mode: &mode}), e.Rename(e.ctx, sub, moved))
	if err != nil {
		return err
	}
	if kind := KindOf(e.Rmdir(e.ctx, sub)); kind != KindNotFound {
		return fmt.Errorf("%s is still there: %v", sub, kind)
	}
	fi, err := os.Stat(filepath.Join(e.root, moved))
	if err != nil || fi.Mode().Perm() != os.FileMode(mode) {
		return fmt.Errorf("%v, %w", fi, err)
	}
	if n == 9 {
		return nil
	}
	return e.Rmdir(e.ctx, moved)
}
