package session

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// TLSMode says how TLS starts.
type TLSMode uint8

// The modes of RFC 4217: AUTH TLS on an FTP line, or TLS from the first byte.
const (
	TLSExplicit TLSMode = iota
	TLSImplicit
)

// Counter is told what a session does. Its methods are called from many goroutines and must not block.
type Counter interface {
	wire.Counter
	// DataChannel is called when a data channel was opened.
	DataChannel()
	// DataBytes is called with bytes of payload received from and sent to the server.
	DataBytes(received, sent int)
}

// Config says how one session is made. It is shared by all sessions of a pool and is not changed after the first use.
type Config struct {
	Host string // name or address as the user gave it; also the name that the certificate must carry
	Port int
	User string
	// Password is asked once per login, so that a prompt, a keyring or an askpass program can stand behind it.
	// nil: no password (login by certificate).
	Password func(ctx context.Context) (string, error)
	Account  string // for ACCT, "" none

	TLS   TLSMode
	Trust trust.Config
	// Policy is made of Trust once for all sessions (trust.NewPolicy); nil: each Dial makes its own, reading files and
	// asking for passphrases anew.
	Policy         *trust.Policy
	ConnectTimeout time.Duration // TCP, TLS and login together
	Timeout        time.Duration // no progress on a reply or on a data channel

	Active      bool // EPRT/PORT in place of EPSV/PASV
	ActivePorts [2]int
	ActiveAddr  net.IP
	// TrustPASVAddress connects to the address in a 227 reply; by default only the port is taken and the control
	// connection's peer is called.
	TrustPASVAddress bool
	// NoEPSV uses PASV and PORT (RFC 959) in place of EPSV and EPRT (RFC 2428) where the address is IPv4's; IPv6 has no
	// others.
	NoEPSV    bool
	ProtClear bool // PROT C: data in clear, asked for in words
	CCC       bool // control channel back to clear after login, asked for in words

	// Spare has the login ask for the first data channel in the same flight, where EPSV is what we use: it is connected a round
	// trip sooner than with a Prepare behind the login, which does it in all other cases.
	Spare bool

	// FreshData makes each data channel begin a TLS session of its own, to find out whether the server puts up with that.
	FreshData bool

	// Dial replaces net.Dialer.DialContext, for tests. nil: the real one.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger // dialogue at debug level, secrets redacted

	// Greeted is told when a server has greeted, before anything is sent; nil: nobody.
	Greeted func()
	// Counter is told of commands, waits, data channels and bytes; nil: nobody.
	Counter Counter
	// Quirks are what earlier sessions with this server learned (Info().Quirks); the owner may change it between calls
	// of Dial.
	Quirks Quirks
	// Name is put into log lines to tell sessions apart.
	Name string
}
