package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/control"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/daemon"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs/content"
)

// running is one mount from its first step to its last.
type running struct {
	rooms
	o        options.Options
	login    credential
	dir      string // the mount point's real name
	state    state.Dir
	log      *slog.Logger
	level    slog.LevelVar
	logFile  string // "" in the foreground
	since    time.Time
	warnings []string
	tell     func() // tells who started us that the mount works

	ready  atomic.Bool        // that was told, or is about to be
	up     atomic.Bool        // mounted: everything above is set and changes no more
	finish atomic.Bool        // unmounted or about to be
	stop   context.Context    // ends with the first signal, or when nobody waits for the mount any more
	end    context.CancelFunc // ends stop
}

// serve mounts, and returns when the mount is gone and everything is on the server. parent is nil in the foreground.
func serve(o options.Options, login credential, ask dialog, parent *daemon.Parent) error {
	r := &running{o: o, login: login, since: time.Now(), tell: func() {}}
	r.stop, r.end = context.WithCancel(context.Background())
	defer r.end()
	if err := daemon.Harden(); err != nil {
		ask.Warn("core dumps cannot be switched off: " + err.Error())
	}
	var err error
	if r.dir, err = mountpoint.Prepare(o.Mountpoint); err != nil {
		return err
	}
	if err := r.makeState(ask); err != nil {
		return err
	}
	closeLog, err := r.openLog(parent != nil)
	if err != nil {
		return err
	}
	defer closeLog()
	if parent != nil {
		if err := os.Chdir("/"); err != nil {
			return err
		}
		r.tell = parent.Ready
		go func() { // ends with the parent, which Ready ends at the latest
			<-parent.Gone()
			if !r.ready.Load() {
				r.end()
			}
		}()
	}
	if err = r.run(ask); err != nil && parent != nil {
		r.log.Error("ended", "err", err)
	}
	return err
}

// run is serve once the process is set up.
func (r *running) run(ask dialog) (err error) {
	r.watchSignals()
	limitMemory()
	for _, w := range r.warn() {
		ask.Warn(w)
		r.log.Warn(w)
	}
	var ctl *control.Server
	defer func() {
		if ctl != nil { // last: clients take its end for the end of the process
			defer ctl.Close()
		}
		if cerr := r.rooms.close(context.Background()); err == nil && cerr != nil {
			err = exitcode.NewMount("not everything could be put away", cerr, "")
		}
	}()
	if err := r.connect(r.stop, r.o, poolConfig(r.o, r.login, r.state, ask, r.log), r.state); err != nil {
		if r.stop.Err() != nil {
			return errInterrupted
		}
		return explain(r.o, err)
	}
	if err := r.mount(r.o, r.dir, r.log); err != nil {
		return exitcode.NewMount("the kernel refused the mount on "+r.o.Mountpoint, err, mountAdvice(err))
	}
	r.up.Store(true)
	if ctl, err = control.Listen(r.dir, r, r.log); err != nil {
		r.log.Warn("there is no control socket: status, sync and umount will not reach this mount", "err", err)
	}
	r.announce()
	if err := r.wait(); err != nil || r.ready.Load() {
		return err
	}
	return errInterrupted
}

var errInterrupted = exitcode.NewMount("interrupted", nil, "")

// announce tells the log, systemd and who started us that the mount works, unless he gave up.
func (r *running) announce() {
	if r.stop.Err() != nil {
		return
	}
	r.ready.Store(true)
	if !r.o.Debug {
		r.level.Set(slog.LevelInfo)
	}
	r.log.Info("mounted", "url", r.o.Target.String(), "on", r.dir, "user", r.login.User, "password_from", r.login.Source, "version", versionString())
	daemon.Notify("READY=1", fmt.Sprintf("MAINPID=%d", os.Getpid()), "STATUS="+r.o.Target.String()+" on "+r.dir)
	r.tell()
}

