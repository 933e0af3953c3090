package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// shortSecret: shorter ones may be a part of any word, so only whole words are hidden.
const shortSecret = 8

// Redact hides secrets in a text that people will read.
func Redact(s string, secrets ...string) string {
	for _, x := range secrets {
		switch {
		case x == "":
		case len(x) >= shortSecret:
			s = strings.ReplaceAll(s, x, "***")
		default:
			s = redactWords(s, x)
		}
	}
	return s
}

// redactWords hides secret where it is not a part of a longer word.
func redactWords(s, secret string) string {
	var b strings.Builder
	for rest := s; ; {
		i := strings.Index(rest, secret)
		if i < 0 {
			b.WriteString(rest)
			return b.String()
		}
		before, _ := utf8.DecodeLastRuneInString(s[:len(s)-len(rest)+i])
		after, _ := utf8.DecodeRuneInString(rest[i+len(secret):])
		b.WriteString(rest[:i])
		if inWord(before) || inWord(after) {
			b.WriteString(secret)
		} else {
			b.WriteString("***")
		}
		rest = rest[i+len(secret):]
	}
}

func inWord(r rune) bool { return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r)) }
