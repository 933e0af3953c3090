package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/daemon"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/sites"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// checkCommand is `ftpsfs check [-o OPTIONS] [--json] [--try] URL`.
func (p *program) checkCommand(args []string) error {
	o, how, err := options.ParseCheck(args, sites.Default())
	if err != nil {
		return err
	}
	if err := p.scrub(&o); err != nil {
		return err
	}
	if err := checkFiles(&o); err != nil {
		return err
	}
	if err := daemon.Harden(); err != nil {
		fmt.Fprintln(p.stderr, "ftpsfs: warning: core dumps cannot be switched off:", err)
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
	level := slog.LevelError // what goes wrong is told in one line at the end
	if o.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	dir := state.Dir(o.StateDir)
	if dir == "" {
		dir = state.Default(os.Getenv, os.Geteuid())
	}
	if dir.Make() != nil {
		dir = "" // a check needs no state; with it, it knows what mounts know
	}
	remote, err := pool.New(poolConfig(o, login, dir, console{term, p.stderr}, log))
	if err != nil {
		return explain(o, err)
	}
	defer remote.Close()
	report, err := remote.Check(ctx, pool.CheckOptions{Try: how.Try, Temp: tempOwner(dir, log)})
	if err == nil {
		err = mountpoint.Usable(o.AllowOther)
	} else {
		err = explain(o, err)
	}
	return p.showReport(o, login, report, err, how.JSON)
}

// tempOwner tells temporary files of mounts apart by what is in the state folder.
func tempOwner(dir state.Dir, log *slog.Logger) func(string) (pool.Owner, bool) {
	var ours map[string]bool
	if dir != "" {
		var err error
		if ours, err = stage.Mounts(string(dir)); err != nil {
			log.Warn("which mounts there were is not known", "err", err)
		}
	}
	return func(name string) (pool.Owner, bool) {
		id := content.TempMount(name)
		runs, known := ours[id]
		switch {
		case id == "":
			return "", false
		case !known:
			return pool.OfOthers, true
		case runs:
			return pool.OfRunning, true
		}
		return pool.OfEarlier, true
	}
}

// checkResult is what `ftpsfs check --json` prints.
type checkResult struct {
	URL          string `json:"url"`
	OK           bool   `json:"ok"` // a mount would work
	Error        string `json:"error,omitempty"`
	User         string `json:"user"`
	PasswordFrom string `json:"password_from"`
	*pool.Report
}

func (p *program) showReport(o options.Options, login credential, r *pool.Report, err error, asJSON bool) error {
	if !asJSON {
		if perr := printReport(p.stdout, o, login, r, err); perr != nil {
			return perr
		}
		return err
	}
	res := checkResult{URL: o.Target.String(), OK: err == nil, User: login.User, PasswordFrom: login.Source, Report: r}
	if err != nil {
		res.Error = exitcode.OneLine(err.Error())
	}
	enc := json.NewEncoder(p.stdout)
	enc.SetIndent("", "  ")
	if jerr := enc.Encode(res); jerr != nil {
		return jerr
	}
	return err
}

// printReport is for people: the padlock first.
func printReport(out io.Writer, o options.Options, login credential, r *pool.Report, err error) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, exitcode.OneLine(fmt.Sprintf(format, args...)))
	}
	row("server", "%s (%s)", r.Address, orNone(r.Peer, "not reached"))
	row("login", "%s, password from %s", login.User, login.Source)
	if len(r.Certificates) > 0 {
		printChain(row, r)
		row("TLS", "%s, %s, %s, %s", r.TLSVersion, r.Cipher, r.Curve, word(r.Implicit, "implicit", "explicit"))
		row("control channel", "%s", word(r.ControlProtected, "encrypted", "IN CLEAR after the login"))
		row("data channels", "%s", dataText(r))
		row("  resumption", "%s", resumptionText(r.ResumptionDemanded))
		row("greeting", "%s", r.Greeting)
		row("folder", "%s (login folder %s), %d entries", r.Root, r.Home, r.Entries)
		row("features", "%s", orNone(strings.Join(r.Features, ", "), "none told"))
		printAbilities(row, r)
		row("login took", "%s", r.LoginTime.Round(time.Millisecond))
	}
	for _, problem := range r.Problems {
		row("note", "%s", problem.What)
		if problem.Todo != "" {
			row("  advice", "%s", problem.Todo)
		}
	}
	if err == nil {
		row("result", "a mount of %s works", o.Target)
	} else {
		row("result", "a mount would NOT work")
	}
	return w.Flush()
}

func printChain(row func(name, format string, args ...any), r *pool.Report) {
	for i, c := range r.Certificates {
		name := "certificate"
		if i > 0 {
			name = "  signed by"
		}
		row(name, "%s, valid %s to %s", c.Subject, c.NotBefore.Format(time.DateOnly), c.NotAfter.Format(time.DateOnly))
		if i == 0 {
			row("  for", "%s", orNone(strings.Join(c.Names, ", "), "no host"))
			row("  issuer", "%s", c.Issuer)
			row("  pin", "pin=%s", c.Pin)
		}
		row("  fingerprint", "SHA-256 %s", c.SHA256)
	}
	row("  checked", "%s", word(r.Insecure, "NO (insecure_skip_verify)", "yes"))
}

