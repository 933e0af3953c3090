package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/credentials"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/daemon"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/sites"
)

// hello is what the parent tells the child in the background, apart from the command line.
type hello struct {
	Login credential `json:"login"`
}

// credential is credentials.Found as it travels: there a Secret hides itself.
type credential struct {
	User        string `json:"user"`
	Password    string `json:"password"`
	HasPassword bool   `json:"has_password"`
	Account     string `json:"account,omitempty"`
	Source      string `json:"source"`
}

// dialog is how a mount that is being made talks to its user.
type dialog interface {
	Ask(ctx context.Context, question string, secret bool) (string, error)
	Warn(line string)
}

// mountCommand is `ftpsfs [mount] ...`.
func (p *program) mountCommand(args []string) error {
	if len(args) == 0 {
		return options.ErrHelp
	}
	o, err := options.ParseMount(args, sites.Default())
	if err != nil {
		return err
	}
	return p.mount(o)
}

// mountHelper is mount.ftpsfs, called by mount(8).
func (p *program) mountHelper(args []string) error {
	o, err := options.ParseMountHelper(args, sites.Default())
	if err != nil {
		return err
	}
	if o.Namespace != "" && os.Getenv(envEntered) == "" {
		if err := os.Setenv(envEntered, o.Namespace); err != nil {
			return err
		}
		err := daemon.EnterNamespace(o.Namespace, p.args)
		return exitcode.NewSystem("the mount namespace "+o.Namespace+" cannot be entered", err, "only root may")
	}
	return p.mount(o)
}

// envEntered tells the program that it is in the mount namespace already.
const envEntered = "_FTPSFS_NAMESPACE"

// mount does what the process's part in a mount is: the one that the user started, or the one in the background.
func (p *program) mount(o options.Options) error {
	if err := p.scrub(&o); err != nil {
		return err
	}
	var h hello
	parent, err := daemon.FromParent(&h)
	if err != nil {
		return exitcode.NewSystem("the background process got no instructions", err, "")
	}
	if parent != nil {
		return p.background(o, h, parent)
	}
	if err := precheck(&o); err != nil || o.Fake {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	tty, term := terminal(o.Askpass)
	if tty != nil {
		defer tty.Close()
	}
	login, err := p.login(ctx, o, term)
	if err != nil {
		return err
	}
	if o.Foreground {
		cancel() // from here on signals are the mount's to answer
		return serve(o, login, console{term, p.stderr}, nil)
	}
	child := daemon.Child{Args: p.args, Env: os.Environ(), Hello: hello{Login: login}, Stderr: p.stderr}
	if term != nil {
		child.Terminal = term
	}
	if err := child.Start(ctx); err != nil {
		return err
	}
	if o.Verbose {
		fmt.Fprintf(p.stdout, "%s mounted on %s\n", o.Target, o.Mountpoint)
	}
	return nil
}

// scrub starts the program again when its arguments or its environment hold a password, and takes over what was passed on.
func (p *program) scrub(o *options.Options) error {
	env := os.Getenv(credentials.EnvPassword)
	if !o.Target.HasPass && env == "" {
		if p.secrets.HasPass {
			o.Target.Password, o.Target.HasPass = options.Secret(p.secrets.Password), true
		}
		return nil
	}
	if o.Target.HasPass {
		fmt.Fprintln(p.stderr, "ftpsfs: warning: a password in the URL can be seen by other users while ftpsfs starts, and stays in the shell's history; better use -o password_file=FILE")
	}
	args := slices.Clone(p.args)
	for i, a := range args {
		args[i] = options.WithoutPassword(a)
	}
	err := daemon.Scrub(args, []string{credentials.EnvPassword}, secrets{o.Target.HasPass, string(o.Target.Password), env})
	return exitcode.NewSystem("the password cannot be hidden from the process list", err, "use -o password_file=FILE")
}

// precheck finds what is wrong on this machine before anybody is asked for a password.
func precheck(o *options.Options) error {
	if err := checkFiles(o); err != nil {
		return err
	}
	if err := mountpoint.Usable(o.AllowOther); err != nil {
		return err
	}
	_, err := mountpoint.Prepare(o.Mountpoint)
	return err
}

// checkFiles finds files that options name and that are not there.
func checkFiles(o *options.Options) error {
	for _, f := range []struct{ option, name string }{
		{"cacert", o.Trust.CACert}, {"cert", o.Trust.CertFile}, {"key", o.Trust.KeyFile}, {"askpass", o.Askpass},
	} {
		if f.name == "" {
			continue
		}
		if file, err := os.Open(f.name); err != nil {
			return exitcode.NewUsage(fmt.Sprintf("option %s: %v", f.option, err), "")
		} else {
			file.Close()
		}
	}
	return nil
}

// login finds the password.
func (p *program) login(ctx context.Context, o options.Options, term credentials.Terminal) (credential, error) {
	t := o.Target
	f, err := credentials.Find(ctx, credentials.Request{
		Host: t.Host, Port: t.Port, User: t.User, Password: t.Password, HasPass: t.HasPass,
		PasswordFile: o.PasswordFile, Askpass: o.Askpass, Netrc: o.Netrc,
		EnvPassword: options.Secret(p.secrets.Env), Getenv: os.Getenv, Keyring: credentials.Desktop{}, Terminal: term,
		Certificate: o.Trust.CertFile != "",
	})
	return credential{User: f.User, Password: string(f.Password), HasPassword: f.HasPassword, Account: f.Account, Source: f.Source}, err
}

// terminal is whom to ask: the controlling terminal (for the caller to close), or a program where there is none.
func terminal(askpass string) (*credentials.TTY, credentials.Terminal) {
	if tty := credentials.OpenTTY(); tty != nil {
		return tty, tty
	}
	if askpass != "" {
		return nil, credentials.Askpass{Program: askpass}
	}
	return nil, nil
}

// console is the dialog of a process in the foreground.
type console struct {
	term   credentials.Terminal
	stderr io.Writer
}

func (c console) Ask(ctx context.Context, question string, secret bool) (string, error) {
	if c.term == nil {
		return "", fmt.Errorf("there is no terminal to ask on")
	}
	return c.term.Ask(ctx, question, secret)
}

func (c console) Warn(line string) {
	fmt.Fprintln(c.stderr, "ftpsfs: warning: "+exitcode.OneLine(line))
}

// background is the child's part.
func (p *program) background(o options.Options, h hello, parent *daemon.Parent) error {
	err := serve(o, h.Login, remoteConsole{parent}, parent)
	if err != nil {
		// The parent is gone when the mount was ready before; then the log has it.
		parent.Fail(err.Error(), exitcode.Of(err))
		return quietError{err}
	}
	return nil
}

// remoteConsole is the dialog of a process in the background, through its parent.
type remoteConsole struct{ *daemon.Parent }

func (c remoteConsole) Warn(line string) { c.Parent.Warn("ftpsfs: warning: " + line) }
