package sites

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// Files are configuration files, the user's own first. They implement options.Sites.
type Files []string

// Default are ~/.config/ftpsfs/config and /etc/ftpsfs/config.
func Default() Files {
	var f Files
	if user := UserFile(); user != "" {
		f = append(f, user)
	}
	return append(f, "/etc/ftpsfs/config")
}

// UserFile is the user's own file, "" for a user without a home.
func UserFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "ftpsfs", "config")
}

// section is one named server as written.
type section struct {
	name string
	line int
	keys []key
}

// key is one line of a section. hasValue is false for a word alone.
type key struct {
	name, value string
	hasValue    bool
	line        int
}

// Site finds a server by name; the first file that has it wins.
func (f Files) Site(name string) (options.Site, error) {
	for _, file := range f {
		list, err := load(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return options.Site{}, err
		}
		for _, s := range list {
			if s.name == name {
				return s.site(file)
			}
		}
	}
	return options.Site{}, exitcode.NewUsage(fmt.Sprintf("no site is called %q", name),
		"write ftps://USER@HOST/PATH, or a section ["+name+"] into "+f[0])
}

func load(file string) ([]section, error) {
	f, err := os.Open(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, exitcode.NewUsage(err.Error(), "")
	}
	defer f.Close()
	list, err := parse(f)
	if err != nil {
		return nil, exitcode.NewUsage(file+err.Error(), "")
	}
	return list, nil
}

// parse reads sections. Errors begin with the line: ":7: ...".
func parse(r io.Reader) ([]section, error) {
	var list []section
	sc := bufio.NewScanner(r)
	n := 0
	for sc.Scan() {
		n++
		line := strings.TrimSpace(sc.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			name, ok := strings.CutSuffix(line[1:], "]")
			name = strings.TrimSpace(name)
			switch {
			case !ok || name == "" || strings.ContainsAny(name, "/:@[]"):
				return nil, fmt.Errorf(":%d: a section is [NAME], without / : @ in the name", n)
			case slices.ContainsFunc(list, func(s section) bool { return s.name == name }):
				return nil, fmt.Errorf(":%d: there is a section [%s] already", n, name)
			}
			list = append(list, section{name: name, line: n})
		case len(list) == 0:
			return nil, fmt.Errorf(":%d: this line belongs to no section; begin one with [NAME]", n)
		default:
			name, value, hasValue := strings.Cut(line, "=")
			s := &list[len(list)-1]
			s.keys = append(s.keys, key{strings.TrimSpace(name), unquote(strings.TrimSpace(value)), hasValue, n})
		}
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf(":%d: %w", n+1, err)
	}
	return list, nil
}

// unquote takes double quotes around a whole value away.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

// site makes options of a section. The values of options are checked where those of the command line are.
func (s section) site(file string) (options.Site, error) {
	var out options.Site
	for _, k := range s.keys {
		switch k.name {
		case "url":
			t, err := options.ParseTarget(k.value)
			if err == nil && t.HasPass {
				err = exitcode.NewUsage("the URL holds a password", "put it into the keyring, or into a file of mode 600 and write password_file = FILE")
			}
			if err != nil {
				return out, at(file, k.line, err)
			}
			out.URL = k.value
		case "mountpoint":
			dir, err := homePath(k.value)
			if err != nil {
				return out, at(file, k.line, err)
			}
			out.Mountpoint = dir
		case "options":
			out.Options = append(out.Options, k.value)
		default:
			item := k.name
			if k.hasValue {
				value := k.value
				if strings.HasPrefix(value, "~/") {
					dir, err := homePath(value)
					if err != nil {
						return out, at(file, k.line, err)
					}
					value = dir
				}
				item += "=" + strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(value)
			}
			if err := options.CheckItem(item); err != nil {
				return out, at(file, k.line, err)
			}
			out.Options = append(out.Options, item)
		}
	}
	if out.URL == "" {
		return out, at(file, s.line, exitcode.NewUsage("section ["+s.name+"] has no url", "add url = ftps://USER@HOST/PATH"))
	}
	return out, nil
}

// homePath resolves ~/ and refuses relative names, which would mean another folder for every caller.
func homePath(p string) (string, error) {
	if rest, ok := strings.CutPrefix(p, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", exitcode.NewUsage("there is no home folder for ~", "write an absolute path")
		}
		return filepath.Join(home, rest), nil
	}
	if !filepath.IsAbs(p) {
		return "", exitcode.NewUsage("the path is not absolute", "begin it with / or ~/")
	}
	return p, nil
}

func at(file string, line int, err error) error {
	var e *exitcode.Error
	if errors.As(err, &e) {
		return exitcode.NewUsage(fmt.Sprintf("%s:%d: %s", file, line, e.What), e.Todo)
	}
	return exitcode.NewUsage(fmt.Sprintf("%s:%d: %v", file, line, err), "")
}
