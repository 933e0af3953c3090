package wire

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	for _, c := range []struct{ text, secret, want string }{
		{"530 correct-horse is wrong", "correct-horse", "530 *** is wrong"},
		{"530 xcorrect-horsex", "correct-horse", "530 x***x"},
		{"550 /a: No such file or directory", "a", "550 /***: No such file or directory"},
		{"550 No such file", "file", "550 No such ***"},
		{"550 profiles", "file", "550 profiles"},
		{"530 <pw1>, \"pw1\", pw1", "pw1", "530 <***>, \"***\", ***"},
		{"530 üpw1 pw1ü", "pw1", "530 üpw1 pw1ü"},
		{"550 nothing", "", "550 nothing"},
	} {
		if got := Redact(c.text, c.secret); got != c.want {
			t.Errorf("Redact(%q, %q) = %q, want %q", c.text, c.secret, got, c.want)
		}
	}
}

// TestRefusalsAreJudgedAsTheyCame: a password that is an ordinary word does not change what a reply means.
func TestRefusalsAreJudgedAsTheyCame(t *testing.T) {
	c, _ := newLine(t, Options{})
	c.AddSecret("file")
	e := c.ReplyError("RETR /x", Reply{Code: 550, Lines: []string{"/x: No such file or directory"}})
	if got := e.Original().Text(); !strings.Contains(got, "No such file") || strings.Contains(e.Error(), "such file") {
		t.Errorf("original %q, shown %q", got, e)
	}
}
