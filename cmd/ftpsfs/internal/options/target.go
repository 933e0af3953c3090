package options

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// Secret is a string that does not print itself: fmt and slog show it as [hidden].
type Secret string

// String hides the secret.
func (Secret) String() string { return "[hidden]" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "[hidden]" }

// Target is the server and the folder that a URL names.
type Target struct {
	Host     string // name or address, without brackets
	Port     int    // 21 for explicit, 990 for implicit TLS when the URL has none
	Implicit bool   // TLS from the first byte: port 990
	Explicit bool   // ftpes: explicit whatever the port
	User     string // "" when the URL names none
	Password Secret
	HasPass  bool // the URL holds a password, maybe an empty one
	// Root is the folder as pool.Config.Root takes it: "" is the folder that the server logs us in to, "a/b" is below
	// it, "/a/b" is absolute (two slashes, or %2F, after the host: RFC 1738 section 3.2.2).
	Root string

	portGiven bool
}

// String gives the URL without the password.
func (t Target) String() string {
	scheme, standard := "ftps", 21
	if t.Explicit {
		scheme = "ftpes"
	}
	if t.Implicit {
		standard = 990
	}
	var b strings.Builder
	b.WriteString(scheme + "://")
	if t.User != "" {
		b.WriteString(escape(t.User, "@:/") + "@")
	}
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + strings.ReplaceAll(host, "%", "%25") + "]"
	}
	b.WriteString(host)
	// Port 990 is written even though it is the standard port of implicit TLS: it is what makes the URL say so.
	if t.Port != standard || t.Implicit {
		b.WriteString(":" + strconv.Itoa(t.Port))
	}
	b.WriteString("/" + escape(t.Root, ""))
	return b.String()
}

// escape percent-encodes control characters, spaces, percent signs, bytes that are no UTF-8, and the characters in more.
func escape(s, more string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r <= ' ' || r == 0x7f || r == '%' || r == utf8.RuneError && n == 1 || strings.ContainsRune(more, r) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// IsURL tells a URL from the name of a site.
func IsURL(s string) bool { return strings.Contains(s, "://") }

// ParseTarget reads ftps://[user[:password]@]host[:port][/path]. Errors never repeat the URL, which may hold a password.
func ParseTarget(s string) (Target, error) {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return Target{}, notAURL(s)
	}
	var t Target
	switch strings.ToLower(scheme) {
	case "ftps":
	case "ftpes":
		t.Explicit = true
	default:
		return Target{}, wrongScheme(strings.ToLower(scheme))
	}
	authority, p := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, p = rest[:i], rest[i+1:]
	}
	hostport := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		hostport = authority[i+1:]
		if err := t.setUser(authority[:i]); err != nil {
			return Target{}, err
		}
	}
	if err := t.setHost(hostport); err != nil {
		return Target{}, err
	}
	return t, t.setPath(p)
}

func notAURL(s string) error {
	if host, _, ok := strings.Cut(s, ":/"); ok && host != "" {
		return exitcode.NewUsage("HOST:/PATH is no URL", "write ftps://USER@HOST/PATH")
	}
	if s == "" {
		return exitcode.NewUsage("the URL is empty", "write ftps://USER@HOST/PATH")
	}
	return exitcode.NewUsage("the first argument is no URL", "write ftps://USER@HOST/PATH, or the name of a site from the configuration")
}

func wrongScheme(scheme string) error {
	switch scheme {
	case "ftp":
		return exitcode.NewUsage("ftp:// would send the password and all files in clear",
			"write ftps://, which most FTP servers also speak on the same port")
	case "sftp", "ssh", "scp":
		return exitcode.NewUsage(scheme+":// is SSH, another protocol", "use sshfs for it, or write ftps:// if the server has FTPS too")
	case "http", "https", "webdav", "dav", "davs":
		return exitcode.NewUsage(scheme+":// is another protocol", "use a WebDAV client such as davfs2, or write ftps:// if the server has FTPS too")
	}
	for _, r := range scheme {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '-' || r == '.') {
			return exitcode.NewUsage("the first argument is no URL", "write ftps://USER@HOST/PATH")
		}
	}
	return exitcode.NewUsage("unknown kind of URL "+strconv.Quote(scheme), "write ftps://USER@HOST/PATH")
}

func (t *Target) setUser(s string) error {
	user, pass, hasPass := strings.Cut(s, ":")
	var err error
	if t.User, err = decode(user, "user name"); err != nil {
		return err
	}
	if t.User == "" && hasPass {
		return exitcode.NewUsage("the URL holds a password without a user name", "write ftps://USER@HOST/PATH")
	}
	p, err := decode(pass, "password")
	t.Password, t.HasPass = Secret(p), hasPass
	return err
}

