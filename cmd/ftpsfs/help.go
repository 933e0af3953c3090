package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

const usage = `usage: ftpsfs [-f] [-d] [-o OPTIONS] URL MOUNTPOINT    mount ftps://[USER@]HOST[:PORT][/PATH]
       ftpsfs umount [-l] MOUNTPOINT                   wait until everything is on the server, then unmount
       ftpsfs status [MOUNTPOINT] [--json]             what running mounts are doing
       ftpsfs sync MOUNTPOINT                          wait until everything is on the server
       ftpsfs check [-o OPTIONS] [--json] [--try] URL  look at a server without mounting it
       ftpsfs demo [MOUNTPOINT]                        a server of its own, mounted, to play with
       ftpsfs import [FILE]                            sites of FileZilla's sitemanager.xml
       ftpsfs version | help
`

const helpRest = `
  -f, --foreground   stay in the foreground
  -d, --debug        FTP dialogue and kernel requests on stderr, in the foreground
  -v, --verbose      say what was mounted

Options (-o, separated by commas):
`

const helpEnd = `
Options of mount(8) such as noexec, noatime, nofail, _netdev or x-systemd.automount are accepted.

Password, the first that exists: URL, password_file, FTPSFS_PASSWORD, systemd credential, ~/.netrc, desktop keyring,
askpass, a question on the terminal.

A name in place of the URL is a site of ~/.config/ftpsfs/config or /etc/ftpsfs/config. More in ftpsfs(1).
`

func (p *program) helpCommand([]string) error {
	_, err := fmt.Fprint(p.stdout, usage, helpRest, options.Help(), helpEnd)
	return err
}

// version is set at link time for releases; otherwise the build tells.
var version string

// versionString is the release, or the commit that the program was built from.
func versionString() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v, revision, modified := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+changes"
		}
	}
	if v == "" || v == "(devel)" {
		v = "development"
		if revision != "" {
			v += " " + revision + modified
		}
	}
	return v
}

func (p *program) versionCommand(args []string) error {
	if len(args) > 0 {
		return exitcode.NewUsage("too many arguments", "write ftpsfs version")
	}
	_, err := fmt.Fprintf(p.stdout, "ftpsfs %s (%s, %s/%s)\n", versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
