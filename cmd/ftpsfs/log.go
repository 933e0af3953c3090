package main

import (
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"path/filepath"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/daemon"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
)

// logLimit is how large a log grows before it is begun anew; the one before it is kept.
const logLimit = 4 << 20

// makeState makes the state folder. Without one only a read-only mount works, as nothing could be staged.
func (r *running) makeState(ask dialog) error {
	dir := state.Dir(r.o.StateDir)
	if dir == "" {
		dir = state.Default(os.Getenv, os.Geteuid())
	}
	real := string(dir)
	for p := real; p != "" && p != "/"; p = filepath.Dir(p) { // the part of it that exists
		if resolved, err := filepath.EvalSymlinks(p); err == nil {
			rest, _ := filepath.Rel(p, real)
			real = filepath.Join(resolved, rest)
			break
		}
	}
	if dir != "" && mountpoint.Inside(real, r.dir) {
		return exitcode.NewUsage("state_dir "+string(dir)+" lies inside the mount point", "name another folder with -o state_dir=DIR")
	}
	err := dir.Make()
	switch {
	case err == nil:
		r.state = dir
	case r.o.ReadOnly:
		ask.Warn("there is no state folder, nothing will be remembered of the server: " + err.Error())
	default:
		return exitcode.NewMount("the state folder cannot be used", err, "name one that can be written with -o state_dir=DIR, or mount with -o ro")
	}
	return nil
}

// openLog begins logging: to standard error in the foreground, to a file and (warnings) to syslog in the background.
func (r *running) openLog(background bool) (func(), error) {
	level := slog.LevelInfo
	if r.o.Debug {
		level = slog.LevelDebug
	}
	r.level.Set(level)
	opts := &slog.HandlerOptions{Level: &r.level}
	if !background {
		// What goes wrong before the mount works is told in one line at the end.
		if !r.o.Debug {
			r.level.Set(slog.LevelError)
		}
		r.log = slog.New(slog.NewTextHandler(os.Stderr, opts))
		return func() {}, nil
	}
	var handlers []slog.Handler
	var closers []io.Closer
	if r.state != "" {
		r.logFile = r.state.Log(r.dir)
		f, err := daemon.OpenLog(r.logFile, logLimit, daemon.RedirectStderr)
		if err != nil {
			return nil, exitcode.NewMount("the log cannot be written", err, "")
		}
		handlers, closers = append(handlers, slog.NewTextHandler(f, opts)), append(closers, f)
	}
	if w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_WARNING, "ftpsfs"); err == nil {
		handlers = append(handlers, slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: withoutTime}))
		closers = append(closers, w)
	}
	r.log = slog.New(slog.NewMultiHandler(handlers...))
	return func() {
		for _, c := range closers {
			c.Close()
		}
	}, nil
}

// withoutTime leaves out what syslog adds itself.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}

// warn says in words what about this mount is weaker than it could be; status repeats it.
func (r *running) warn() []string {
	var w []string
	if r.o.Trust.Insecure {
		w = append(w, "insecure_skip_verify: the server's certificate is NOT checked; anybody on the way can read and change everything, the password included")
	}
	if r.o.ProtClear {
		w = append(w, "prot=C: the contents of files and listings travel in clear")
	}
	if r.o.CCC {
		w = append(w, "ccc: after the login commands and file names travel in clear")
	}
	if e := (options.Emulate{Mode: r.o.Emulate.Mode, ModTime: r.o.Emulate.ModTime}); e.Keeps() {
		w = append(w, "emulate="+e.String()+": what the server cannot set is kept on this machine only, other hosts do not see it")
	}
	if r.o.Emulate.Allocate {
		w = append(w, "emulate=fallocate: fallocate(2) succeeds, but no space is reserved on the server; a later write can still find none")
	}
	r.warnings = w
	return w
}