func dataText(r *pool.Report) string {
	text := "IN CLEAR"
	if r.DataProtected {
		text = "encrypted (" + r.DataTLSVersion + ", " + word(r.DataResumed, "resumes the control session", "a session of its own") + ")"
	}
	return fmt.Sprintf("%s, %s, ports seen: %d to %d", text, word(r.Active, "active", "passive"), r.DataPorts[0], r.DataPorts[1])
}

func resumptionText(demanded *bool) string {
	switch {
	case demanded == nil:
		return "not found out whether the server demands it"
	case *demanded:
		return "demanded by the server: data connections that do not resume the TLS session are refused"
	}
	return "not demanded by the server"
}

// printLearned tells what is known of the server's abilities, under names that begin with indent. by are the commands for some.
func printLearned(row func(name, format string, args ...any), indent string, capabilities map[pool.Capability]bool, by map[pool.Capability]string, names map[string]bool) {
	can, cannot := divide(capabilities, func(c pool.Capability) string {
		if by[c] == "" || !capabilities[c] {
			return c.String()
		}
		return c.String() + " (" + by[c] + ")"
	})
	row(indent+"can", "%s", orNone(can, "nothing is known yet"))
	row(indent+"cannot", "%s", orNone(cannot, "nothing is known yet"))
	if len(names) > 0 {
		kept, lost := divide(names, func(t string) string { return t })
		row(indent+"keeps in names", "%s", orNone(kept, "nothing out of the ordinary"))
		row(indent+"alters in names", "%s", orNone(lost, "nothing that was tried"))
	}
}

// divide lists what is true and what is false, each sorted.
func divide[K comparable](all map[K]bool, name func(K) string) (yes, no string) {
	var is, isNot []string
	for k, v := range all {
		if v {
			is = append(is, name(k))
		} else {
			isNot = append(isNot, name(k))
		}
	}
	slices.Sort(is)
	slices.Sort(isNot)
	return strings.Join(is, ", "), strings.Join(isNot, ", ")
}

func printAbilities(row func(name, format string, args ...any), r *pool.Report) {
	by := map[pool.Capability]string{pool.CapSetModTime: r.TimeCommand, pool.CapChmod: r.ModeCommand}
	printLearned(row, "", r.Capabilities, by, r.Names)
	row("oddities", "%s", orNone(strings.Join(r.Oddities, "; "), "none"))
	row("connections", "%s", connectionsText(r))
	row("clock difference", "%s", clockText(r.Clock))
	switch {
	case r.ZoneMinutes != nil:
		row("time zone", "LIST is %+d minutes from UTC%s", *r.ZoneMinutes, word(r.ExactTimes, "; MLSD is exact and used", ""))
	case r.ExactTimes:
		row("time zone", "of LIST not known: no file to compare; MLSD is exact and used")
	default:
		row("time zone", "of LIST not known: no file to compare")
	}
	row("temporary files", "%s", leftoversText(r.Leftovers))
}

func clockText(c pool.Clock) string {
	if c.Ahead == nil {
		const ask = "known without writing a file: ftpsfs check --try writes one, and removes it"
		if c.AtLeast > 0 {
			return fmt.Sprintf("at least %d seconds ahead of this machine, unless a program set the time of %s; not %s", c.AtLeast, c.Latest, ask)
		}
		return "not " + ask
	}
	text := fmt.Sprintf("%d seconds %s this machine", max(*c.Ahead, -*c.Ahead), word(*c.Ahead < 0, "behind", "ahead of"))
	switch c.From {
	case pool.ClockGreeting:
		text += ", to the minute, by the greeting"
	case pool.ClockMemory:
		text += " when a mount last wrote a file"
	}
	return text
}

// ownerTexts say whose temporary files are.
var ownerTexts = map[pool.Owner]string{
	pool.OfRunning: "of running mounts here", pool.OfEarlier: "of earlier mounts here", pool.OfCheck: "of checks", pool.OfOthers: "of others",
}

func leftoversText(all []pool.Leftover) string {
	var parts []string
	for _, of := range pool.Owners {
		var names []string
		for _, l := range all {
			if l.Of == of {
				names = append(names, l.Name)
			}
		}
		if len(names) > 0 {
			parts = append(parts, ownerTexts[of]+": "+strings.Join(names, ", "))
		}
	}
	return orNone(strings.Join(parts, "; "), "none")
}

func connectionsText(r *pool.Report) string {
	if r.ConnectionsRefused {
		return fmt.Sprintf("the server takes %d at a time", r.Connections)
	}
	return fmt.Sprintf("%d of %d at a time (max_conns)", r.Connections, r.ConnectionsTried)
}

func word(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

func orNone(s, none string) string {
	if s == "" {
		return none
	}
	return s
}
