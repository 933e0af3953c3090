// Package exitcode holds the exit statuses of the program, the ones of mount(8), and the error that carries one.
package exitcode

import (
	"errors"
	"strings"
)

// The exit statuses that scripts, mount(8) and systemd rely on.
const (
	OK     = 0
	Usage  = 1  // the command line or a configuration file is wrong
	System = 2  // this machine cannot: no memory, no /dev/fuse, a folder that cannot be written
	Mount  = 32 // the mount failed, or does not work
)

// Error is a failure as the user reads it: one line that says what failed and what to do about it.
type Error struct {
	Code int
	What string // what failed; never a secret
	Todo string // what the user can do about it, "" when there is nothing to say
	Err  error  // the cause, shown after What; nil when What says it all
}

// Error gives the line without the name of the program in front.
func (e *Error) Error() string {
	s := e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Todo != "" {
		s += "; " + e.Todo
	}
	return OneLine(s)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// NewUsage is an error of the command line: what is wrong and what to write instead.
func NewUsage(what, todo string) *Error { return &Error{Code: Usage, What: what, Todo: todo} }

// NewSystem is an error of this machine.
func NewSystem(what string, err error, todo string) *Error {
	return &Error{Code: System, What: what, Err: err, Todo: todo}
}

// NewMount is a mount that failed.
func NewMount(what string, err error, todo string) *Error {
	return &Error{Code: Mount, What: what, Err: err, Todo: todo}
}

// Of gives the exit status for err: 0 for nil, the status that it carries, else System.
func Of(err error) int {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return System
}

// OneLine joins the lines of s, so that whatever a server or a library says stays one line on the terminal, without
// control characters that would act on it.
func OneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 { // C0, DEL and C1
			return '?'
		}
		return r
	}, s)
}
