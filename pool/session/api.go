package session

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// apiNotes: Session is one logged-in control connection with at most one data channel in use and at most one prepared.
//
// It has one user at a time; Close, Poisoned, Healthy, Info and Data.Abort may be called from any goroutine.
//
//	Dial(ctx, cfg) (*Session, error)                        TCP, TLS, login; all under cfg.ConnectTimeout and ctx
//	(s) Flight(ctx, cmds...) ([]wire.Reply, error)          all commands sent, then all replies read in order; a refusal (4xx/5xx) is
//	                                                        a Reply, not an error; an error means the session is poisoned,
//	                                                        except wire.ErrName and wire.ErrTooLong (nothing was sent)
//	(s) Command(ctx, cmd) (wire.Reply, error)               one command; 4xx/5xx is a *wire.ReplyError (session lives)
//	(s) Transfer(ctx, TransferRequest) (*Data, error)       *wire.ReplyError: refused, session lives; others: poisoned
//	(s) Prepare(ctx) error                                  spare data channel made ahead; no-op when there is one
//	(s) HasSpare() bool
//	(s) KeepAlive(ctx) error                                NOOP
//	(s) Healthy() bool                                      nothing unread on the line: no 421, no FIN, not poisoned
//	(s) Poisoned() error                                    nil while the session is usable, else why not
//	(s) Close()                                             QUIT (best effort, aside), then closed. Idempotent
//	(s) Info() Info
//
//	(d) Read(p), Write(p)                                   deadlines of no progress (cfg.Timeout) on each call
//	(d) Finish(ctx) (wire.Reply, error)                     ends the data, reads the final reply. 4xx/5xx: *wire.ReplyError
//	(d) Abort()                                             resets the data channel, one final reply under a second, else poison
//	(d) CloseNotify() bool                                  the peer ended its data with a TLS close_notify (always true in clear)
//	(d) Resumed() bool                                      the TLS handshake resumed the control session
//	(d) Preliminary() wire.Reply                            the 1xx
type apiNotes struct{}

// TransferRequest says what to transfer.
type TransferRequest struct {
	// Verb is the whole command: "RETR x", "STOR x", "APPE x", "MLSD x", "LIST -a". STOR, APPE and STOU are uploads.
	Verb string
	Rest int64 // offset for REST, sent together with Verb; 0: no REST
	// Before are commands that go out in the same flight ahead of REST and Verb ("CWD x", "RANG a b"). If the server refuses
	// one of them the transfer is cut off and the refusal is returned as *wire.ReplyError.
	Before []string
	// Next sends the EPSV for the following transfer as soon as this one's data ended: Finish leaves a spare
	// data channel on its way and costs nothing more.
	Next bool
}

// Info is what a session knows about its server.
type Info struct {
	Greeting string
	Features map[string]string // FEAT: upper-case name to parameters
	HasFEAT  bool
	Home     string // PWD right after login, "" when the server did not tell
	Control  tls.ConnectionState
	Data     tls.ConnectionState // of the latest data channel; zero before the first
	DataSeen bool                // a data channel was used
	// DataResumed says whether the latest data channel resumed its control session.
	DataResumed bool
	DataPort    int // of the latest passive data channel
	Prot        Protection
	Quirks      Quirks
	RemoteAddr  net.Addr
	LocalAddr   net.Addr
	Since       time.Time
}

// Protection is what the two channels have, as observed, not as asked for.
type Protection struct {
	Control bool // TLS on the control connection (false after CCC)
	Data    bool // TLS on data channels
}

// Quirks are what was learned of a server and what a later session needs not learn again. It is kept as JSON.
type Quirks struct {
	SerialLogin     bool   `json:"serial_login,omitempty"`      // dislikes login commands in one flight
	LateClientHello bool   `json:"late_client_hello,omitempty"` // ClientHello on a data channel only after the 1xx
	NoEPSV          bool   `json:"no_epsv,omitempty"`           // PASV it is
	MLSTFacts       string `json:"mlst_facts,omitempty"`        // argument of OPTS MLST that turns all facts on
	P256            bool   `json:"p256,omitempty"`              // server asked for another key share: P-256 first
}

// ErrClosed is the reason of sessions that were closed by their owner.
var ErrClosed = errors.New("session closed")

var (
	_ = apiNotes{}
	_ context.Context
	_ wire.Reply
)

// Dial makes one session.
func Dial(ctx context.Context, cfg Config) (*Session, error) { panic("being written") }

// Session is described above.
type Session struct{}

// Flight sends all commands and reads all replies.
func (s *Session) Flight(ctx context.Context, cmds ...string) ([]wire.Reply, error) { panic("w") }

// Command sends one command; a refusal is an error.
func (s *Session) Command(ctx context.Context, cmd string) (wire.Reply, error) { panic("w") }

// Transfer starts a transfer.
func (s *Session) Transfer(ctx context.Context, r TransferRequest) (*Data, error) { panic("w") }

// Prepare makes the spare data channel.
func (s *Session) Prepare(ctx context.Context) error { panic("w") }

// HasSpare says whether a data channel is prepared.
func (s *Session) HasSpare() bool { panic("w") }

// KeepAlive sends a NOOP.
func (s *Session) KeepAlive(ctx context.Context) error { panic("w") }

// Healthy says that the line is quiet and usable.
func (s *Session) Healthy() bool { panic("w") }

// Poisoned gives the reason why the session is not usable any more.
func (s *Session) Poisoned() error { panic("w") }

// Close ends the session.
func (s *Session) Close() { panic("w") }

// Info tells what is known.
func (s *Session) Info() Info { panic("w") }

// Data is a transfer under way.
type Data struct{}

// Read reads payload.
func (d *Data) Read(p []byte) (int, error) { panic("w") }

// Write sends payload.
func (d *Data) Write(p []byte) (int, error) { panic("w") }

// Finish ends the data and reads the final reply.
func (d *Data) Finish(ctx context.Context) (wire.Reply, error) { panic("w") }

// Abort cuts the transfer off.
func (d *Data) Abort() { panic("w") }

// CloseNotify says that the peer ended its data properly.
func (d *Data) CloseNotify() bool { panic("w") }

// Resumed says that the data channel's TLS session was resumed.
func (d *Data) Resumed() bool { panic("w") }

// Preliminary gives the 1xx reply.
func (d *Data) Preliminary() wire.Reply { panic("w") }
