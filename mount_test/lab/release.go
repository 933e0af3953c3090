package lab

import (
	"context"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Release is the version that the server's program tells of itself, "" if it tells none.
func (s *Server) Release() string {
	arg := map[Kind]string{VSFTPD: "-v", ProFTPD: "-v", PureFTPd: "--help"}[s.Kind]
	if arg == "" || s.proc == nil {
		return ""
	}
	return Release(s.tb, s.proc.cmd.Path, arg)
}

var release = regexp.MustCompile(`\d+(\.\d+)+[-.\w]*`)

// Release runs a program that is asked for its version, and gives the first that it tells, "" if it tells none.
func Release(tb testing.TB, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	// vsftpd tells it on its standard input. What is told is the beginning of the output: errors behind it do not matter.
	cmd := exec.CommandContext(ctx, "sh", "-c", `"$0" "$@" 2>&1 0>&1 | cat`, program)
	cmd.Args = append(cmd.Args, args...)
	cmd.WaitDelay = time.Second
	out, _ := cmd.Output()
	return strings.TrimRight(release.FindString(string(out)), ".")
}
