package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
)

// TestMountHelper: under the name that mount(8) calls, -f is fake and the type is checked; -o of fstab is understood.
func TestMountHelper(t *testing.T) {
	l := newLab(t)
	helper := func(args ...string) result {
		cmd := l.command(args...)
		cmd.Args[0] = "/sbin/mount.ftpsfs"
		return finish(t, cmd)
	}
	if r := helper(l.url(testUser), l.mnt, "-f", "-o", "rw,"+l.options()); r.code != 0 || r.err != "" {
		t.Errorf("fake: exit %d, %s", r.code, r.err)
	}
	if _, mounted := mountpoint.At(l.mnt); mounted {
		t.Fatal("a fake mount is mounted")
	}
	r := helper(l.url(testUser), l.mnt, "-n", "-t", "fuse.ftpsfs", "-o", "rw,noauto,user=joe,_netdev,nofail,x-systemd.automount,noexec,"+l.options())
	if r.code != 0 {
		t.Fatalf("exit %d: %s", r.code, r.err)
	}
	m, err := os.ReadFile("/proc/self/mounts")
	if err != nil || !strings.Contains(string(m), l.url(testUser)+" "+l.mnt+" fuse.ftpsfs rw,nosuid,nodev,noexec") {
		t.Errorf("%s, %v", m, err)
	}
	l.must("umount", l.mnt)
}

