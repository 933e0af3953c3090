package mountpoint

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// TestUsers finds a program by its working folder and by an open file.
func TestUsers(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Of all other processes some may be such that the kernel makes us wait.
	users := func(pid int) (list []string) {
		scan([]string{fmt.Sprintf("/proc/%d", pid)}, dir, func(user string) bool { list = append(list, user); return true })
		return list
	}
	f, err := os.Create(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, in := range []struct{ cwd, stdin string }{{cwd: dir}, {stdin: f.Name()}, {}} {
		cmd := exec.Command("sleep", "60")
		cmd.Dir = in.cwd
		if in.stdin != "" {
			cmd.Stdin = f
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		want := []string{fmt.Sprintf("sleep (%d)", cmd.Process.Pid)}
		if in.cwd == "" && in.stdin == "" {
			want = nil
		}
		if got := users(cmd.Process.Pid); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", in, got, want)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

func TestOtherAllowed(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "fuse.conf")
	if otherAllowed(conf) {
		t.Error("without a file")
	}
	for text, want := range map[string]bool{"# user_allow_other\n": false, "mount_max = 5\n  user_allow_other  \n": true, "user_allow_other": true, "user_allow_others\n": false} {
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if otherAllowed(conf) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
