package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/ftpsfs/ftpsfs/cache"
	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/control"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/fs"
	"github.com/ftpsfs/ftpsfs/fs/ahead"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// status is what `ftpsfs status --json` prints. Scripts and tests read it: fields may be added, never renamed.
type status struct {
	Version      string       `json:"version"`
	URL          string       `json:"url"` // without a password
	Mountpoint   string       `json:"mountpoint"`
	State        string       `json:"state"` // "mounted", or "finishing": unmounted and still sending
	PID          int          `json:"pid"`
	Uptime       float64      `json:"uptime"` // seconds
	User         string       `json:"user"`
	PasswordFrom string       `json:"password_from"`
	Warnings     []string     `json:"warnings"`
	StateDir     string       `json:"state_dir"`
	Emulate      string       `json:"emulate,omitempty"` // what is kept on this machine where the server cannot
	Log          string       `json:"log"`               // "" in the foreground
	Pool         pool.Stats   `json:"pool"`
	Cache        cache.Stats  `json:"cache"`
	Blocks       blocks.Stats `json:"blocks"`
	ReadAhead    ahead.Stats  `json:"read_ahead"` // small files fetched for whoever reads one after the other
	Stage        *stage.Stats `json:"stage,omitempty"`
	FS           fs.Status    `json:"fs"`
	Process      process      `json:"process"`
}

// process is the operating system's view of the mount.
type process struct {
	Goroutines  int   `json:"goroutines"`
	RSSBytes    int64 `json:"rss_bytes"`
	HeapBytes   int64 `json:"heap_bytes"`
	MemoryLimit int64 `json:"memory_limit"` // soft limit of the Go runtime, without file data
	OpenFDs     int   `json:"open_fds"`
}

// Status implements control.Mount.
func (r *running) Status() any {
	s := status{
		Version: versionString(), URL: r.o.Target.String(), Mountpoint: r.dir, State: "mounted", PID: os.Getpid(),
		Uptime: time.Since(r.since).Seconds(), User: r.login.User, PasswordFrom: r.login.Source, Warnings: r.warnings,
		StateDir: string(r.state), Emulate: r.o.Emulate.String(), Log: r.logFile,
		Pool: r.pool.Stats(), Cache: r.cache.Stats(), Blocks: r.blocks.Stats(), FS: r.server.Status(),
		ReadAhead: r.ahead.Stats(), Process: processStatus(),
	}
	if s.Warnings == nil {
		s.Warnings = []string{}
	}
	if r.finish.Load() {
		s.State = "finishing"
	}
	if r.stage != nil {
		st := r.stage.Stats()
		s.Stage = &st
	}
	return s
}

func processStatus() process {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p := process{Goroutines: runtime.NumGoroutine(), HeapBytes: int64(m.HeapAlloc), MemoryLimit: debug.SetMemoryLimit(-1), OpenFDs: -1, RSSBytes: -1}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.OpenFDs = len(entries) - 1 // without the one that reads the folder
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			if pages, err := strconv.ParseInt(f[1], 10, 64); err == nil {
				p.RSSBytes = pages * int64(os.Getpagesize())
			}
		}
	}
	return p
}

// statusCommand is `ftpsfs status [MOUNTPOINT] [--json]`.
func (p *program) statusCommand(args []string) error {
	flags := newFlags("status")
	asJSON := flags.Bool("json", false, "")
	args, err := parseFlags(flags, args, 0, 1, "ftpsfs status [MOUNTPOINT] [--json]")
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	if len(args) == 1 {
		c, _, err := find(args[0])
		if err != nil {
			return err
		}
		raw, err := c.Status(ctx)
		if err != nil {
			return exitcode.NewMount("the mount on "+args[0]+" does not answer", err, "")
		}
		return p.showStatus(raw, *asJSON)
	}
	return p.allStatus(ctx, *asJSON)
}

func (p *program) showStatus(raw json.RawMessage, asJSON bool) error {
	if asJSON {
		_, err := fmt.Fprintf(p.stdout, "%s\n", raw)
		return err
	}
	var s status
	if err := json.Unmarshal(raw, &s); err != nil {
		return exitcode.NewSystem("the mount's status is not understood", err, "mount again: it runs another version of ftpsfs")
	}
	return printStatus(p.stdout, s)
}