// TestMountProgram: mount(8) calls us through mount.fuse3. It takes PATH out of the environment, so the program is named by its
// path here; with `-t fuse.ftpsfs` it is looked for in the system's folders.
func TestMountProgram(t *testing.T) {
	needsRoot(t)
	needsFuse3(t, "/sbin/mount.fuse3")
	l := newLab(t)
	program := filepath.Join(l.dir, "ftpsfs")
	if err := os.Symlink(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("mount", "-t", "fuse", "-o", "ro,"+l.options(), program+"#"+l.url(testUser), l.mnt)
	cmd.Env = l.env
	if r := finish(t, cmd); r.code != 0 {
		t.Fatalf("exit %d: %s%s", r.code, r.out, r.err)
	}
	if s := l.status(); !s.FS.ReadOnly {
		t.Errorf("%+v", s.FS)
	}
	l.must("umount", l.mnt)
}

// TestSiteAndReadOnly: a name in place of the URL, with the mount point from the file; without a state folder only ro works.
func TestSiteAndReadOnly(t *testing.T) {
	l := newLab(t)
	conf := filepath.Join(l.dir, "home", ".config", "ftpsfs")
	if err := os.MkdirAll(conf, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("[work]\nurl = %s\nmountpoint = %s\ncacert = %s\npassword_file = %s\nstate_dir = /proc/none\n", l.url(testUser), l.mnt, l.ca, l.passwordFile())
	if err := os.WriteFile(filepath.Join(conf, "config"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := l.run("mount", "work"); r.code != 32 || !strings.Contains(r.err, "state folder") {
		t.Errorf("without state: exit %d, %s", r.code, r.err)
	}
	if r := l.must("mount", "work", "-o", "ro"); !strings.Contains(r.err, "warning: there is no state folder") {
		t.Errorf("said %q", r.err)
	}
	l.must("umount", l.mnt)
}

// TestInsecureIsLoud: at the mount and in the status.
func TestInsecureIsLoud(t *testing.T) {
	l := newLab(t)
	r := l.must(l.url(testUser), l.mnt, "-o", "insecure_skip_verify,password_file="+l.passwordFile())
	if !strings.Contains(r.err, "certificate is NOT checked") {
		t.Errorf("said %q", r.err)
	}
	if s := l.status(); len(s.Warnings) != 1 || !s.Pool.Insecure {
		t.Errorf("%+v", s.Warnings)
	}
	if out := l.must("status", l.mnt).out; !strings.Contains(out, "WARNING") {
		t.Errorf("status: %s", out)
	}
	l.must("umount", l.mnt)
}

// TestAllowOtherIsSaid: only root, and with allow_other others, may enter a mount.
func TestAllowOtherIsSaid(t *testing.T) {
	needsRoot(t)
	l := newLab(t)
	if err := os.Chmod(l.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	l.must(l.url(testUser), l.mnt, "-o", l.options())
	l.write("open", "x")
	if err := os.Chmod(filepath.Join(l.mnt, "open"), 0o644); err != nil {
		t.Logf("chmod: %v", err)
	}
	read := func() error {
		cmd := exec.Command("cat", filepath.Join(l.mnt, "open"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd.Run()
	}
	if read() == nil {
		t.Error("another user reads a mount without allow_other")
	}
	l.must("umount", l.mnt)
	l.must(l.url(testUser), l.mnt, "-o", l.options()+",allow_other,umask=022")
	if err := read(); err != nil {
		t.Errorf("with allow_other: %v", err)
	}
	l.must("umount", l.mnt)
	l.must(l.url(testUser), l.mnt, "-o", l.options()+",allow_other,umask=077")
	if read() == nil {
		t.Error("another user reads a file of mode 0700")
	}
	l.must("umount", l.mnt)
}

// TestSmallCommands: what needs no server.
func TestSmallCommands(t *testing.T) {
	l := newLab(t)
	for _, c := range []struct {
		args []string
		code int
		want string // part of what is said
	}{
		{nil, 1, "usage: ftpsfs"},
		{[]string{"help"}, 0, "insecure_skip_verify"},
		{[]string{"--help"}, 0, "usage: ftpsfs"},
		{[]string{"umount", "--help"}, 0, "usage: ftpsfs"},
		{[]string{"version"}, 0, "ftpsfs "},
		{[]string{"--version"}, 0, "ftpsfs "},
		{[]string{"status"}, 0, ""}, // of whatever else this user has mounted
		{[]string{"status", "--json"}, 0, "["},
		{[]string{"status", "a", "b"}, 1, "too many arguments"},
		{[]string{"status", "--jsn"}, 1, "unknown flag --jsn"},
		{[]string{"umount"}, 1, "write ftpsfs umount"},
		{[]string{"sync", l.mnt}, 32, "nothing of ftpsfs is mounted"},
		{[]string{"check"}, 1, "the URL is missing"},
		{[]string{"demo", "--tls-max", "1.1"}, 1, "write 1.2 or 1.3"},
		{[]string{"demo", filepath.Join(l.dir, "none")}, 32, "mkdir -p"},
		{[]string{"import", filepath.Join(l.dir, "none")}, 1, "no such file"},
		{[]string{"import", l.ca}, 1, "no sitemanager.xml"},
	} {
		r := l.run(c.args...)
		if r.code != c.code || !strings.Contains(r.out+r.err, c.want) {
			t.Errorf("ftpsfs %q: exit %d, %q %q; want %d, %q", c.args, r.code, r.out, r.err, c.code, c.want)
		}
	}
}

// TestImport: FileZilla's servers can be mounted by name; without a keyring it is said that the password is missing.
func TestImport(t *testing.T) {
	l := newLab(t)
	xml := filepath.Join(l.dir, "sitemanager.xml")
	addr := l.server.Addr()
	text := fmt.Sprintf(`<FileZilla3><Servers><Server><Host>%s</Host><Port>%d</Port><Protocol>4</Protocol><User>%s</User><Pass>%s</Pass><Name>my site</Name></Server></Servers></FileZilla3>`,
		addr.IP, addr.Port, testUser, testPassword)
	if err := os.WriteFile(xml, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r := l.must("import", xml)
	if !strings.Contains(r.out, "my-site: "+l.url(testUser)+", password NOT taken over") || strings.Contains(r.out, testPassword) {
		t.Errorf("said %q", r.out)
	}
	l.must("mount", "my-site", l.mnt, "-o", l.options())
	l.must("umount", l.mnt)
}
