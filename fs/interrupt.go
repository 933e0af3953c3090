package fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The kernel interrupts a request at most once, for any signal to the calling thread, also for one that the program will
// not notice (Go's runtime sends itself SIGURG all the time). A program that gets EINTR it never asked for is broken; a
// program that cannot be killed is a nuisance. So an interrupt only starts a look at the caller, repeated until
// the operation ends: with a deadly signal pending it is let go with EINTR, otherwise it waits on. The operation
// itself always runs to its end, and what it changed is accounted for.

const (
	// lookAgain is how often an interrupted caller is looked at.
	lookAgain = 100 * time.Millisecond
	// lookAnyway is when a caller is looked at that was not interrupted: a program that dies of a signal closes its files
	// on the way out, and those requests are not interrupted any more.
	lookAnyway = 500 * time.Millisecond
)

// errKilled is what a wait gives when its caller has a deadly signal pending.
var errKilled = fmt.Errorf("the caller was killed: %w", syscall.EINTR)

// callerOf gives the thread that made the request, 0 when it is not known (a request of the kernel itself, or a caller in
// a PID namespace that we do not see).
func callerOf(ctx context.Context) uint32 {
	if c, ok := ctx.(*fuse.Context); ok {
		return c.Pid
	}
	return 0
}

// run performs op for the caller of a request. op gets a context that outlives the request and ends with the mount;
// run returns when op has, or with EINTR when the caller was killed. In the latter case drop gets op's result later, if
// it was a success: there is nobody to hand it to. drop may be nil. A panic in op is logged and gives EIO.
func run[T any](s *Server, ctx context.Context, op func(context.Context) (T, error), drop func(T)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = s.panicked(p)
			}
			done <- r
		}()
		r.v, r.err = op(s.ctx)
	}()
	var zero T
	late := time.NewTimer(lookAnyway)
	defer late.Stop()
	select {
	case r := <-done:
		return r.v, noEINTR(r.err)
	case <-ctx.Done():
	case <-late.C:
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		if s.killed(callerOf(ctx)) {
			s.abandoned.Add(1)
			s.running.Add(1)
			go func() {
				defer s.running.Done()
				defer s.abandoned.Add(-1)
				if r := <-done; r.err != nil {
					s.log.Debug("an operation of a killed caller failed", "err", r.err)
				} else if drop != nil {
					drop(r.v)
				}
			}()
			return zero, errKilled
		}
		select {
		case r := <-done:
			return r.v, noEINTR(r.err)
		case <-look.C:
		}
	}
}

// do is run for operations without a result.
func (s *Server) do(ctx context.Context, op func(context.Context) error) error {
	_, err := run(s, ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, op(ctx) }, nil)
	return err
}

// noEINTR keeps a cancellation that was not the caller's from being taken for a signal: only the end of the mount
// cancels operations.
func noEINTR(err error) error {
	if err == nil || toErrno(err) != syscall.EINTR {
		return err
	}
	return fmt.Errorf("%w: %v", syscall.EIO, err)
}

// panicked logs a panic with its stack and gives the error that the caller sees.
func (s *Server) panicked(p any) error {
	s.log.Error("panic, the mount lives on", "panic", p, "stack", string(debug.Stack()))
	return fmt.Errorf("%w: panic: %v", syscall.EIO, p)
}

// patience is the context of operations that use the caller's buffer and must be over when the request is answered
// (reads and writes): it is done when the caller was killed, not when it was merely interrupted. Nothing runs
// until somebody waits for it.
type patience struct {
	context.Context // the request's
	srv             *Server

	mu      sync.Mutex
	killed  chan struct{} // guarded by mu until made; closed when the caller was killed
	stopped chan struct{} // closed by stop
	err     error         // guarded by mu
}

// patient makes the context. stop must be called before the request is answered.
func (s *Server) patient(ctx context.Context) (p *patience, stop func()) {
	p = &patience{Context: ctx, srv: s}
	return p, p.stop
}

// Done starts to watch the caller.
func (p *patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed == nil {
		p.killed, p.stopped = make(chan struct{}), make(chan struct{})
		go p.watch(p.Context.Done(), callerOf(p.Context), p.stopped)
	}
	return p.killed
}

// Err tells context.Canceled once the caller was killed.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *patience) watch(interrupted <-chan struct{}, tid uint32, stopped <-chan struct{}) {
	select {
	case <-interrupted:
	case <-p.srv.ctx.Done():
		p.cancel()
		return
	case <-stopped:
		return
	}
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for !p.srv.killed(tid) {
		select {
		case <-look.C:
		case <-p.srv.ctx.Done():
			p.cancel()
			return
		case <-stopped:
			return
		}
	}
	p.cancel()
}

func (p *patience) cancel() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = context.Canceled
		close(p.killed)
	}
}

func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		close(p.stopped)
		p.stopped = nil
	}
}

// verdict corrects the error of an operation that ran under p: EINTR only for a caller that was killed.
func (p *patience) verdict(err error) error {
	if err == nil || errors.Is(err, syscall.EINTR) {
		return err
	}
	if p.Err() != nil && p.srv.ctx.Err() == nil {
		return errKilled
	}
	return noEINTR(err)
}

// Signals by number as Linux has them on every architecture that Go runs on, MIPS aside (there SIGEMT moves two of them, and
// the worst that happens is that a caller waits on).
const (
	sigKill = 9
	// coreSignals end a program with a core dump unless it handles them. The kernel marks a thread with SIGKILL for
	// every other deadly signal at once, for these only when the thread looks at them itself.
	coreSignals = 1<<(3-1) | 1<<(4-1) | 1<<(5-1) | 1<<(6-1) | 1<<(7-1) | 1<<(8-1) | 1<<(11-1) | 1<<(24-1) | 1<<(25-1) | 1<<(31-1)
)

// deadlyPending reads /proc/TID/status (proc_pid_status(5)) and reports whether a signal is pending that ends the
// program before it can see the answer to its request.
func deadlyPending(status []byte) bool {
	var pending, shared, blocked, ignored, caught uint64
	for line := range bytes.Lines(status) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		var set *uint64
		switch string(name) {
		case "SigPnd":
			set = &pending
		case "ShdPnd":
			set = &shared
		case "SigBlk":
			set = &blocked
		case "SigIgn":
			set = &ignored
		case "SigCgt":
			set = &caught
		default:
			continue
		}
		v, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 16, 64)
		if err != nil {
			return false
		}
		*set = v
	}
	pending |= shared
	return pending&(1<<(sigKill-1)) != 0 || pending&coreSignals&^(blocked|ignored|caught) != 0
}

// killedBySignal reads /proc/TID/stat (proc_pid_stat(5)) and reports whether the thread is on its way out because of a
// signal: then nobody will look at what it is told.
func killedBySignal(stat []byte) bool {
	// The second field is the command in parentheses, which may hold anything.
	i := bytes.LastIndexByte(stat, ')')
	if i < 0 {
		return false
	}
	fields := bytes.Fields(stat[i+1:])
	const flagsField, exitField, exiting = 9 - 3, 52 - 3, 0x4
	if len(fields) <= exitField {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[flagsField]), 10, 64)
	if err != nil || flags&exiting == 0 {
		return false
	}
	code, err := strconv.ParseUint(string(fields[exitField]), 10, 64)
	return err == nil && code&0x7f != 0
}