// wait returns when the mount is gone and drained.
func (r *running) wait() error {
	ended := make(chan struct{})
	go func() { // ends when the kernel's mount does
		r.server.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-r.stop.Done():
		r.terminate(ended)
	}
	r.finish.Store(true)
	daemon.Notify("STOPPING=1")
	if p := r.Pending(); len(p) > 0 {
		r.log.Info("unmounted, still sending", "files", len(p))
	}
	if err := r.server.Drain(context.Background()); err != nil {
		return exitcode.NewMount("not everything is on the server", err, r.leftover())
	}
	r.log.Info("ended, everything is on the server")
	return nil
}

// lettingGo is how long programs that use a mount which was taken from under them may go on.
const lettingGo = 2 * time.Second

// terminate answers the first signal: what was written goes to the server, then the mount goes away, used or not.
func (r *running) terminate(ended <-chan struct{}) {
	r.log.Info("asked to end: sending what is left; another signal ends at once")
	daemon.Notify("STOPPING=1")
	r.finish.Store(true)
	if err := r.server.Sync(context.Background()); err != nil {
		r.log.Error("not everything could be sent", "err", err)
	}
	if err := r.server.Unmount(); err != nil {
		r.log.Warn("the mount is in use and is taken away all the same", "users", mountpoint.Users(r.dir))
		if err := r.server.Detach(); err != nil {
			r.log.Error("unmounting", "err", err)
		}
	}
	timer := time.NewTimer(lettingGo)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}

// watchSignals: the first signal gives up connecting, or ends the mount in good order; the second ends the process.
func (r *running) watchSignals() {
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() { // lives as long as the process
		<-sigs
		r.end()
		<-sigs
		r.abandon()
	}()
}

// abandon ends the process at once and says what was left.
func (r *running) abandon() {
	line := "stopped at once"
	if r.up.Load() {
		if p := r.Pending(); len(p) > 0 {
			line += ", not on the server: " + describe(p) + "; " + r.leftover()
		}
	}
	r.log.Error(line)
	if r.logFile != "" {
		fmt.Fprintln(os.Stderr, "ftpsfs: "+line)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if r.up.Load() {
			_ = mountpoint.Unmount(r.dir, true) // the next mount on this folder does it otherwise
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
	os.Exit(exitcode.System)
}

// leftover says where to look for what did not reach the server.
func (r *running) leftover() string {
	if r.state == "" {
		return ""
	}
	return "what was staged is kept in " + string(r.state) + ", and the next mount of this URL looks after it"
}

// describe names pending files in one line.
func describe(list []content.Status) string {
	const most = 10
	var parts []string
	for i, s := range list {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(list)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (%s, %s)", exitcode.OneLine(s.Path), bytesText(s.Pending), s.State))
	}
	return strings.Join(parts, ", ")
}

// Pending implements control.Mount.
func (r *running) Pending() []content.Status { return r.content.Pending() }

// Sync implements control.Mount.
func (r *running) Sync(ctx context.Context) error {
	if err := r.server.Sync(ctx); err != nil {
		return exitcode.NewMount("not everything is on the server", err, "")
	}
	return nil
}

// Unmount implements control.Mount.
func (r *running) Unmount(ctx context.Context, lazy bool) error {
	if err := r.server.Sync(ctx); err != nil {
		return exitcode.NewMount("not everything is on the server, "+r.dir+" stays mounted", err, "look at `ftpsfs status "+r.dir+"`")
	}
	if lazy {
		return r.server.Detach()
	}
	err := r.server.Unmount()
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.EBUSY) || strings.Contains(err.Error(), "busy") { // the latter is fusermount3
		return inUse(r.dir, r.dir)
	}
	return exitcode.NewMount(r.dir+" cannot be unmounted", err, "")
}

var _ control.Mount = (*running)(nil)

// inUse is why dir, whose real name is real, stays mounted.
func inUse(dir, real string) error {
	todo := "end what uses it, or use -l"
	if users := mountpoint.Users(real); len(users) > 0 {
		todo = "end " + strings.Join(users, ", ") + ", or use -l"
	}
	return exitcode.NewMount(dir+" is in use", nil, todo)
}

// otherMemory is what the process may use next to file data, before the garbage collector works harder.
const otherMemory = 112 << 20

// limitMemory keeps the collector from letting the heap double before it looks. It is a soft limit.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(otherMemory)
	}
}
