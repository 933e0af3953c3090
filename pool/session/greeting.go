package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// GreetingError says that whoever listens there is no FTP server, or not one for this way of starting TLS.
type GreetingError struct {
	Detail string
	Advice string
	Err    error
}

// Error gives one line.
func (e *GreetingError) Error() string {
	if e.Advice == "" {
		return e.Detail
	}
	return e.Detail + "; " + e.Advice
}

// Unwrap gives the cause.
func (e *GreetingError) Unwrap() error { return e.Err }

// explainGreeting says in words what came in place of a greeting.
func explainGreeting(err error, mode TLSMode) error {
	var g *wire.GarbageError
	switch {
	case errors.As(err, &g):
		return explainGarbage(g)
	case mode == TLSExplicit && (errors.Is(err, wire.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)):
		return &GreetingError{Err: err, Detail: "server accepts the connection but does not greet",
			Advice: "if this port expects TLS from the first byte, use tls=implicit"}
	case mode == TLSExplicit && errors.Is(err, wire.ErrEOF):
		return &GreetingError{Err: err, Detail: "server closed the connection without a greeting",
			Advice: "it may take no more connections (max_conns=), or expect TLS from the first byte (tls=implicit)"}
	}
	return err
}

func explainGarbage(g *wire.GarbageError) error {
	e := &GreetingError{Err: g}
	switch line := strings.ToUpper(g.Line); {
	case strings.HasPrefix(line, "SSH-"):
		e.Detail = "this is an SSH server, not an FTP server"
		e.Advice = "use sshfs for SFTP, or the port of the FTP server"
	case strings.HasPrefix(line, "HTTP/"), strings.HasPrefix(line, "<!DOCTYPE"), strings.HasPrefix(line, "<HTML"):
		e.Detail, e.Advice = "this is a web server, not an FTP server", "check the port"
	case strings.HasPrefix(g.Line, "\x15\x03"), strings.HasPrefix(g.Line, "\x16\x03"):
		e.Detail, e.Advice = "this port speaks TLS from the first byte", "use tls=implicit"
	case strings.HasPrefix(line, "* OK"), strings.HasPrefix(line, "+OK"):
		e.Detail, e.Advice = "this is a mail server, not an FTP server", "check the port"
	case strings.HasPrefix(line, "RFB "):
		e.Detail, e.Advice = "this is a VNC server, not an FTP server", "check the port"
	default:
		e.Detail, e.Advice = fmt.Sprintf("this is not an FTP server: it greets with %q", g.Line), "check host and port"
	}
	return e
}
