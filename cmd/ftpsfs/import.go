package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/credentials"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/sites"
)

// importCommand is `ftpsfs import [FILE]`: the servers of FileZilla's site manager become sections of the configuration,
// their passwords go to the desktop keyring.
func (p *program) importCommand(args []string) error {
	args, err := parseFlags(newFlags("import"), args, 0, 1, "ftpsfs import [sitemanager.xml]")
	if err != nil {
		return err
	}
	file, target := sites.FileZillaFile(), sites.UserFile()
	if len(args) == 1 {
		file = args[0]
	}
	if target == "" || file == "" {
		return exitcode.NewSystem("there is no home folder for the configuration", nil, "set HOME")
	}
	f, err := os.Open(file)
	if err != nil {
		return exitcode.NewUsage(err.Error(), "write ftpsfs import FILE")
	}
	defer f.Close()
	list, err := sites.ReadFileZilla(f)
	if err != nil {
		return exitcode.NewUsage(file+": "+err.Error(), "")
	}
	added, err := sites.Append(target, list)
	if err != nil {
		return exitcode.NewSystem("the configuration cannot be written", err, "")
	}
	return p.reportImport(list, added, target)
}

// reportImport stores the passwords of what was added, and says what became of each site.
func (p *program) reportImport(list []sites.Import, added []string, target string) error {
	ctx, cancel := interruptible()
	defer cancel()
	noKeyring := false
	for _, i := range list {
		switch {
		case i.Skipped != "":
			fmt.Fprintf(p.stdout, "%s: left out: %s\n", i.Name, i.Skipped)
			continue
		case !slices.Contains(added, i.Name):
			fmt.Fprintf(p.stdout, "%s: is in %s already, left alone\n", i.Name, target)
			continue
		}
		where := "no password stored"
		if i.Password != "" {
			where = "password in the keyring"
			if err := (credentials.Desktop{}).Set(ctx, i.User, i.Host, i.Port, string(i.Password)); err != nil {
				noKeyring = true
				where = "password NOT taken over: " + keyringProblem(err)
			}
		}
		fmt.Fprintf(p.stdout, "%s: %s, %s\n", i.Name, i.URL, where)
	}
	fmt.Fprintf(p.stdout, "%d sites added to %s; mount one with `ftpsfs mount NAME MOUNTPOINT`\n", len(added), target)
	if noKeyring {
		fmt.Fprintln(p.stdout, "without a keyring write each password into a file of mode 600, and password_file = FILE into its section")
	}
	return nil
}

func keyringProblem(err error) string {
	if errors.Is(err, credentials.ErrNotFound) {
		return "there is no desktop keyring here"
	}
	return exitcode.OneLine(err.Error())
}