func (t *Target) setHost(s string) error {
	var host, port string
	if strings.HasPrefix(s, "[") {
		inside, after, ok := strings.Cut(s[1:], "]")
		addr, err := netip.ParseAddr(strings.Replace(inside, "%25", "%", 1))
		if !ok || err != nil || !addr.Is6() || !isInterface(addr.Zone()) || (after != "" && after[0] != ':') {
			return exitcode.NewUsage("the address in brackets is no IPv6 address", "write ftps://[2001:db8::1]:21/PATH")
		}
		host = addr.String()
		port, ok = strings.CutPrefix(after, ":")
		if ok && port == "" {
			return badPort()
		}
	} else {
		var hasPort bool
		host, port, hasPort = strings.Cut(s, ":")
		if strings.Contains(port, ":") {
			return exitcode.NewUsage("an IPv6 address needs brackets in a URL", "write ftps://[2001:db8::1]/PATH")
		}
		if hasPort && port == "" {
			return badPort()
		}
		if err := checkHost(host); err != nil {
			return err
		}
	}
	t.Host, t.Port = host, 21
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 || port[0] == '+' {
			return badPort()
		}
		t.Port, t.portGiven = n, true
	}
	t.Implicit = t.Port == 990 && !t.Explicit
	return nil
}

// isInterface accepts what a zone of a link-local address may be called, and none.
func isInterface(zone string) bool {
	return !strings.ContainsFunc(zone, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// badPort does not repeat the port: in a URL whose password holds a slash that is where the password ends up.
func badPort() error {
	return exitcode.NewUsage("the port in the URL is no number from 1 to 65535",
		"write ftps://HOST:21/PATH, and / as %2F and @ as %40 in a password")
}

// checkHost accepts IPv4 addresses and names, international ones included: the resolver decides about those.
func checkHost(host string) error {
	if host == "" {
		return exitcode.NewUsage("the URL names no host", "write ftps://USER@HOST/PATH")
	}
	bad := strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`%?#[]\<>"{}|^,;*`, r) })
	if bad || len(host) > 253 || strings.HasPrefix(host, "-") || strings.HasPrefix(host, ".") {
		return exitcode.NewUsage("the host in the URL is no host name", "write ftps://USER@HOST/PATH, and odd characters in a user name or password as %XX")
	}
	// A dotted number that is no address (999.1.1.1, 127.1) means different hosts to different resolvers.
	if strings.Trim(host, "0123456789.") == "" && net.ParseIP(host) == nil {
		return exitcode.NewUsage("the host in the URL is no IPv4 address", "write four numbers from 0 to 255")
	}
	return nil
}

func (t *Target) setPath(p string) error {
	p, err := decode(p, "path")
	if err != nil {
		return err
	}
	for _, part := range strings.Split(p, "/") {
		if part == ".." {
			return exitcode.NewUsage("the path in the URL holds ..", "write the path without it")
		}
	}
	if p != "" {
		p = path.Clean(p)
	}
	if p == "." {
		p = ""
	}
	t.Root = p
	return nil
}

// decode replaces %XX and refuses what would end or split a line of the FTP dialogue.
func decode(s, what string) (string, error) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", badPercent(what)
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", badPercent(what)
			}
			c, i = byte(n), i+2
		}
		if unsendable(c) {
			return "", exitcode.NewUsage("the "+what+" in the URL holds a byte that FTP cannot carry (CR, LF, NUL or 0xFF)", "leave it out")
		}
		b = append(b, c)
	}
	return string(b), nil
}

// unsendable reports the bytes that would end, split or (0xFF is telnet's IAC) change a line of the FTP dialogue.
func unsendable(c byte) bool { return c == 0 || c == '\r' || c == '\n' || c == 0xff }

func badPercent(what string) error {
	return exitcode.NewUsage("a % in the "+what+" of the URL is not followed by two hexadecimal digits", "write %25 for the character % itself")
}

// WithoutPassword takes the password out of an argument that is a URL of ours and leaves everything else of it as it is.
func WithoutPassword(arg string) string {
	t, err := ParseTarget(arg)
	if err != nil || !t.HasPass {
		return arg
	}
	scheme, rest, _ := strings.Cut(arg, "://")
	authority, path, hasPath := strings.Cut(rest, "/")
	at := strings.LastIndexByte(authority, '@')
	user, _, _ := strings.Cut(authority[:at], ":")
	out := scheme + "://" + user + authority[at:]
	if hasPath {
		out += "/" + path
	}
	return out
}
