//go:build linux

package mount_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReliabilityTable holds docs/RELIABILITY.md against the tests: each row names one that exists.
func TestReliabilityTable(t *testing.T) {
	tests := map[string]bool{}
	files, err := filepath.Glob("*_test.go")
	must(t, err)
	for _, file := range files {
		source, err := os.ReadFile(file)
		must(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`).FindAllStringSubmatch(string(source), -1) {
			tests[m[1]] = true
		}
	}
	doc, err := os.ReadFile("../docs/RELIABILITY.md")
	must(t, err)
	rows := 0
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || cells[1] == "---" || strings.TrimSpace(cells[1]) == "fault" {
			continue
		}
		rows++
		if name := strings.TrimSpace(cells[4]); !tests[name] {
			t.Errorf("the row of %q names the test %q, which does not exist", strings.TrimSpace(cells[1]), name)
		}
	}
	if rows == 0 {
		t.Error("the table has no rows")
	}
}
