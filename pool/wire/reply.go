package wire

import (
	"fmt"
	"strings"
)

// Reply is one complete reply of the server (RFC 959 section 4.2). It is not changed after it was handed out.
type Reply struct {
	Code int
	// Lines are the texts, one per line, without line ends. The first and the last line have lost their code and
	// separator; lines between are as the server sent them (RFC 2389 and 3659 give their leading space a meaning).
	Lines []string
}

// Preliminary says that another reply to the same command follows (1yz).
func (r Reply) Preliminary() bool { return r.Code >= 100 && r.Code < 200 }

// OK says that the command was carried out (2yz).
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 300 }

// Intermediate says that the server waits for the next command of a sequence (3yz).
func (r Reply) Intermediate() bool { return r.Code >= 300 && r.Code < 400 }

// Transient says that the command was refused and may succeed later (4yz).
func (r Reply) Transient() bool { return r.Code >= 400 && r.Code < 500 }

// Refused says that the command was not carried out (4yz, 5yz and what RFC 2228 adds above).
func (r Reply) Refused() bool { return r.Code >= 400 }

// Text gives all lines, joined by line feeds.
func (r Reply) Text() string { return strings.Join(r.Lines, "\n") }

// Last gives the last line: where most servers say what happened.
func (r Reply) Last() string {
	if len(r.Lines) == 0 {
		return ""
	}
	return r.Lines[len(r.Lines)-1]
}

// Inner gives the lines between the first and the last of a multi-line reply.
func (r Reply) Inner() []string {
	if len(r.Lines) < 3 {
		return nil
	}
	return r.Lines[1 : len(r.Lines)-1]
}

// String gives the reply as one line for logs and messages, cut where it gets long.
func (r Reply) String() string {
	s := strings.Join(r.Lines, " / ")
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return strings.TrimRight(fmt.Sprintf("%03d %s", r.Code, printable(s)), " ")
}

const maxShown = 300

// printable replaces what a terminal would interpret.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return '?'
		}
		return c
	}, s)
}

// ReplyError is a refusal: the server understood the dialogue and said no.
type ReplyError struct {
	Cmd   string // the command with its secrets redacted
	Reply Reply
	// Advice says in words what the user can do, naming the option; "" when there is nothing to say.
	Advice string

	original Reply // with its secrets, zero when Reply has none
}

// Original is the reply as it came: to be judged, never to be shown, as it may repeat a secret.
func (e *ReplyError) Original() Reply {
	if e.original.Code != 0 {
		return e.original
	}
	return e.Reply
}

// Error gives one line.
func (e *ReplyError) Error() string {
	s := e.Reply.String()
	if e.Cmd != "" {
		s = printable(e.Cmd) + ": " + s
	}
	if e.Advice != "" {
		s += " (" + e.Advice + ")"
	}
	return s
}
