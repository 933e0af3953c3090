package options

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/fs"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// Options is one mount as the user asked for it. File names in it are absolute.
type Options struct {
	Target     Target
	Mountpoint string // absolute and clean; "" for commands without one

	Foreground bool // stay in the foreground
	Debug      bool // dialogue and kernel requests on stderr
	Fake       bool // mount(8)'s -f: everything but the mount
	Verbose    bool
	Namespace  string // mount(8)'s -N: mount namespace, a process id or a file; "" is our own

	TLS            session.TLSMode
	Trust          trust.Config // without KnownHosts and the questions: those need a terminal and a state folder
	MaxConns       int
	Timeout        time.Duration
	ConnectTimeout time.Duration
	Verify         pool.Verify
	Emulate        Emulate
	Account        string

	Active           bool
	ActivePorts      [2]int // 0, 0: any port
	ActiveAddr       net.IP
	TrustPASVAddress bool
	NoEPSV           bool
	ProtClear        bool
	CCC              bool

	PasswordFile string
	Askpass      string
	Netrc        string // "" is ~/.netrc

	ReadOnly           bool
	AllowOther         bool
	DefaultPermissions bool
	UID, GID           *uint32  // nil: the mounting user, or what the server says
	Umask              *uint32  // nil: none
	Kernel             []string // options for the kernel's mount: noexec, noatime...

	AttrTTL, DirTTL, NegTTL time.Duration

	Replace  content.Replace
	Symlinks fs.Symlinks

	StateDir  string // "" is the default
	StageSize int64  // bytes
	CacheMem  int64  // bytes

	tlsGiven bool // tls= was written, so that it can be compared with the URL
}

// Defaults gives the values that hold where the user says nothing.
func Defaults() Options {
	return Options{
		MaxConns:       8,
		Timeout:        30 * time.Second,
		ConnectTimeout: 10 * time.Second,
		AttrTTL:        10 * time.Second,
		DirTTL:         10 * time.Second,
		NegTTL:         5 * time.Second,
		StageSize:      10 << 30,
		CacheMem:       64 << 20,
	}
}

// Emulate says what is made up for on this machine where the server cannot do it.
type Emulate struct {
	Mode, ModTime bool // kept here
	Allocate      bool // fallocate(2) succeeds, though nothing is reserved
}

// Keeps reports whether anything is written down on this machine.
func (e Emulate) Keeps() bool { return e.Mode || e.ModTime }

// String gives it as it is written in emulate=, "" for nothing.
func (e Emulate) String() string {
	var words []string
	for _, w := range emulateWords {
		if *w.in(&e) {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, "+")
}

// emulateWords are the words of emulate=, in the order in which they are shown.
var emulateWords = []struct {
	name string
	in   func(*Emulate) *bool
}{
	{"mode", func(e *Emulate) *bool { return &e.Mode }},
	{"mtime", func(e *Emulate) *bool { return &e.ModTime }},
	{"fallocate", func(e *Emulate) *bool { return &e.Allocate }},
}

// parseEmulate reads words joined by plus signs.
func parseEmulate(s string) (e Emulate, err error) {
	for word := range strings.SplitSeq(s, "+") {
		known := false
		for _, w := range emulateWords {
			if w.name == word {
				*w.in(&e), known = true, true
			}
		}
		if !known {
			return Emulate{}, fmt.Errorf("%q is not known: write mode, mtime or fallocate, or several joined by +", word)
		}
	}
	return e, nil
}
