package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

const repo = "../.." // where the repository's root is seen from here

// TestSecurityDocument: each test that the threat model names exists.
func TestSecurityDocument(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join(repo, "docs", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err = filepath.WalkDir(repo, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		src, err := os.ReadFile(name)
		for _, m := range declared.FindAllSubmatch(src, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(doc), -1)
	if len(named) < 40 {
		t.Errorf("only %d tests named", len(named))
	}
	for _, m := range named {
		if !have[m[1]] {
			t.Errorf("SECURITY.md names %s, which does not exist", m[1])
		}
	}
	for _, line := range strings.Split(string(doc), "\n") {
		if cells := strings.Split(line, "|"); len(cells) == 5 && !strings.Contains(line, "---") && !strings.Contains(line, "shown by") && !strings.Contains(cells[3], "`Test") {
			t.Errorf("no test for: %s", line)
		}
	}
}

// TestManual: the manual and `ftpsfs help` know every option, and the manual knows no other.
func TestManual(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repo, "docs", "man", "ftpsfs.1"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\\f[A-Z]`).ReplaceAllString(string(page), "")
	help := options.Help()
	for _, name := range options.Names() {
		word := regexp.MustCompile(`(^|[^a-z_])` + regexp.QuoteMeta(name) + `([^a-z_]|$)`)
		if !word.MatchString(text) {
			t.Errorf("the manual does not know %s", name)
		}
		if !word.MatchString(help) {
			t.Errorf("help does not know %s", name)
		}
	}
	for _, c := range commands() {
		if !strings.Contains(text, c.name) || !strings.Contains(usage, c.name) && c.name != "mount" && c.name != "unmount" {
			t.Errorf("the manual or help does not know the command %s", c.name)
		}
	}
}
