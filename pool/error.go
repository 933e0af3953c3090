package pool

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// Kind says what sort of failure an [Error] is. It is decided once, here, from the reply (RFC 959 section 4.2 and what
// real servers say) or from the transport; the file system maps it once to an errno.
type Kind uint8

// The kinds. KindRefused is what a 550 without a usable text leaves: the server said no and did not say why. Operations
// of this package look again (Stat) before they return it, so it means "the object is as expected, and still: no".
const (
	KindOther       Kind = iota // a failure that fits nowhere else: EIO
	KindNotFound                // no such file or folder
	KindExists                  // the name is taken
	KindNotEmpty                // folder not empty
	KindIsDir                   // a folder where a file was expected
	KindNotDir                  // a file where a folder was expected
	KindPermission              // the server forbids it
	KindRefused                 // refused for a reason the server did not tell
	KindReadOnly                // this server or account takes no writes at all
	KindNoSpace                 // the server's disk is full (452 and texts)
	KindQuota                   // the account's quota is used up (552 and texts)
	KindUnsupported             // the server cannot do this (500, 501, 502, 504)
	KindInvalidName             // a name that FTP, or this server, cannot carry
	KindNameTooLong             // a command line the server would not take
	KindTooLarge                // a file larger than the server stores
	KindChanged                 // the file is no longer the one that was opened
	KindIncomplete              // a transfer ended, and the other side does not have all of it
	KindAuth                    // login refused
	KindTrust                   // the certificate was not believed
	KindTLSPolicy               // no TLS, PROT P refused, session reuse impossible
	KindLimit                   // the server takes no more connections
	KindTimeout                 // no progress within the bound
	KindNetwork                 // connection refused, cut, reset, name not resolved
	KindCanceled                // the caller gave up
	KindProtocol                // the peer does not speak FTP as anybody wrote it down
	KindClosed                  // the pool was closed
)

// Error is every failure that leaves this package.
type Error struct {
	Op    string // what was attempted, in words of a file system: "stat", "list", "store", "login"
	Path  string // path within the mount, "" when there is none
	Kind  Kind
	Code  int    // FTP reply code, 0 when there was none
	Reply string // reply text, secrets redacted, one line
	// Advice says what the user can do about it, naming the option; "" when there is nothing to say.
	Advice string
	Err    error // the cause below, nil when the reply is the cause

	// unsure: Kind is a guess from a reply that may mean several things; a look at the server may tell more.
	unsure bool
}

// Error gives one line, fit for a log.
func (e *Error) Error() string {
	s := e.Op
	if e.Path != "" {
		s += fmt.Sprintf(" %q", e.Path)
	}
	s += ": " + e.Kind.String()
	if e.Code != 0 {
		s += fmt.Sprintf(" (%d %s)", e.Code, e.Reply)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// LogValue gives the line with the advice, which a log is the only place for when nobody waits for a command to end.
func (e *Error) LogValue() slog.Value {
	s := e.Error()
	if e.Advice != "" && !strings.Contains(s, e.Advice) { // a certificate's error tells it by itself
		s += "; " + e.Advice
	}
	return slog.StringValue(s)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf gives the kind of the first [Error] in err's chain, KindOther for any other error.
// It is not meant for nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindOther
}

var kindNames = [...]string{
	KindOther: "failed", KindNotFound: "not found", KindExists: "exists", KindNotEmpty: "folder not empty",
	KindIsDir: "is a folder", KindNotDir: "not a folder", KindPermission: "permission denied", KindRefused: "refused",
	KindReadOnly: "read-only", KindNoSpace: "no space left on the server", KindQuota: "quota exceeded",
	KindUnsupported: "not supported by the server", KindInvalidName: "name not possible on this server",
	KindNameTooLong: "name too long", KindTooLarge: "file too large", KindChanged: "changed on the server",
	KindIncomplete: "transfer incomplete", KindAuth: "login refused", KindTrust: "certificate not trusted",
	KindTLSPolicy: "no protected connection", KindLimit: "too many connections", KindTimeout: "timed out",
	KindNetwork: "connection failed", KindCanceled: "canceled", KindProtocol: "not understood",
	KindClosed: "closed",
}

// String gives the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}
