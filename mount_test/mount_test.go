//go:build linux

package mount_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

const (
	mountTimeout = 60 * time.Second
	exitTimeout  = 40 * time.Second // of umount, with everything written
	budget       = 4 * time.Minute  // of one mount in a test, unless it asks for more
)

// mnt is a mount under test: the binary in the foreground, as a subprocess.
type mnt struct {
	t        testing.TB
	server   *lab.Server
	by       []string // program that starts the binary, with its arguments
	dir      string   // mount point
	stateDir string
	cmd      *exec.Cmd
	log      string // file with what the mount says
	exited   chan error
	base     status // at the start, after the first listing
	ended    bool
	lenient  bool // the test broke something: gauges and exit status are not checked
	keeps    bool // content that cannot be stored is allowed in the recovery folder
	ghosts   bool // sessions may stay on the server, which was kept from hearing of their end
	watchdog *time.Timer
}

// mountServer mounts the root of the server until the test ends, with more -o options.
func mountServer(t testing.TB, s *lab.Server, options ...string) *mnt {
	t.Helper()
	return mountURL(t, s, s.URL, options...)
}

// mountURL mounts any URL that leads to the server: a folder of it, or a relay before it.
func mountURL(t testing.TB, s *lab.Server, url string, options ...string) *mnt {
	t.Helper()
	return mountBy(t, nil, lab.Folder(t, "ftpsfs-mnt-"), s, url, options...)
}

// mountBy is mountURL on a folder, of a binary that is started by another program, such as nsenter.
func mountBy(t testing.TB, by []string, dir string, s *lab.Server, url string, options ...string) *mnt {
	t.Helper()
	m := &mnt{t: t, server: s, by: by, dir: dir, stateDir: stateDir(t), exited: make(chan error, 1)}
	m.log = filepath.Join(m.stateDir, "..", filepath.Base(m.stateDir)+".log")
	t.Cleanup(func() { os.Remove(m.log) })
	args := []string{"-f", "-o", strings.Join(append(credentials(t, s, m.stateDir), options...), ","), url, m.dir}
	if os.Getenv("FTPSFS_DEBUG") == "1" {
		args = append([]string{"-d"}, args...)
	}
	m.start(args)
	t.Cleanup(m.end)
	if _, err := os.ReadDir(m.dir); err != nil {
		t.Fatalf("first listing: %v", err)
	}
	m.base = m.status()
	return m
}

