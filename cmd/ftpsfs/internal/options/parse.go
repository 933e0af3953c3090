package options

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// ErrHelp is returned when help was asked for in place of work.
var ErrHelp = pflag.ErrHelp

// Site is a named server of the configuration file.
type Site struct {
	URL        string
	Mountpoint string   // "" when the file names none
	Options    []string // -o lists
}

// Sites finds a named server. Its errors are shown as they are.
type Sites interface {
	Site(name string) (Site, error)
}

// commandLine is what flags alone say, before URL and options are looked at.
type commandLine struct {
	o      Options
	lists  []string // values of -o, in order
	args   []string
	sloppy bool // unknown options are dropped: mount(8)'s -s
}

// ParseMount reads `[options] URL|SITE MOUNTPOINT`, and `SITE` alone for a site that names its mount point.
func ParseMount(args []string, sites Sites) (Options, error) {
	c := commandLine{o: Defaults()}
	fs := newFlagSet("ftpsfs")
	fs.BoolVarP(&c.o.Foreground, "foreground", "f", false, "stay in the foreground")
	fs.BoolVarP(&c.o.Debug, "debug", "d", false, "FTP dialogue and kernel requests on stderr, in the foreground")
	fs.BoolVarP(&c.o.Verbose, "verbose", "v", false, "say what was mounted")
	fs.StringArrayVarP(&c.lists, "options", "o", nil, "options")
	if err := c.parse(fs, args); err != nil {
		return Options{}, err
	}
	c.o.Foreground = c.o.Foreground || c.o.Debug
	return c.mount(sites)
}

// ParseMountHelper reads what mount(8) calls mount.ftpsfs with: `SOURCE DIR [-sfnv] [-N namespace] [-o options] [-t type]`,
// where -f is fake and -s forgives unknown options.
func ParseMountHelper(args []string, sites Sites) (Options, error) {
	c := commandLine{o: Defaults()}
	var fstype string
	var noMtab bool
	fs := newFlagSet("mount.ftpsfs")
	fs.BoolVarP(&c.o.Fake, "fake", "f", false, "do everything but the mount")
	fs.BoolVarP(&c.sloppy, "sloppy", "s", false, "forgive unknown options")
	fs.BoolVarP(&noMtab, "no-mtab", "n", false, "accepted; there is no mtab to write")
	fs.BoolVarP(&c.o.Verbose, "verbose", "v", false, "say what was mounted")
	fs.StringVarP(&c.o.Namespace, "namespace", "N", "", "mount namespace to mount in")
	fs.StringVarP(&fstype, "types", "t", "", "type of the file system")
	fs.StringArrayVarP(&c.lists, "options", "o", nil, "options")
	if err := c.parse(fs, args); err != nil {
		return Options{}, err
	}
	if !slices.Contains([]string{"", "ftpsfs", "fuse.ftpsfs", "fuse"}, fstype) {
		return Options{}, exitcode.NewUsage("type "+fstype+" is not mounted by ftpsfs", "write type fuse.ftpsfs or ftpsfs")
	}
	return c.mount(sites)
}

// Check is how `ftpsfs check` looks and what it prints.
type Check struct {
	JSON bool
	Try  bool // writes a temporary file to find out more
}

// ParseCheck reads `[-o options] [-d] [--json] [--try] URL|SITE`.
func ParseCheck(args []string, sites Sites) (o Options, how Check, err error) {
	c := commandLine{o: Defaults()}
	fs := newFlagSet("ftpsfs check")
	fs.BoolVarP(&c.o.Debug, "debug", "d", false, "FTP dialogue on stderr")
	fs.BoolVar(&how.JSON, "json", false, "the report as JSON")
	fs.BoolVar(&how.Try, "try", false, "write a temporary file to find out more")
	fs.StringArrayVarP(&c.lists, "options", "o", nil, "options")
	if err := c.parse(fs, args); err != nil {
		return Options{}, Check{}, err
	}
	if len(c.args) != 1 {
		return Options{}, Check{}, wrongArgs(c.args, 1, "ftpsfs check URL")
	}
	c.o.Foreground = true
	if _, err := c.target(sites); err != nil {
		return Options{}, Check{}, err
	}
	return c.o, how, nil
}

func newFlagSet(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are ours to print, in one line
	fs.Usage = func() {}
	return fs
}

func (c *commandLine) parse(fs *pflag.FlagSet, args []string) error {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return ErrHelp
	case err != nil:
		return FlagError(err)
	}
	c.args = fs.Args()
	return nil
}

// FlagError makes one line of what pflag says. The value of a flag is left out, as it may be a secret.
func FlagError(err error) error {
	what := err.Error()
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var bad *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		what = "unknown flag " + dashed(unknown.GetSpecifiedName())
	case errors.As(err, &missing):
		what = "flag " + dashed(missing.GetSpecifiedName()) + " needs a value"
	case errors.As(err, &bad):
		what = "flag --" + bad.GetFlag().Name + ": the value cannot be read"
	}
	return exitcode.NewUsage(what, "`ftpsfs help` lists flags and options")
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// mount finishes a command line that names a source and a mount point.
func (c *commandLine) mount(sites Sites) (Options, error) {
	const form = "ftpsfs [-o OPTIONS] URL MOUNTPOINT"
	if len(c.args) == 0 || len(c.args) > 2 {
		return Options{}, wrongArgs(c.args, 2, form)
	}
	site, err := c.target(sites)
	if err != nil {
		return Options{}, err
	}
	dir := site.Mountpoint
	if len(c.args) == 2 {
		dir = c.args[1]
	}
	if dir == "" {
		return Options{}, wrongArgs(c.args, 2, form)
	}
	if IsURL(dir) {
		return Options{}, exitcode.NewUsage("the mount point is a URL", "write the URL first, then a local folder")
	}
	if c.o.Mountpoint, err = filepath.Abs(dir); err != nil {
		return Options{}, exitcode.NewSystem("the working folder is gone", err, "write the mount point as an absolute path")
	}
	return c.o, nil
}

// target reads the first argument and all options: those of a site first, so that the command line wins.
func (c *commandLine) target(sites Sites) (site Site, err error) {
	source := c.args[0]
	lists := c.lists
	if !IsURL(source) && isSiteName(source) && sites != nil {
		if site, err = sites.Site(source); err != nil {
			return Site{}, err
		}
		source, lists = site.URL, append(slices.Clone(site.Options), lists...)
	}
	if c.o.Target, err = ParseTarget(source); err != nil {
		return Site{}, err
	}
	for _, list := range lists {
		if err := c.apply(list); err != nil {
			return Site{}, err
		}
	}
	return site, c.o.finish()
}

// apply is Options.Apply that drops unknown options where mount(8) said so.
func (c *commandLine) apply(list string) error {
	for _, item := range splitList(list) {
		name, _, _ := strings.Cut(item, "=")
		if c.sloppy && !known(name) {
			continue
		}
		if err := c.o.applyItem(item); err != nil {
			return err
		}
	}
	return nil
}

// isSiteName accepts what a section of the configuration may be called; a slash or a colon looks like a path or host.
func isSiteName(s string) bool { return s != "" && !strings.ContainsAny(s, "/:@") }

func wrongArgs(args []string, want int, form string) error {
	switch {
	case len(args) == 0:
		return exitcode.NewUsage("the URL is missing", "write "+form)
	case len(args) < want:
		return exitcode.NewUsage("the mount point is missing", "write "+form)
	}
	return exitcode.NewUsage("too many arguments", "write "+form)
}
