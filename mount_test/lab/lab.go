package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Kind names a server program.
type Kind string

// The servers.
const (
	VSFTPD   Kind = "vsftpd"
	ProFTPD  Kind = "proftpd"
	PureFTPd Kind = "pure-ftpd"
	Embedded Kind = "embedded"
)

// Real are the servers that users meet; the embedded one is ours.
var Real = []Kind{VSFTPD, ProFTPD, PureFTPd}

// Account is the system account that owns the served files and logs in to the servers.
const Account = "ftpsfstest"

// startTimeout bounds the wait for a server's first answer.
const startTimeout = 45 * time.Second

// Options says which server and how. The zero value of each field is a sensible default.
type Options struct {
	Kind        Kind
	Version     string        // "1.2" or "1.3": the only TLS version offered; "" offers both
	Implicit    bool          // TLS from the first byte; Pure-FTPd cannot (see HasImplicit)
	Bind        string        // loopback address, "" is 127.0.0.1; ::1 works
	MaxClients  int           // connections allowed at a time, 0: 200
	IdleTimeout time.Duration // how long a session may idle; Pure-FTPd rounds up to minutes; 0: 10 minutes
	Root        string        // folder to serve, given to Account; "" is a new one that goes when the test ends
	Extra       []string      // lines of the configuration, in place of ours or besides (Pure-FTPd, embedded: more arguments)
	Cert        *Cert         // the server's certificate; nil: a good one of a throwaway CA
	ClientCA    string        // CA file: clients must show a certificate of it ("" asks for none)
	CAFile      string        // what Server.CAFile says when Cert is given
}

// Server is one running server.
type Server struct {
	Kind     Kind
	URL      string // ftps://user@host:port/ (a "tls=implicit" option is the client's business), no password in it
	Host     string
	Port     int
	Implicit bool
	CAFile   string // PEM file of the CA that signed the server's certificate
	User     string
	Password string
	Root     string // the served folder on this machine's disk
	UID, GID int    // owner of the files that the server creates
	// PassiveLow to PassiveHigh are the ports of data connections, both included.
	PassiveLow, PassiveHigh int

	tb      testing.TB
	opts    Options
	state   string // configuration, logs
	command func() (*command, error)
	proc    *process
}

// command is what to run; its output goes to the server's log.
type command struct {
	path string
	args []string
	env  []string
}

// HasImplicit says whether the server can start TLS with the first byte.
func HasImplicit(k Kind) bool { return k != PureFTPd }

// Start runs a server until the test ends. Where the machine lacks what the server needs, the test is skipped, or
// failed when CI=true is in the environment.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.Bind == "" {
		o.Bind = "127.0.0.1"
	}
	if o.MaxClients == 0 {
		o.MaxClients = 200
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 10 * time.Minute
	}
	if o.Implicit && !HasImplicit(o.Kind) {
		tb.Fatalf("lab: %s has no implicit TLS", o.Kind)
	}
	s := &Server{Kind: o.Kind, Host: o.Bind, Implicit: o.Implicit, User: Account, tb: tb, opts: o}
	s.state = Folder(tb, "ftpsfs-lab-state-")
	prepare := map[Kind]func() error{
		VSFTPD: s.prepareVSFTPD, ProFTPD: s.prepareProFTPD, PureFTPd: s.preparePureFTPd, Embedded: s.prepareEmbedded,
	}[o.Kind]
	if prepare == nil {
		tb.Fatalf("lab: unknown kind of server %q", o.Kind)
	}
	if o.Kind != Embedded {
		s.lodge()
	}
	s.Port, s.PassiveLow, s.PassiveHigh = claimPorts(tb, o.Bind)
	if err := prepare(); err != nil {
		Unavailable(tb, "%s: %v", o.Kind, err)
	}
	s.start()
	tb.Cleanup(func() {
		s.Stop()
		if tb.Failed() {
			tb.Logf("log of %s, its end:\n%s", s.Kind, tail(s.Log(), 6000))
		}
	})
	return s
}

// lodge finds the account and makes the folder to serve.
func (s *Server) lodge() {
	s.tb.Helper()
	if os.Getuid() != 0 {
		Unavailable(s.tb, "%s needs root to serve files as %s", s.Kind, Account)
	}
	u, err := user.Lookup(Account)
	if err != nil {
		Unavailable(s.tb, "%v: run mount_test/setup.sh", err)
	}
	s.UID, _ = strconv.Atoi(u.Uid)
	s.GID, _ = strconv.Atoi(u.Gid)
	password, err := os.ReadFile(filepath.Join(folder(), "password"))
	if err != nil {
		Unavailable(s.tb, "%v: run mount_test/setup.sh", err)
	}
	s.Password = strings.TrimSpace(string(password))
	s.Root = s.opts.Root
	if s.Root == "" {
		s.Root = Folder(s.tb, "ftpsfs-lab-root-")
	}
	if err := os.Chown(s.Root, s.UID, s.GID); err != nil {
		s.tb.Fatalf("lab: %v", err)
	}
}

// certificate gives the server's certificate and sets CAFile.
func (s *Server) certificate() (Cert, error) {
	if s.opts.Cert != nil {
		s.CAFile = s.opts.CAFile
		return *s.opts.Cert, nil
	}
	ca := NewAuthority(s.tb)
	s.CAFile = ca.File
	return ca.Issue(s.tb, CertSpec{}), nil
}

// start runs the server and waits until it answers.
func (s *Server) start() {
	s.tb.Helper()
	c, err := s.command()
	if err != nil {
		s.tb.Fatalf("lab: %s: %v", s.Kind, err)
	}
	if s.Kind == Embedded {
		s.proc, err = s.startEmbedded(c)
	} else {
		s.proc, err = run(c, s.logFile())
	}
	if err != nil {
		s.tb.Fatalf("lab: %s: %v", s.Kind, err)
	}
	s.URL = s.URLVia(s.Host)
	if err := s.await(); err != nil {
		s.proc.kill()
		s.tb.Fatalf("lab: %s did not start: %v\n%s", s.Kind, err, tail(s.Log(), 3000))
	}
}

// await waits for the server's port. It makes no connection: that would count as a session for a moment after its end.
func (s *Server) await() error {
	deadline := time.Now().Add(startTimeout)
	for !listening(s.Host, s.Port) {
		select {
		case <-s.proc.done:
			return fmt.Errorf("it ended: %v", s.proc.err)
		case <-time.After(10 * time.Millisecond): // no server tells when it is ready
		}
		if time.Now().After(deadline) {
			return errors.New("it does not listen in time")
		}
	}
	return nil
}

// Version is the only TLS version that was asked for, "" when any is fine. The embedded server offers all the same.
func (s *Server) Version() string { return s.opts.Version }

// Addr is the address of the control port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// URLVia is URL with another host in it, for a relay on the same port.
func (s *Server) URLVia(host string) string {
	u := url.URL{Scheme: "ftps", User: url.User(s.User), Host: net.JoinHostPort(host, strconv.Itoa(s.Port)), Path: "/"}
	return u.String()
}

// Disk gives the place of a served file on this machine's disk.
func (s *Server) Disk(elem ...string) string {
	return filepath.Join(append([]string{s.Root}, elem...)...)
}

// Stop ends the server and all its sessions. Idempotent.
func (s *Server) Stop() {
	if s.proc != nil {
		s.proc.terminate()
		s.proc = nil
	}
}

// Kill ends the server and all its sessions at once, as a crash of the machine would, without any goodbye.
func (s *Server) Kill() {
	if s.proc != nil {
		s.proc.kill()
		s.proc = nil
	}
}

// KillSessions ends all sessions at once and leaves the server running. The embedded server has no processes to end.
func (s *Server) KillSessions() {
	if s.proc != nil {
		s.proc.killChildren()
	}
}

// Sessions is the number of processes that serve clients now; more than one may serve one client (vsftpd).
func (s *Server) Sessions() int {
	if s.proc == nil {
		return 0
	}
	return len(descendants(s.proc.pid()))
}

// Restart starts the server again on the same ports with the same folder; it is stopped first if it runs.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.start()
}

// Log gives what the server logged so far. Pure-FTPd logs to syslog only, so there is little to see of it.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (s *Server) logFile() string { return filepath.Join(s.state, "log") }

// Folder makes a folder below the temporary one that every account may enter, and removes it when the test ends.
// (tb.TempDir's are closed to others.)
func Folder(tb testing.TB, prefix string) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("lab: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return dir
}

// Unavailable skips the test because the machine lacks something, and fails it when CI=true.
func Unavailable(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("lab: "+format, args...)
	}
	tb.Skipf("lab: "+format, args...)
}

// folder is where setup.sh put what cannot be installed.
func folder() string {
	if dir := os.Getenv("FTPSFS_LAB"); dir != "" {
		return dir
	}
	return "/opt/ftpsfs-lab"
}

// demo is what `ftpsfs demo --serve` prints when it is ready.
type demo struct {
	URL      string `json:"url"`
	CA       string `json:"ca"`
	User     string `json:"user"`
	Password string `json:"password"`
	Root     string `json:"root"`
}

func parseDemo(line []byte) (demo, error) {
	var d demo
	if err := json.Unmarshal(line, &d); err != nil {
		return d, fmt.Errorf("first line %q: %w", line, err)
	}
	if d.URL == "" || d.CA == "" || d.User == "" || d.Password == "" || d.Root == "" {
		return d, fmt.Errorf("first line %q lacks a field", line)
	}
	return d, nil
}

func tail(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
