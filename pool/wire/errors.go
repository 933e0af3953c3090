package wire

import (
	"errors"
	"fmt"
)

// Errors of a command that was not sent; the line is as it was.
var (
	// ErrName: CR, LF, NUL or 0xFF in a command.
	ErrName = errors.New("name contains a byte that FTP cannot carry")
	// ErrTooLong: a command of more than MaxCommand bytes.
	ErrTooLong = errors.New("command too long")
	// ErrClear: a secret would have gone over a line without TLS.
	ErrClear = errors.New("refused to send a secret in clear")
)

// Errors of a line that is not usable any more.
var (
	// ErrGarbage: the peer's bytes are no FTP reply, or no end of one. Comes as *GarbageError.
	ErrGarbage = errors.New("server sent something that is not an FTP reply")
	// ErrUnsolicited: a reply came that nobody had asked for.
	ErrUnsolicited = errors.New("server sent an unexpected reply")
	// ErrTimeout: no progress within the bound. It is a net.Error with Timeout() true.
	ErrTimeout error = timeoutError{}
	// ErrClosed: the line was closed by its owner.
	ErrClosed = errors.New("control connection closed")
	// ErrEOF: the server closed the control connection.
	ErrEOF = errors.New("server closed the control connection")
	// ErrInjected: bytes came in clear behind the reply that starts TLS; somebody on the way may have put them there.
	ErrInjected = errors.New("server sent data in clear after agreeing to TLS")
)

// MaxCommand is the longest command that all servers known take, in bytes without line end.
const MaxCommand = 2000

// GarbageError holds the start of what was received in place of a reply.
type GarbageError struct {
	Line   string // at most 80 bytes
	Reason string
}

// Error gives one line.
func (e *GarbageError) Error() string {
	return fmt.Sprintf("%v: %s: %q", ErrGarbage, e.Reason, e.Line)
}

// Is makes errors.Is(err, ErrGarbage) true.
func (e *GarbageError) Is(target error) bool { return target == ErrGarbage }

type timeoutError struct{}

func (timeoutError) Error() string   { return "no answer within the time limit" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }
