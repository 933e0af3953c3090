// Command ftpsfs mounts a folder of an FTPS server.
//
// This package is the outermost room: it reads the command line, finds the password, makes the process what it should be
// (background, foreground, under systemd or mount(8)) and puts the rooms below together. What they are is in
// docs/ARCHITECTURE.md; the command line is in docs/man/ftpsfs.1.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/daemon"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

func main() { os.Exit(run(os.Args)) }

// program is the process with what was inherited from the one before it.
type program struct {
	args     []string // with the name
	secrets  secrets
	scrubbed bool
	stdout   io.Writer
	stderr   io.Writer
}

// secrets are what Scrub moved out of the arguments and the environment.
type secrets struct {
	HasPass  bool   `json:"has_pass,omitempty"` // the URL had a password
	Password string `json:"password,omitempty"`
	Env      string `json:"env,omitempty"` // FTPSFS_PASSWORD
}

// command is a word that may come first.
type command struct {
	name string
	run  func(p *program, args []string) error
}

// commands is a function and not a variable, as help shows what is in it.
func commands() []command {
	return []command{
		{"mount", (*program).mountCommand}, {"umount", (*program).umountCommand}, {"unmount", (*program).umountCommand},
		{"status", (*program).statusCommand}, {"sync", (*program).syncCommand}, {"check", (*program).checkCommand},
		{"demo", (*program).demoCommand}, {"import", (*program).importCommand},
		{"version", (*program).versionCommand}, {"help", (*program).helpCommand},
	}
}

// run is the program; it gives the exit status.
func run(args []string) int {
	p := &program{args: args, stdout: os.Stdout, stderr: os.Stderr}
	err := p.start()
	var quiet quietError
	switch {
	case errors.As(err, &quiet):
	case errors.Is(err, options.ErrHelp):
		err = p.helpCommand(nil)
	case err != nil:
		fmt.Fprintf(p.stderr, "ftpsfs: %s\n", exitcode.OneLine(err.Error()))
	}
	return exitcode.Of(err)
}

// quietError carries an exit status where everything has been said already.
type quietError struct{ error }

func (e quietError) Unwrap() error { return e.error }

// start finds out what is asked for.
func (p *program) start() error {
	var err error
	if p.scrubbed, err = daemon.Scrubbed(&p.secrets); err != nil {
		return exitcode.NewSystem("the password was lost on the way", err, "")
	}
	if err := completeEnvironment(); err != nil {
		return err
	}
	name, args := filepath.Base(p.args[0]), p.args[1:]
	if strings.HasPrefix(name, "mount.") {
		return p.mountHelper(args)
	}
	switch {
	case len(args) == 0:
		fmt.Fprint(p.stderr, usage)
		return quietError{exitcode.NewUsage("nothing to do", "")}
	case slices.Contains([]string{"-V", "--version"}, args[0]):
		return p.versionCommand(nil)
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(p, args[1:])
		}
	}
	return p.mountCommand(args)
}

// completeEnvironment puts back what mount(8) takes away: fusermount3 is looked for in PATH, configuration, netrc and state
// below HOME.
func completeEnvironment() error {
	missing := map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if u, err := user.Current(); err == nil {
		missing["HOME"] = u.HomeDir
	}
	for name, value := range missing {
		if os.Getenv(name) == "" {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// interruptible is a context that ends at the first signal which asks the program to end.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}
