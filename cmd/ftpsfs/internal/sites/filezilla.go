package sites

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// Import is one server of another program's list.
type Import struct {
	Name     string // a name that a section may have, unique in the list
	URL      string // "" when it cannot be mounted; Skipped says why
	Options  []string
	Host     string
	Port     int
	User     string
	Password options.Secret // "" none
	Skipped  string
}

// The protocols of FileZilla's site manager, as its files number them.
const (
	fzFTP         = 0 // explicit TLS if the server has it
	fzSFTP        = 1
	fzImplicit    = 3
	fzExplicit    = 4
	fzInsecureFTP = 6
)

type fzFolder struct {
	Text    string     `xml:",chardata"`
	Folders []fzFolder `xml:"Folder"`
	Servers []fzServer `xml:"Server"`
}

type fzServer struct {
	Host      string `xml:"Host"`
	Port      int    `xml:"Port"`
	Protocol  int    `xml:"Protocol"`
	User      string `xml:"User"`
	Account   string `xml:"Account"`
	Name      string `xml:"Name"`
	Text      string `xml:",chardata"` // the name in old files
	RemoteDir string `xml:"RemoteDir"`
	PasvMode  string `xml:"PasvMode"`
	MaxConns  int    `xml:"MaximumMultipleConnections"`
	Pass      struct {
		Encoding string `xml:"encoding,attr"`
		Text     string `xml:",chardata"`
	} `xml:"Pass"`
}

// ReadFileZilla reads a sitemanager.xml.
func ReadFileZilla(r io.Reader) ([]Import, error) {
	var doc struct {
		XMLName xml.Name `xml:"FileZilla3"`
		Servers fzFolder `xml:"Servers"`
	}
	if err := xml.NewDecoder(r).Decode(&doc); err != nil {
		return nil, fmt.Errorf("this is no sitemanager.xml of FileZilla 3: %w", err)
	}
	var list []Import
	doc.Servers.walk("", &list)
	return list, nil
}

// walk goes through folders; their names become part of the sites' names.
func (f fzFolder) walk(prefix string, list *[]Import) {
	for _, s := range f.Servers {
		name := strings.TrimSpace(s.Name)
		if name == "" {
			name = strings.TrimSpace(s.Text)
		}
		if name == "" {
			name = s.Host
		}
		i := s.site()
		i.Name = uniqueName(prefix+name, *list)
		*list = append(*list, i)
	}
	for _, sub := range f.Folders {
		sub.walk(prefix+strings.TrimSpace(sub.Text)+"-", list)
	}
}

// uniqueName makes a section name: letters, digits and a few signs, and a number behind it if it is taken.
func uniqueName(name string, list []Import) string {
	name = strings.Trim(strings.Map(func(r rune) rune {
		if r < ' ' || strings.ContainsRune(` /:@[]#;=,"\`, r) {
			return '-'
		}
		return r
	}, name), "-")
	if name == "" {
		name = "site"
	}
	unique := name
	for n := 2; slices.ContainsFunc(list, func(i Import) bool { return i.Name == unique }); n++ {
		unique = name + "-" + strconv.Itoa(n)
	}
	return unique
}

func (s fzServer) site() Import {
	i := Import{Host: strings.Trim(s.Host, "[]"), Port: s.Port, User: s.User}
	switch s.Protocol {
	case fzFTP, fzExplicit:
		i.Port = orDefault(i.Port, 21)
	case fzImplicit:
		i.Port = orDefault(i.Port, 990)
		i.Options = append(i.Options, "tls=implicit")
	case fzSFTP:
		i.Skipped = "SFTP is another protocol; use sshfs"
	case fzInsecureFTP:
		i.Skipped = "it is set to plain FTP, without TLS"
	default:
		i.Skipped = fmt.Sprintf("protocol %d is not FTP", s.Protocol)
	}
	if i.Skipped != "" {
		return i
	}
	t := options.Target{Host: i.Host, Port: i.Port, User: i.User, Root: remoteDir(s.RemoteDir)}
	i.URL = t.String()
	if got, err := options.ParseTarget(i.URL); err != nil || got.Host != i.Host {
		i.URL, i.Skipped = "", "its host or user name cannot be part of a URL"
		return i
	}
	if s.PasvMode == "MODE_ACTIVE" {
		i.Options = append(i.Options, "mode=active")
	}
	if item := "account=" + s.Account; s.Account != "" && options.CheckItem(item) == nil && !strings.ContainsAny(s.Account, "\"\\,") {
		i.Options = append(i.Options, item)
	}
	if s.MaxConns > 0 {
		i.Options = append(i.Options, "max_conns="+strconv.Itoa(s.MaxConns))
	}
	i.Password = password(s.Pass.Encoding, s.Pass.Text)
	return i
}

func orDefault(port, standard int) int {
	if port == 0 {
		return standard
	}
	return port
}

// password decodes what is stored; what is encrypted with a master password stays with FileZilla.
func password(encoding, text string) options.Secret {
	switch encoding {
	case "":
		return options.Secret(text)
	case "base64":
		if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil {
			return options.Secret(b)
		}
	}
	return ""
}

// remoteDir reads FileZilla's form of a path: "TYPE PREFIXLENGTH [PREFIX ]LENGTH NAME LENGTH NAME ..." gives "/NAME/NAME".
// Anything else gives "".
func remoteDir(s string) string {
	kind, rest, ok := strings.Cut(s, " ")
	if !ok || kind != "0" && kind != "1" { // default and Unix
		return ""
	}
	prefix, rest, ok := strings.Cut(rest, " ")
	if !ok || prefix != "0" {
		return ""
	}
	var dir strings.Builder
	for rest != "" {
		length, after, ok := strings.Cut(rest, " ")
		n, err := strconv.Atoi(length)
		if !ok || err != nil || n <= 0 || n > len(after) {
			return ""
		}
		dir.WriteString("/" + after[:n])
		rest = strings.TrimPrefix(after[n:], " ")
	}
	return dir.String()
}

// FileZillaFile is where FileZilla keeps its list.
func FileZillaFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "filezilla", "sitemanager.xml")
}

// Append adds sites as sections to a configuration file that only its owner can read. Those whose names are there already
// are left alone; it gives the names of those added.
func Append(file string, list []Import) ([]string, error) {
	have, err := load(file)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var text strings.Builder
	var added []string
	for _, i := range list {
		if i.URL == "" || slices.ContainsFunc(have, func(s section) bool { return s.name == i.Name }) {
			continue
		}
		fmt.Fprintf(&text, "\n[%s]\nurl = %s\n", i.Name, i.URL)
		for _, o := range i.Options {
			fmt.Fprintln(&text, strings.Replace(o, "=", " = ", 1))
		}
		added = append(added, i.Name)
	}
	if len(added) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(text.String())
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return added, err
}
