package fs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/pool"
)

func procStatus(pending, shared, blocked, ignored, caught uint64) []byte {
	return fmt.Appendf(nil, "Name:\tcat\nTgid:\t12\nSigQ:\t0/7\nSigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\nCapInh:\t0\n",
		pending, shared, blocked, ignored, caught)
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }

func TestDeadlyPending(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status []byte
		want   bool
	}{
		{"nothing", procStatus(0, 0, 0, 0, 0), false},
		{"kill", procStatus(bit(syscall.SIGKILL), 0, 0, 0, 0), true},
		{"kill of the process", procStatus(0, bit(syscall.SIGKILL), 0, 0, 0), true},
		{"a Go program preempts itself", procStatus(bit(syscall.SIGURG), 0, 0, 0, bit(syscall.SIGURG)), false},
		{"a handled interrupt", procStatus(0, bit(syscall.SIGINT), 0, 0, bit(syscall.SIGINT)), false},
		{"quit by default dumps core", procStatus(0, bit(syscall.SIGQUIT), 0, 0, 0), true},
		{"a handled quit", procStatus(0, bit(syscall.SIGQUIT), 0, 0, bit(syscall.SIGQUIT)), false},
		{"a blocked quit", procStatus(0, bit(syscall.SIGQUIT), bit(syscall.SIGQUIT), 0, 0), false},
		{"an ignored quit", procStatus(bit(syscall.SIGQUIT), 0, 0, bit(syscall.SIGQUIT), 0), false},
		{"window change", procStatus(0, bit(28), 0, 0, 0), false},
		{"garbage", []byte("SigPnd:\tzz\nShdPnd\n"), false},
		{"empty", nil, false},
	} {
		if got := deadlyPending(tc.status); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestKilledBySignal(t *testing.T) {
	stat := func(comm string, flags, exit uint64) []byte {
		fields := make([]string, 50)
		for i := range fields {
			fields[i] = "0"
		}
		fields[0], fields[6], fields[49] = "D", fmt.Sprint(flags), fmt.Sprint(exit)
		return []byte("77 (" + comm + ") " + strings.Join(fields, " ") + "\n")
	}
	for _, tc := range []struct {
		name string
		stat []byte
		want bool
	}{
		{"running", stat("cp", 0x400000, 0), false},
		{"exits with an error", stat("cp", 0x400004, 1<<8), false},
		{"exits in peace", stat("cp", 0x400004, 0), false},
		{"dies of SIGKILL", stat("cp", 0x400004, 9), true},
		{"dies with a core", stat("cp", 0x400004, 0x80|6), true},
		{"a name with parentheses", stat("a) R 1 (b", 0x400004, 9), true},
		{"short", []byte("77 (cp) D 1 2"), false},
		{"empty", nil, false},
	} {
		if got := killedBySignal(tc.stat); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestOwnStatusIsRead(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no /proc on this system")
	}
	if callerKilled(uint32(os.Getpid())) {
		t.Error("the test's own process is not being killed")
	}
}

// interrupted is a request whose caller got a signal.
func interrupted() context.Context {
	c := make(chan struct{})
	close(c)
	return &fuse.Context{Caller: fuse.Caller{Pid: 4711}, Cancel: c}
}

func quiet() context.Context { return &fuse.Context{Caller: fuse.Caller{Pid: 4711}} }

func TestRunWaitsOnForAHarmlessSignal(t *testing.T) {
	s := newTestServer(t)
	looks, release := make(chan struct{}, 100), make(chan struct{})
	s.killed = func(tid uint32) bool {
		if tid != 4711 {
			t.Errorf("looked at %d", tid)
		}
		looks <- struct{}{}
		return false
	}
	go func() { // lets the operation end after the second look
		<-looks
		<-looks
		close(release)
	}()
	v, err := run(s, interrupted(), func(context.Context) (int, error) { <-release; return 7, nil }, nil)
	if v != 7 || err != nil {
		t.Errorf("%d %v, want 7", v, err)
	}
}

func TestRunLetsAKilledCallerGo(t *testing.T) {
	s := newTestServer(t)
	s.killed = func(uint32) bool { return true }
	release, dropped := make(chan struct{}), make(chan int, 1)
	_, err := run(s, interrupted(), func(ctx context.Context) (int, error) {
		<-release
		return 7, ctx.Err()
	}, func(v int) { dropped <- v })
	if toErrno(err) != syscall.EINTR {
		t.Fatalf("%v, want EINTR", err)
	}
	if got := s.Status().Abandoned; got != 1 {
		t.Errorf("abandoned %d, want 1", got)
	}
	close(release)
	if v := <-dropped; v != 7 {
		t.Errorf("the result went lost: %d", v)
	}
	s.running.Wait()
	if got := s.Status().Abandoned; got != 0 {
		t.Errorf("abandoned %d, want 0", got)
	}
}

func TestRunGivesNoEINTRThatNobodyAskedFor(t *testing.T) {
	s := newTestServer(t)
	err := s.do(quiet(), func(context.Context) error { return &pool.Error{Kind: pool.KindCanceled} })
	if toErrno(err) != syscall.EIO {
		t.Errorf("%v, want EIO", toErrno(err))
	}
}

func TestRunSurvivesAPanic(t *testing.T) {
	s := newTestServer(t)
	err := s.do(quiet(), func(context.Context) error { panic("boom") })
	if toErrno(err) != syscall.EIO {
		t.Errorf("%v, want EIO", err)
	}
}

func TestPatience(t *testing.T) {
	s := newTestServer(t)
	var dying atomic.Bool
	looked := make(chan struct{}, 100)
	s.killed = func(uint32) bool { looked <- struct{}{}; return dying.Load() }
	p, stop := s.patient(interrupted())
	defer stop()
	done := p.Done()
	<-looked
	if p.Err() != nil || p.verdict(errors.New("x")).Error() != "x" {
		t.Error("an interrupted caller that is not dying must wait")
	}
	dying.Store(true)
	<-done
	if !errors.Is(p.Err(), context.Canceled) {
		t.Errorf("%v", p.Err())
	}
	if got := toErrno(p.verdict(&pool.Error{Kind: pool.KindCanceled})); got != syscall.EINTR {
		t.Errorf("%v, want EINTR", got)
	}
}
