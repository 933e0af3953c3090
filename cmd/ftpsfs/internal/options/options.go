package options

import (
	"net"
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

// Emulate says what is kept on this machine where the server cannot set it.
type Emulate struct {
	Mode, ModTime bool
}

// String gives it as it is written in emulate=, "" for nothing.
func (e Emulate) String() string {
	switch {
	case e.Mode && e.ModTime:
		return "mode+mtime"
	case e.Mode:
		return "mode"
	case e.ModTime:
		return "mtime"
	}
	return ""
}
