package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// envSecrets tells a process which descriptor holds what it was started with.
const envSecrets = "_FTPSFS_SECRETS"

// Scrub starts this program again in the same process, with args and without the environment variables named in drop. The
// secrets, JSON, go through a pipe. /proc/PID/cmdline and /proc/PID/environ then show what the new arguments and environment
// are: overwriting the old ones in place would leave copies. It returns only when it failed.
func Scrub(args, drop []string, secrets any) error {
	b, err := json.Marshal(secrets)
	if err != nil {
		return err
	}
	exe, err := executable()
	if err != nil {
		return err
	}
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	unix.CloseOnExec(p[1])
	// It fits into the pipe (at least one page, 64 KiB as a rule): nobody reads yet.
	if n, err := unix.Write(p[1], b); err != nil || n != len(b) {
		return fmt.Errorf("passing the password on: %d of %d bytes: %w", n, len(b), err)
	}
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return name == envSecrets || slices.Contains(drop, name)
	})
	env = append(env, envSecrets+"="+strconv.Itoa(p[0]))
	return os.NewSyscallError("exec", unix.Exec(exe, args, env))
}

// Scrubbed reads what Scrub passed on into secrets; false in a process that Scrub did not start.
func Scrubbed(secrets any) (bool, error) {
	v := os.Getenv(envSecrets)
	if v == "" {
		return false, nil
	}
	os.Unsetenv(envSecrets)
	fd, err := strconv.Atoi(v)
	if err != nil || fd < 3 {
		return false, fmt.Errorf("%s=%s is no descriptor", envSecrets, v)
	}
	f := os.NewFile(uintptr(fd), "secrets")
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	return true, json.Unmarshal(b, secrets)
}

// executable is the path of this program. In another mount namespace, or after it was removed, that path leads nowhere and
// only the kernel's own link is left.
func executable() (string, error) {
	exe, err := os.Executable()
	if err == nil {
		if _, err = os.Stat(exe); err == nil {
			return exe, nil
		}
	}
	const link = "/proc/self/exe"
	if _, serr := os.Stat(link); serr == nil {
		return link, nil
	}
	return "", err
}
