package credentials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// machine is one entry of a netrc file. name is "" for the default entry.
type machine struct {
	name, login, password, account string
	hasPassword                    bool
}

// fromNetrc looks into ~/.netrc. Only an entry that would be used makes the file's permissions matter.
func fromNetrc(_ context.Context, r *Request) (Found, error) {
	name := netrcFile(r)
	f, err := os.Open(name)
	switch {
	case name == "", errors.Is(err, fs.ErrNotExist) && r.Netrc == "":
		return Found{}, ErrNotFound
	case err != nil && r.Netrc == "":
		return Found{}, ErrNotFound // a home that is not ours to read
	case err != nil:
		return Found{}, exitcode.NewUsage(fmt.Sprintf("netrc %s cannot be read: %v", name, cause(err)), "")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return Found{}, exitcode.NewUsage(fmt.Sprintf("netrc %s cannot be read: %v", name, cause(err)), "")
	}
	m, ok := pick(parseNetrc(string(text)), r.Host, r.User)
	if !ok {
		return Found{}, ErrNotFound
	}
	if err := private(f); err != nil {
		return Found{}, exitcode.NewUsage(fmt.Sprintf("%s holds a password for %s and %v", name, r.Host, err), "run chmod 600 "+name)
	}
	return Found{User: m.login, Password: options.Secret(m.password), Account: m.account, HasPassword: true, Source: name}, nil
}

// netrcFile is the option, $NETRC or ~/.netrc.
func netrcFile(r *Request) string {
	if r.Netrc != "" {
		return r.Netrc
	}
	if n := r.Getenv("NETRC"); n != "" {
		return n
	}
	if home := r.Getenv("HOME"); home != "" {
		return filepath.Join(home, ".netrc")
	}
	return ""
}

// pick gives the first entry with a password for host (and user, if there is one already), or the default entry.
func pick(list []machine, host, user string) (machine, bool) {
	for _, m := range list {
		fits := m.name == "" || strings.EqualFold(m.name, host)
		if fits && m.hasPassword && (user == "" && m.login != "" || user != "" && (m.login == "" || m.login == user)) {
			return m, true
		}
	}
	return machine{}, false
}

// parseNetrc reads entries in the order of the file. A default entry ends them, as everything after it could never match.
func parseNetrc(text string) []machine {
	var list []machine
	p := netrcParser{rest: text}
	for {
		word, ok := p.keyword()
		if !ok {
			return list
		}
		switch word {
		case "machine":
			name, _ := p.next()
			list = append(list, machine{name: name})
		case "default":
			list = append(list, machine{})
			p.fields(&list[len(list)-1])
			return list
		case "macdef":
			p.skipMacro()
			continue
		default:
			continue // a word that means nothing here
		}
		p.fields(&list[len(list)-1])
	}
}

// netrcParser splits a netrc into words.
type netrcParser struct{ rest string }

// fields reads what follows a machine's name.
func (p *netrcParser) fields(m *machine) {
	for {
		before := p.rest
		word, ok := p.keyword()
		if !ok {
			return
		}
		switch word {
		case "login":
			m.login, _ = p.next()
		case "password":
			m.password, m.hasPassword = p.next()
		case "account":
			m.account, _ = p.next()
		case "machine", "default", "macdef":
			p.rest = before
			return
		}
	}
}

// keyword gives the next word; a # where a keyword could stand starts a comment.
func (p *netrcParser) keyword() (string, bool) {
	for {
		word, ok := p.next()
		if !strings.HasPrefix(word, "#") {
			return word, ok
		}
		_, p.rest, _ = strings.Cut(p.rest, "\n")
	}
}

// next gives the next word: up to white space, or in double quotes where a backslash takes the next character literally.
func (p *netrcParser) next() (string, bool) {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	if p.rest == "" {
		return "", false
	}
	if p.rest[0] == '"' {
		return p.quoted(), true
	}
	end := strings.IndexAny(p.rest, " \t\r\n")
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word, true
}

func (p *netrcParser) quoted() string {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String()
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	p.rest = "" // the quote was never closed
	return b.String()
}

// skipMacro skips a macro, which ends at an empty line.
func (p *netrcParser) skipMacro() {
	if i := strings.Index(strings.ReplaceAll(p.rest, "\r\n", "\n"), "\n\n"); i >= 0 {
		p.rest = strings.ReplaceAll(p.rest, "\r\n", "\n")[i+2:]
		return
	}
	p.rest = ""
}
