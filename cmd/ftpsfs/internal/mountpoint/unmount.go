package mountpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// helperTimeout bounds fusermount3, which does nothing that takes time.
const helperTimeout = 10 * time.Second

// Unmount takes the file system on dir away. It fails with syscall.EBUSY while programs use it, unless lazy: then it is gone
// from the tree at once and ends when the last one lets go.
func Unmount(dir string, lazy bool) error {
	err := unmountDirect(dir, lazy)
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	return helper(append(args, "--", dir)...)
}

// helper runs fusermount3, which is allowed to unmount what its caller mounted.
func helper(args ...string) error {
	var bin string
	for _, name := range []string{"fusermount3", "fusermount"} {
		if p, err := exec.LookPath(name); err == nil {
			bin = p
			break
		}
	}
	if bin == "" {
		return errors.New("fusermount3 is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		msg := strings.TrimSpace(out.String())
		if strings.Contains(msg, "busy") {
			return syscall.EBUSY
		}
		if msg == "" {
			return fmt.Errorf("%s: %w", bin, err)
		}
		return errors.New(msg)
	}
	return nil
}

// maxUsers is how many programs are named in a message.
const maxUsers = 5

// usersTimeout bounds Users: the kernel can make who looks at a process wait for that process.
const usersTimeout = 2 * time.Second

// Users names programs that have a file or their working folder below dir, as far as this user may see. What cannot be found
// out in a short time is left out.
func Users(dir string) []string {
	found := make(chan string)
	ctx, cancel := context.WithTimeout(context.Background(), usersTimeout)
	defer cancel()
	go func() { // may outlive the call, where the kernel makes it wait
		defer close(found)
		procs, _ := filepath.Glob("/proc/[0-9]*")
		scan(procs, dir, func(user string) bool {
			select {
			case found <- user:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	var users []string
	for len(users) < maxUsers {
		select {
		case u, ok := <-found:
			if !ok {
				return users
			}
			users = append(users, u)
		case <-ctx.Done():
			return users
		}
	}
	return users
}

// scan calls found with each of the programs procs, which are folders of /proc, that uses dir, until it gives false.
func scan(procs []string, dir string, found func(user string) bool) {
	for _, p := range procs {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() || !usesDir(p, dir) {
			continue
		}
		name, _ := os.ReadFile(p + "/comm")
		if !found(fmt.Sprintf("%s (%d)", strings.TrimSpace(string(name)), pid)) {
			return
		}
	}
}

// usesDir reads links only, so it never asks the mounted file system.
func usesDir(proc, dir string) bool {
	links, _ := filepath.Glob(proc + "/fd/*")
	links = append(links, proc+"/cwd", proc+"/root")
	return slices.ContainsFunc(links, func(l string) bool {
		target, err := os.Readlink(l)
		return err == nil && strings.HasPrefix(target, "/") && Inside(target, dir)
	})
}