// stateDir makes a private folder for a mount's state, readable for the test alone.
func stateDir(t testing.TB) string {
	t.Helper()
	dir := lab.Folder(t, "ftpsfs-state-")
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// credentials are the options that every mount of the server needs.
func credentials(t testing.TB, s *lab.Server, state string) []string {
	t.Helper()
	password := filepath.Join(lab.Folder(t, "ftpsfs-secret-"), "password")
	if err := os.WriteFile(password, []byte(s.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := []string{"cacert=" + s.CAFile, "password_file=" + password, "state_dir=" + state}
	if s.Implicit {
		o = append(o, "tls=implicit")
	}
	if s.Kind == lab.Embedded && s.Version() != "" { // it offers all versions
		o = append(o, "tls_min="+s.Version(), "tls_max="+s.Version())
	}
	return o
}

// start runs the binary and waits until the mount is there.
func (m *mnt) start(args []string) {
	m.t.Helper()
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	line := slices.Concat(m.by, []string{lab.Binary(m.t)}, args)
	m.cmd = exec.Command(line[0], line[1:]...)
	m.cmd.Stdout, m.cmd.Stderr = log, log
	m.cmd.Env = append(os.Environ(), "GOTRACEBACK=all")
	started := make(chan error, 1)
	go func() { // Pdeathsig goes by thread: this one stays until the mount has ended
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		m.cmd.SysProcAttr = lab.DieWithParent(syscall.SIGTERM)
		err := m.cmd.Start()
		started <- err
		if err == nil {
			m.exited <- m.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		m.t.Fatal(err)
	}
	m.limit(budget)
	deadline := time.Now().Add(mountTimeout)
	for !m.works() {
		select {
		case err := <-m.exited:
			m.neverWas("mount ended: %v\n%s", err, m.output())
		case <-time.After(5 * time.Millisecond): // in the foreground nothing tells when it is ready
		}
		if time.Now().After(deadline) {
			_ = m.cmd.Process.Signal(syscall.SIGQUIT)
			<-m.exited
			m.neverWas("no mount after %v\n%s", mountTimeout, m.output())
		}
	}
}

// neverWas ends the test over a mount whose process has ended before it was there.
func (m *mnt) neverWas(format string, args ...any) {
	m.t.Helper()
	m.ended = true
	m.watchdog.Stop()
	m.t.Fatalf(format, args...)
}

// works says whether the mount is there and answers on its control socket.
func (m *mnt) works() bool {
	if !isMounted(m.dir) {
		return false
	}
	_, err := m.tryStatus()
	return err == nil
}

// limit sets how long the mount may last from now on. A mount that hangs is then taken away from the processes that
// wait for it, the test's own among them.
func (m *mnt) limit(d time.Duration) {
	if m.watchdog != nil {
		m.watchdog.Stop()
	}
	pid := m.cmd.Process.Pid
	m.watchdog = time.AfterFunc(d, func() {
		m.t.Errorf("the mount did not come to an end within %v: its goroutines are in the log", d)
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		abort(m.dir)
	})
}

// end checks what the mount holds on to, unmounts it, and checks what it leaves behind.
func (m *mnt) end() {
	m.t.Helper()
	if !m.ended {
		m.ended = true
		if !m.t.Failed() && !m.lenient {
			m.settled()
		}
		m.unmount()
	}
	m.watchdog.Stop()
	if !m.lenient {
		m.leavesNothing()
	}
	if m.t.Failed() {
		m.t.Logf("log of the mount:\n%s", excerpt(m.output()))
	}
}

// unmount ends the mount as a user does.
func (m *mnt) unmount() {
	m.t.Helper()
	out, err := m.umount()
	switch {
	case m.lenient:
		m.umountAgain(out, err)
	case err != nil:
		m.t.Errorf("ftpsfs umount: %v\n%s", err, out)
	}
	m.awaitExit()
}

func (m *mnt) umount() (string, error) {
	return output(exec.Command(lab.Binary(m.t), "umount", m.dir), exitTimeout)
}

// umountAgain does what a user does whose mount is in use, or has something that could not be saved and is not given up yet. What was
// said is in the test's log.
func (m *mnt) umountAgain(out string, err error) {
	for start := time.Now(); err != nil && time.Since(start) < exitTimeout/4; out, err = m.umount() {
		m.t.Logf("ftpsfs umount: %v\n%s", err, out)
		if !strings.Contains(out, "in use") && !strings.Contains(out, "not everything is on the server") {
			break
		}
		time.Sleep(250 * time.Millisecond)
	}
}

// awaitExit waits for the process, which has been asked to end.
func (m *mnt) awaitExit() {
	m.t.Helper()
	m.ended = true
	defer m.watchdog.Stop()
	select {
	case err := <-m.exited:
		if err != nil && !m.lenient {
			m.t.Errorf("the mount exited with %v", err)
		}
	case <-time.After(exitTimeout):
		m.t.Errorf("the mount's process did not end within %v", exitTimeout)
		_ = m.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-m.exited:
		case <-time.After(5 * time.Second):
			_ = m.cmd.Process.Kill()
		}
	}
	if isMounted(m.dir) {
		if !m.lenient {
			m.t.Error("still mounted after the process ended")
		}
		abort(m.dir)
	}
}

// kill ends the mount's process at once, as a crash would.
func (m *mnt) kill() {
	m.t.Helper()
	m.ended, m.lenient = true, true
	if err := m.cmd.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	<-m.exited
	m.watchdog.Stop()
	_ = syscall.Unmount(m.dir, syscall.MNT_DETACH) // the dead end point
}

// path gives a place in the mount.
func (m *mnt) path(elem ...string) string {
	return filepath.Join(append([]string{m.dir}, elem...)...)
}

// output gives what the mount said.
func (m *mnt) output() string {
	b, err := os.ReadFile(m.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// proc reads a number of /proc/PID/status, such as VmHWM in KiB.
func (m *mnt) proc(field string) int64 {
	m.t.Helper()
	n, err := procStatus(m.cmd.Process.Pid, field)
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

func procStatus(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		}
	}
	return 0, errors.New("no " + field)
}

// resident checks the peak of resident memory.
func (m *mnt) resident(mib int64) {
	m.t.Helper()
	peak := m.proc("VmHWM") >> 10
	m.t.Logf("peak of resident memory: %d MiB", peak)
	if peak >= mib && os.Getenv("FTPSFS_RACE") != "1" { // the race detector takes five times the memory
		m.t.Errorf("peak of resident memory is %d MiB, limit %d", peak, mib)
	}
}

// isMounted looks into the kernel's table; it never touches the mount itself, which may hang.
func isMounted(dir string) bool {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == dir {
			return true
		}
	}
	return false
}

// abort takes the mount away by force: everybody who waits for it gets an error.
func abort(dir string) { _ = syscall.Unmount(dir, syscall.MNT_FORCE|syscall.MNT_DETACH) }

// excerpt is what is worth reading of a log: the crash, if there is one, else the end.
func excerpt(log string) string {
	for _, word := range []string{"panic: ", "fatal error: ", "WARNING: DATA RACE"} {
		if at := strings.Index(log, word); at >= 0 {
			return "..." + log[max(0, at-1000):min(len(log), at+5000)] + "..."
		}
	}
	return lastBytes(log, 8000)
}

func lastBytes(s string, n int) string {
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}