// allStatus shows all mounts of the user, as a JSON array or one after the other.
func (p *program) allStatus(ctx context.Context, asJSON bool) error {
	list := []json.RawMessage{}
	for _, c := range control.Find("", os.Geteuid()) {
		if raw, err := c.Status(ctx); err == nil { // one that is just ending has nothing to say
			list = append(list, raw)
		}
	}
	if asJSON {
		return json.NewEncoder(p.stdout).Encode(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(p.stdout, "nothing is mounted by this user")
	}
	for i, raw := range list {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		if err := p.showStatus(raw, false); err != nil {
			return err
		}
	}
	return nil
}

// printStatus is for people: what is it, is it well, what is under way.
func printStatus(out io.Writer, s status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, exitcode.OneLine(fmt.Sprintf(format, args...)))
	}
	row(s.Mountpoint, "%s (%s)", s.URL, s.State)
	row("  process", "%d, up %s, %s resident", s.PID, time.Duration(s.Uptime*float64(time.Second)).Round(time.Second), bytesText(s.Process.RSSBytes))
	row("  login", "%s, password from %s", s.User, s.PasswordFrom)
	c := s.Pool.Connections
	row("  connections", "%d open (%d busy), at most %d%s", c.Open, c.Busy, c.Max, learnedText(c.LearnedLimit))
	row("  transferred", "%s read, %s written", bytesText(s.Pool.BytesIn), bytesText(s.Pool.BytesOut))
	by := map[pool.Capability]string{pool.CapSetModTime: s.Pool.TimeCommand, pool.CapChmod: s.Pool.ModeCommand}
	printLearned(row, "  server ", s.Pool.Capabilities, by, s.Pool.Names)
	if a := s.ReadAhead; a.Files > 0 {
		row("  read ahead", "%d small files, %s, of which %s in vain", a.Files, bytesText(a.Bytes), bytesText(a.BytesInVain))
	}
	if l := s.FS.Content.Line; l.Segments > 0 {
		row("  segments", "%d of large files by several connections (%d times more was faster, %d times not)", l.Segments, l.Parallel, l.Useless)
	}
	row("  open", "%d files, %d folders", s.FS.OpenFiles, s.FS.OpenDirs)
	for _, p := range s.FS.Pending {
		row("  not on server", "%s (%s, %s, since %s)%s", p.Path, bytesText(p.Pending), p.State, p.Since.Format(time.TimeOnly), errText(p.Err))
	}
	for _, text := range s.Warnings {
		row("  WARNING", "%s", text)
	}
	if s.Log != "" {
		row("  log", "%s", s.Log)
	}
	return w.Flush()
}

func learnedText(limit int) string {
	if limit == 0 {
		return ""
	}
	return fmt.Sprintf(", the server takes %d", limit)
}

func errText(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// bytesText gives a size as people say it.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 3 {
		v, i = v/unit, i+1
	}
	return fmt.Sprintf("%.1f %s", v, [...]string{"KiB", "MiB", "GiB", "TiB"}[i])
}

// newFlags and parseFlags are for the commands that have no -o options.
func newFlags(name string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	return f
}

func parseFlags(f *pflag.FlagSet, args []string, low, high int, form string) ([]string, error) {
	if err := f.Parse(args); err != nil {
		if err == pflag.ErrHelp {
			return nil, options.ErrHelp
		}
		return nil, options.FlagError(err)
	}
	switch n := f.NArg(); {
	case n < low:
		return nil, exitcode.NewUsage("an argument is missing", "write "+form)
	case n > high:
		return nil, exitcode.NewUsage("too many arguments", "write "+form)
	}
	return f.Args(), nil
}

// find gives the running mount on dir and the mount's real name. Without one the error says what is there instead; the real
// name is then still good if something of ours is mounted.
func find(dir string) (*control.Client, string, error) {
	real, err := mountpoint.Real(dir)
	if err != nil {
		real, err = filepath.Abs(dir)
		if err != nil {
			return nil, "", exitcode.NewUsage(err.Error(), "")
		}
	}
	m, mounted := mountpoint.At(real)
	uid := os.Geteuid()
	if mounted && m.UID >= 0 && uid == 0 {
		uid = m.UID
	}
	if list := control.Find(real, uid); len(list) > 0 {
		return newest(list), real, nil
	}
	switch {
	case mounted && m.UID >= 0 && m.UID != uid:
		return nil, real, exitcode.NewMount("the mount on "+dir+" belongs to another user", nil, "")
	case mounted:
		return nil, real, exitcode.NewMount("the mount on "+dir+" has no process that answers", nil, "run `ftpsfs umount "+dir+"` to remove it")
	}
	return nil, "", exitcode.NewMount("nothing of ftpsfs is mounted on "+dir, nil, "`ftpsfs status` lists what is")
}

// newest prefers the process that has the mount over one that was unmounted and is still sending.
func newest(list []*control.Client) *control.Client {
	for _, c := range list {
		raw, err := c.Status(context.Background())
		var s struct{ State string }
		if err == nil && json.Unmarshal(raw, &s) == nil && s.State == "mounted" {
			return c
		}
	}
	return list[len(list)-1]
}
