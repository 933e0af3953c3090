//go:build linux

package mount_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// Other programs that mount, with everything left at its default that does not keep them from working at all.

// peerMounts give the command that mounts the server on dir and stays in the foreground.
var peerMounts = map[string]func(b *bench, dir string) *exec.Cmd{
	"rclone-off":  func(b *bench, dir string) *exec.Cmd { return b.rclone("off", dir) },
	"rclone-full": func(b *bench, dir string) *exec.Cmd { return b.rclone("full", dir) },
	"curlftpfs":   (*bench).curlftpfs,
	"gvfs":        (*bench).gvfs,
}

// peerProgram gives what must be installed for a peer.
func peerProgram(peer string) string {
	switch program, _, _ := strings.Cut(peer, "-"); program {
	case "rclone":
		return rclone()
	case "gvfs":
		return gvfsFUSE
	default:
		return program
	}
}

// peerRelease names a peer's program, with the version that it tells.
func peerRelease(b *testing.B, peer string) string {
	program, arg := peerProgram(peer), "--version"
	switch {
	case strings.HasPrefix(peer, "rclone"):
		arg = "version"
	case peer == "gvfs":
		program = gvfsDaemon // the other one tells fusermount's first
	}
	return named(filepath.Base(program), lab.Release(b, program, arg))
}

func rclone() string { return cmp.Or(os.Getenv("FTPSFS_RCLONE"), "rclone") }

func (b *bench) rclone(mode, dir string) *exec.Cmd {
	secret, err := exec.Command(rclone(), "obscure", b.server.Password).Output()
	if err != nil {
		b.Fatal(err)
	}
	return b.command(rclone(), "mount", ":ftp:", dir, "--ftp-host", b.host, "--ftp-port", fmt.Sprint(b.server.Port),
		"--ftp-user", b.server.User, "--ftp-pass", strings.TrimSpace(string(secret)), "--ftp-explicit-tls", "--ftp-no-check-certificate",
		"--vfs-cache-mode", mode, "--cache-dir", lab.Folder(b, "ftpsfs-rclone-cache-"), "--config", "/dev/null", "--vfs-write-back", "0")
}

func (b *bench) curlftpfs(dir string) *exec.Cmd {
	options := fmt.Sprintf("ssl,no_verify_peer,no_verify_hostname,user=%s:%s", b.server.User, b.server.Password)
	return b.command("curlftpfs", "-f", "-o", options, fmt.Sprintf("ftp://%s:%d", b.host, b.server.Port), dir)
}

const (
	gvfsDaemon = "/usr/libexec/gvfsd"
	gvfsFUSE   = "/usr/libexec/gvfsd-fuse"
)

// gvfs needs a session of D-Bus; it asks whether to trust the certificate, then for the password.
func (b *bench) gvfs(dir string) *exec.Cmd {
	script := fmt.Sprintf(`%s --no-fuse & sleep 1; %s "$DIR" -f & sleep 1; printf '1\n%%s\n' "$PASSWORD" | gio mount "$URL"; wait`, gvfsDaemon, gvfsFUSE)
	cmd := b.command("dbus-run-session", "--", "sh", "-c", script)
	home := lab.Folder(b, "ftpsfs-gvfs-")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_RUNTIME_DIR="+home, "DIR="+dir, "PASSWORD="+b.server.Password,
		fmt.Sprintf("URL=ftps://%s@%s:%d/", b.server.User, b.host, b.server.Port))
	return cmd
}

// mountPeer mounts the server by another program. root is where its files are; stop notes in out what it spent.
func (b *bench) mountPeer(client string, out *result) (root string, stop func()) {
	dir := lab.Folder(b, "ftpsfs-peer-")
	cmd := peerMounts[client](b, dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for deadline := time.Now().Add(mountTimeout); ; time.Sleep(10 * time.Millisecond) {
		if root = peerRoot(client, dir); root != "" {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s does not mount", client)
		}
	}
	return root, func() {
		if client != "gvfs" { // whose work is done by a daemon of the session
			out.cpu, out.peak = spentBy(b, cmd.Process.Pid)
		}
		unmountPeer(b, dir)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		abort(dir)
	}
}

// peerRoot gives the folder that is the server's root, "" while it is not there: gvfs shows its mounts in one of their own.
func peerRoot(client, dir string) string {
	switch {
	case !isMounted(dir):
		return ""
	case client != "gvfs":
		return dir
	}
	shown, _ := filepath.Glob(filepath.Join(dir, "ftps:*"))
	return strings.Join(shown, "")
}

// unmountPeer gives a program time to upload what it has acknowledged: only then can it be called wrong.
func unmountPeer(tb testing.TB, dir string) {
	for range 5 {
		text, err := exec.Command("umount", dir).CombinedOutput()
		if err == nil {
			return
		}
		tb.Logf("umount: %s", text)
		time.Sleep(time.Second)
	}
}
