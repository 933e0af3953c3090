package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/pool/embedded"
)

// The test binary is the program, too: under this variable it behaves as ftpsfs.
const envProgram = "FTPSFS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(envProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// unavailable skips the test because the machine lacks something, and fails it when CI=true.
func unavailable(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s, and CI=true", what)
	}
	t.Skip(what)
}

// needsRoot is for tests that become somebody else, or call what only root may.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		unavailable(t, "only root can run this test")
	}
}

// needsFuse3 is for tests that mount as an ordinary user, or through mount(8).
func needsFuse3(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		unavailable(t, "fuse3 is not installed: "+err.Error())
	}
}

// lab is a server, an empty mount point and a place for state, for one test.
type lab struct {
	t      *testing.T
	server *embedded.Server
	root   string // what the server serves
	ca     string
	mnt    string
	dir    string   // scratch
	env    []string // of the programs that are started
}

const (
	testUser     = "joe"
	testPassword = "correct-horse" // recognisable wherever it must not be
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		unavailable(t, err.Error())
	}
	dir, err := os.MkdirTemp("", "ftl") // short, as sockets live below it
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, dir: dir, root: filepath.Join(dir, "root"), mnt: filepath.Join(dir, "mnt")}
	t.Cleanup(l.cleanup)
	for _, d := range []string{l.root, l.mnt, filepath.Join(dir, "run"), filepath.Join(dir, "home")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	ca, err := embedded.NewCA(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.ca = ca.CertFile
	l.server, err = embedded.Start(embedded.Config{Root: l.root, User: testUser, Password: testPassword, Cert: ca.Server})
	if err != nil {
		t.Fatal(err)
	}
	l.env = []string{
		envProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(dir, "home"),
		"XDG_RUNTIME_DIR=" + filepath.Join(dir, "run"), "XDG_STATE_HOME=" + filepath.Join(dir, "state"),
	}
	return l
}

// cleanup never removes what is seen through a mount.
func (l *lab) cleanup() {
	if l.server != nil {
		l.server.Close()
	}
	for {
		if _, mounted := mountpoint.At(l.mnt); !mounted {
			break
		}
		if !l.t.Failed() {
			l.t.Error("still mounted at the end")
		}
		if err := mountpoint.Unmount(l.mnt, true); err != nil {
			l.t.Fatal(err)
		}
	}
	os.RemoveAll(l.dir)
}

// url names the server, with a user and maybe a password.
func (l *lab) url(userinfo string) string {
	return fmt.Sprintf("ftps://%s@%s/", userinfo, l.server.Addr())
}

// passwordFile holds the right password.
func (l *lab) passwordFile() string {
	name := filepath.Join(l.dir, "password")
	if err := os.WriteFile(name, []byte(testPassword+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// options are what every good mount here needs.
func (l *lab) options() string { return "cacert=" + l.ca + ",password_file=" + l.passwordFile() }

// command is the program with arguments, in a session without a terminal.
func (l *lab) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Args[0] = "ftpsfs"
	cmd.Env = l.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

type result struct {
	out, err string
	code     int
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

func (l *lab) run(args ...string) result {
	l.t.Helper()
	return finish(l.t, l.command(args...))
}

// must runs a command that has to succeed.
func (l *lab) must(args ...string) result {
	l.t.Helper()
	r := l.run(args...)
	if r.code != 0 {
		l.t.Fatalf("ftpsfs %q: exit %d, %s%s", args, r.code, r.out, r.err)
	}
	return r
}

func (l *lab) status() status {
	l.t.Helper()
	var s status
	if err := json.Unmarshal([]byte(l.must("status", l.mnt, "--json").out), &s); err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *lab) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.mnt, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// onServer is what the server's disk holds.
func (l *lab) onServer(name string) string {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join(l.root, name))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(b)
}

// gone waits until a process has ended.
func (l *lab) gone(pid int) {
	l.t.Helper()
	fd, err := pidfdOpen(pid)
	if err != nil {
		return // it has
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	if !pollIn(fd, 20*time.Second) {
		l.t.Fatalf("process %d does not end", pid)
	}
}

// foreground is a mount in the foreground that works; lines of its log are in log.
type foreground struct {
	cmd *exec.Cmd
	log *bytes.Buffer
}

// startForeground starts the program and waits for its readiness as systemd would.
func (l *lab) startForeground(args ...string) *foreground {
	l.t.Helper()
	n := newNotify(l.t, filepath.Join(l.dir, "notify"))
	cmd := l.command(args...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+n.name)
	f := &foreground{cmd: cmd, log: &bytes.Buffer{}}
	cmd.Stderr = f.log
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = cmd.Process.Kill() })
	if state := n.next(l.t); !strings.Contains(state, "READY=1") || !strings.Contains(state, fmt.Sprintf("MAINPID=%d", cmd.Process.Pid)) {
		l.t.Fatalf("systemd was told %q; %s", state, f.log)
	}
	return f
}

// end waits for the process.
func (f *foreground) end(t *testing.T) int {
	t.Helper()
	err := f.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return f.cmd.ProcessState.ExitCode()
}
