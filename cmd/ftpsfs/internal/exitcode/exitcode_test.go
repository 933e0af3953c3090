package exitcode

import (
	"errors"
	"fmt"
	"testing"
)

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"a\nb\r\nc\n":            "a b c",
		"\x1b[31mred\x07\x00\t!": "?[31mred???!",
		"\u009b2J":               "?2J",
		"Größe":                  "Größe",
	} {
		if got := OneLine(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestOf(t *testing.T) {
	cause := errors.New("cause")
	e := NewMount("what", cause, "todo")
	if e.Error() != "what: cause; todo" || !errors.Is(e, cause) {
		t.Error(e)
	}
	for want, err := range map[int]error{
		OK: nil, Usage: NewUsage("x", ""), System: cause, Mount: fmt.Errorf("around: %w", e),
	} {
		if got := Of(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
