//go:build linux

package mount_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// unattended is a command without a terminal and without anything of this machine that could know a password.
func unattended(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("setsid", append([]string{"-w", lab.Binary(t)}, args...)...)
	cmd.Env = bareEnv(t, env...)
	return cmd
}

// bareEnv is an environment with a home of its own.
func bareEnv(t *testing.T, more ...string) []string {
	t.Helper()
	run := lab.Folder(t, "ftpsfs-run-")
	must(t, os.Chmod(run, 0o700))
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + stateDir(t), "XDG_RUNTIME_DIR=" + run}, more...)
}

// secretFile writes a file that only its owner can read.
func secretFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(stateDir(t), name)
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// askpassScript is a program that answers one question with secret, and fails for others.
func askpassScript(t *testing.T, question, secret string) string {
	t.Helper()
	file := secretFile(t, "askpass", "#!/bin/sh\ncase \"$1\" in *'"+question+"'*) echo '"+secret+"';; *) echo \"asked $1\" >&2; exit 1;; esac\n")
	must(t, os.Chmod(file, 0o700))
	return file
}

// passwordWay is a place where a password may be.
type passwordWay struct {
	from    string // what the status says
	url     string // "" is the server's
	options string
	env     []string
	typed   [2]string // question and answer on a terminal
}

func passwordWays(t *testing.T, s *lab.Server) []passwordWay {
	t.Helper()
	host := fmt.Sprintf("machine %s login %s password %s\n", s.Host, s.User, s.Password)
	netrc, netrcEnv := secretFile(t, "netrc", host), secretFile(t, "netrc", host)
	file := secretFile(t, "password", s.Password+"\nsecond line\n")
	byHost, general := secretFile(t, "ftpsfs."+s.Host, s.Password+"\n"), secretFile(t, "ftpsfs.password", s.Password+"\n")
	script := askpassScript(t, "Password for "+s.User+"@"+s.Addr(), s.Password)
	k := startKeyring(t)
	k.add(&item{map[string]string{"service": "ftpsfs", "username": s.User + "@" + s.Addr()}, []byte(s.Password)})
	bare := strings.TrimPrefix(s.URL, "ftps://"+s.User+"@")
	return []passwordWay{
		{from: "the URL", url: "ftps://" + s.User + ":" + s.Password + "@" + bare},
		{from: "password_file " + file, options: "password_file=" + file},
		{from: "FTPSFS_PASSWORD", env: []string{"FTPSFS_PASSWORD=" + s.Password}},
		{from: "systemd credential ftpsfs." + s.Host, env: []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(byHost)}},
		{from: "systemd credential ftpsfs.password", env: []string{"CREDENTIALS_DIRECTORY=" + filepath.Dir(general)}},
		{from: netrc, options: "netrc=" + netrc},
		{from: netrcEnv, url: "ftps://" + bare, env: []string{"NETRC=" + netrcEnv}}, // the user, too
		{from: "the desktop keyring", env: []string{"DBUS_SESSION_BUS_ADDRESS=" + k.address}},
		{from: "askpass " + script, options: "askpass=" + script},
		{from: "the terminal", typed: [2]string{"Password for " + s.User + "@" + s.Addr() + ": ", s.Password}},
	}
}

// TestSecretsStayInside: wherever the password came from, neither the process list nor the environment shows it, no
// message, log or status repeats it, and no core dump will be written.
func TestSecretsStayInside(t *testing.T) {
	s := cell{lab.ProFTPD, false, "1.3"}.start(t)
	for _, way := range passwordWays(t, s) {
		t.Run(way.from, func(t *testing.T) {
			dir, state := lab.Folder(t, "ftpsfs-mnt-"), stateDir(t)
			if way.url == "" {
				way.url = s.URL
			}
			args := []string{"-o", strings.TrimSuffix("cacert="+s.CAFile+",state_dir="+state+","+way.options, ","), way.url, dir}
			cmd := unattended(t, way.env, args...)
			env := cmd.Env
			var said string
			var code int
			if way.typed[0] != "" {
				cmd = exec.Command(lab.Binary(t), args...)
				cmd.Env = env
				said, code = dialog(t, cmd, way.typed)
				said = strings.TrimSpace(strings.Replace(said, way.typed[0], "", 1))
			} else {
				said, _ = output(cmd, time.Minute)
				code = exitCode(cmd)
			}
			t.Cleanup(func() { abort(dir) })
			if code != 0 || strings.Contains(said, s.Password) || (way.from == "the URL") != (said != "") {
				t.Fatalf("exit status %d, said %q", code, said)
			}
			ask := func(args ...string) string {
				out, err := output(unattended(t, env, args...), time.Minute)
				if err != nil {
					t.Errorf("%q: %v %s", args, err, out)
				}
				return out
			}
			status := ask("status", dir, "--json")
			if !strings.Contains(status, fmt.Sprintf(`"password_from":%q`, way.from)) {
				t.Errorf("status: %s", status)
			}
			places := map[string]string{"status": status, "status in words": ask("status", dir)}
			pid := field(t, status, "pid")
			for _, file := range []string{fmt.Sprintf("/proc/%s/cmdline", pid), fmt.Sprintf("/proc/%s/environ", pid), "/proc/self/mounts", field(t, status, "log")} {
				b, err := os.ReadFile(file)
				must(t, err)
				places[file] = string(b)
			}
			for where, text := range places {
				if text == "" || strings.Contains(text, s.Password) {
					t.Errorf("%s shows the password, or nothing: %s", where, text)
				}
			}
			noCores(t, pid)
			ask("umount", dir)
		})
	}
}

// field reads one value of the JSON that status prints.
func field(t *testing.T, status, name string) string {
	t.Helper()
	var v map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(status), &v))
	return strings.Trim(string(v[name]), `"`)
}

// noCores: the limit is 0, and the memory belongs to root alone, which is how the kernel treats what may not be dumped.
func noCores(t *testing.T, pid string) {
	t.Helper()
	limits, err := os.ReadFile("/proc/" + pid + "/limits")
	must(t, err)
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok && strings.Join(strings.Fields(rest), " ") != "0 0 bytes" {
			t.Errorf("core dumps: %s", line)
		}
	}
}

// TestDebugOutputHasNoSecrets: -d shows the dialogue, and neither the password nor the account.
func TestDebugOutputHasNoSecrets(t *testing.T) {
	s := cell{lab.VSFTPD, false, "1.3"}.start(t)
	cmd := unattended(t, nil, "check", "-d", "-o", "account=billing-secret,"+strings.Join(credentials(t, s, stateDir(t)), ","), s.URL)
	out, err := output(cmd, time.Minute)
	if err != nil || !strings.Contains(out, "PASS ***") || !strings.Contains(out, "ACCT ***") {
		t.Errorf("%v: %s", err, out)
	}
	for _, secret := range []string{s.Password, "billing-secret"} {
		if strings.Contains(out, secret) {
			t.Errorf("%s is shown: %s", secret, out)
		}
	}
}

// TestAccount: a server that asks for an account gets it, and says what is missing without.
func TestAccount(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	netrc := func(addr string) string {
		host, _, _ := strings.Cut(addr, ":")
		return secretFile(t, "netrc", fmt.Sprintf("machine %s login someone password %s account wheel\n", host, secretPassword))
	}
	for _, c := range []struct {
		name, option string
		replies      []string
		says         string // of the refusal; "" works
	}{
		{"behind the password", "account=wheel", []string{"PASS", "332 account, please", "ACCT", "230 in"}, ""},
		{"behind the user", "account=wheel", []string{"USER", "332 account, please", "PASS", "503 not now", "ACCT", "230 in"}, ""},
		{"from netrc", "", []string{"PASS", "332 account, please", "ACCT", "230 in"}, ""},
		{"refused", "account=wheel", []string{"PASS", "332 account, please", "ACCT", "530 not that one"}, "not that one"},
		{"not given", "-", []string{"PASS", "332 account, please"}, "account="},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, script{cert: &cert, serves: true, replies: with(goodSession(), c.replies...)})
			options := "max_conns=1,cacert=" + ca.File + ",state_dir=" + stateDir(t)
			switch c.option {
			case "":
				options += ",netrc=" + netrc(f.addr)
			case "-":
				options += ",password_file=" + secretFile(t, "password", secretPassword)
			default:
				options += "," + c.option + ",password_file=" + secretFile(t, "password", secretPassword)
			}
			cmd := unattended(t, nil, "check", "-o", options, "ftps://someone@"+f.addr+"/")
			out, _ := output(cmd, time.Minute)
			code, asked := exitCode(cmd), strings.Contains(f.heard(), "ACCT wheel\r\n")
			if c.says == "" && (code != 0 || !asked) || c.says != "" && (code != 32 || !strings.Contains(out, c.says)) {
				t.Errorf("exit status %d, account told %v, want %q: %s", code, asked, c.says, out)
			}
			if c.option == "-" && strings.Contains(f.heard(), "ACCT") {
				t.Errorf("the server heard %q", f.heard())
			}
		})
	}
}

// TestPassphrase: the passphrase of a client key is asked for on the terminal or through a program. Without either, and when
// it is wrong, that is said.
func TestPassphrase(t *testing.T) {
	ca := lab.NewAuthority(t)
	client := ca.Issue(t, lab.CertSpec{Client: true, Hosts: []string{"client.test"}})
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, ClientCA: ca.File})
	dir := stateDir(t)
	pkcs8, legacy := filepath.Join(dir, "pkcs8.key"), filepath.Join(dir, "legacy.key")
	runTool(t, dir, "openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", client.KeyFile, "-out", pkcs8, "-passout", "pass:open sesame")
	runTool(t, dir, "openssl", "ec", "-aes256", "-in", client.KeyFile, "-out", legacy, "-passout", "pass:open sesame")
	args := func(key, more string) []string {
		return []string{"check", "-o", strings.Join(credentials(t, s, stateDir(t)), ",") + ",cert=" + client.File + ",key=" + key + more, s.URL}
	}
	for _, key := range []string{pkcs8, legacy} {
		question := "Passphrase for " + key + ": "
		for _, c := range []struct {
			how, answer, says string
			code              int
		}{
			{"terminal", "open sesame", "works", 0},
			{"terminal", "not this", "the passphrase is wrong", 1},
			{"askpass", "open sesame", "works", 0},
			{"askpass", "not this", "the passphrase is wrong", 1},
		} {
			t.Run(filepath.Base(key)+"-"+c.how+"-"+c.answer, func(t *testing.T) {
				var out string
				var code int
				if c.how == "terminal" {
					cmd := exec.Command(lab.Binary(t), args(key, "")...)
					cmd.Env = bareEnv(t)
					out, code = dialog(t, cmd, [2]string{question, c.answer})
				} else {
					cmd := unattended(t, nil, args(key, ",askpass="+askpassScript(t, question, c.answer))...)
					out, _ = output(cmd, time.Minute)
					code = exitCode(cmd)
				}
				if code != c.code || !strings.Contains(out, c.says) || strings.Contains(out, c.answer) {
					t.Errorf("exit status %d, want %d and %q: %s", code, c.code, c.says, out)
				}
			})
		}
	}
}

// TestPassphraseOfAMount: the process that goes to the background asks through the one on the terminal, once for all of its
// connections.
func TestPassphraseOfAMount(t *testing.T) {
	ca := lab.NewAuthority(t)
	client := ca.Issue(t, lab.CertSpec{Client: true, Hosts: []string{"client.test"}})
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, ClientCA: ca.File})
	must(t, os.WriteFile(s.Disk("f"), lines(10), 0o644))
	locked := filepath.Join(stateDir(t), "locked.key")
	runTool(t, "/", "openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-in", client.KeyFile, "-out", locked, "-passout", "pass:open sesame")
	dir := lab.Folder(t, "ftpsfs-mnt-")
	t.Cleanup(func() { abort(dir) })
	options := strings.Join(credentials(t, s, stateDir(t)), ",") + ",cert=" + client.File + ",key=" + locked
	cmd := exec.Command(lab.Binary(t), "-o", options, s.URL, dir)
	cmd.Env = bareEnv(t)
	out, code := dialog(t, cmd, [2]string{"Passphrase for " + locked + ": ", "open sesame"})
	if code != 0 || strings.Contains(out, "sesame") || strings.Count(out, "Passphrase") != 1 {
		t.Fatalf("exit status %d: %s", code, out)
	}
	s.KillSessions() // the next ones need the key again, and nobody to ask
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != string(lines(10)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	umount := unattended(t, nil, "umount", dir)
	umount.Env = cmd.Env
	if out, err := output(umount, time.Minute); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// TestTrustAsk: a certificate that nobody signed is asked about once; without a yes, nothing is remembered and nothing is
// mounted, and nobody is asked where there is no terminal.
func TestTrustAsk(t *testing.T) {
	s := cell{lab.ProFTPD, false, "1.3"}.start(t)
	state := stateDir(t)
	known := filepath.Join(state, "known_hosts")
	password := secretFile(t, "password", s.Password)
	dir := lab.Folder(t, "ftpsfs-mnt-")
	args := []string{"-o", "trust=ask,password_file=" + password + ",state_dir=" + state, s.URL, dir}
	t.Cleanup(func() { abort(dir) })
	env := bareEnv(t)
	alone := func() (string, int) {
		cmd := unattended(t, nil, args...)
		cmd.Env = env
		out, _ := output(cmd, time.Minute)
		return out, exitCode(cmd)
	}
	answer := func(text string) (string, int) {
		cmd := exec.Command(lab.Binary(t), args...)
		cmd.Env = env
		return dialog(t, cmd, [2]string{"(yes/no) ", text})
	}
	out, code := alone()
	if code != 32 || !strings.Contains(out, "pin=sha256:") || !strings.Contains(out, "trust=tofu") || strings.Count(out, "\n") != 1 {
		t.Errorf("without a terminal: exit status %d, %s", code, out)
	}
	for _, no := range []string{"no", "", "yess"} {
		if out, code := answer(no); code != 32 || !strings.Contains(out, "sha256:") || isMounted(dir) {
			t.Errorf("%q: exit status %d, %s", no, code, out)
		}
	}
	const through = "connection accepted" // the client finished the TLS handshake, without which nothing else is said
	if b, err := os.ReadFile(known); len(b) > 0 || strings.Contains(s.Log(), through) {
		t.Errorf("remembered %s, %v; log %s", b, err, s.Log())
	}
	if out, code := answer("yes"); code != 0 || !isMounted(dir) || !strings.Contains(s.Log(), through) {
		t.Fatalf("yes: exit status %d, %s", code, out)
	}
	umount := unattended(t, nil, "umount", dir)
	umount.Env = env
	if out, err := output(umount, time.Minute); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	if st, err := os.Stat(known); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("known_hosts: %v, %v", st, err)
	}
	if out, code := alone(); code != 0 || out != "" {
		t.Errorf("the second time: exit status %d, %s", code, out)
	}
}

// TestTrustWithoutAuthority: the key that check tells is believed with pin=, and with trust=tofu from the first time on, on
// every server; another key is refused before a password is sent.
func TestTrustWithoutAuthority(t *testing.T) {
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		state := stateDir(t)
		run := func(trust string) (string, int) {
			return ftpsfs(t, "check", "--json", "-o", trust+",max_conns=2,password_file="+secretFile(t, "password", s.Password)+",state_dir="+state, s.URL)
		}
		out, code := run("trust=tofu")
		var seen struct {
			Certificates []struct {
				Pin string `json:"pin"`
			} `json:"certificates"`
		}
		if err := json.Unmarshal([]byte(out), &seen); err != nil || code != 0 || len(seen.Certificates) == 0 {
			t.Fatalf("trust=tofu: exit status %d, %v: %s", code, err, out)
		}
		pin := seen.Certificates[0].Pin
		known, err := os.ReadFile(filepath.Join(state, "known_hosts"))
		if err != nil || !strings.Contains(string(known), pin) {
			t.Errorf("known_hosts: %s, %v", known, err)
		}
		if out, code := run("pin=" + pin); code != 0 {
			t.Errorf("pin: exit status %d, %s", code, out)
		}
		wrong := "sha256:" + strings.Repeat("0", 64)
		if out, code := run("pin=" + wrong); code != 32 || !strings.Contains(out, pin) || !strings.Contains(out, "not the pinned one") {
			t.Errorf("another pin: exit status %d, %s", code, out)
		}
		must(t, os.WriteFile(filepath.Join(state, "known_hosts"), []byte(strings.ReplaceAll(string(known), pin, wrong)), 0o600))
		if out, code := run("trust=tofu"); code != 32 || !strings.Contains(out, pin) || !strings.Contains(out, wrong) {
			t.Errorf("another key than before: exit status %d, %s", code, out)
		}
	})
}

// TestCACertFolder: a folder of certificates, as OpenSSL and distributions have them.
func TestCACertFolder(t *testing.T) {
	s := cell{lab.VSFTPD, false, "1.3"}.start(t)
	ca, err := os.ReadFile(s.CAFile)
	must(t, err)
	other, err := os.ReadFile(lab.NewAuthority(t).File)
	must(t, err)
	dir := stateDir(t)
	run := func() (string, int) {
		return ftpsfs(t, "check", "-o", "cacert="+dir+",password_file="+secretFile(t, "password", s.Password)+",state_dir="+stateDir(t), s.URL)
	}
	must(t, os.WriteFile(filepath.Join(dir, "other.pem"), other, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "README"), []byte("not a certificate\n"), 0o644))
	if out, code := run(); code != 32 || !strings.Contains(out, "authority") {
		t.Errorf("with another authority: exit status %d, %s", code, out)
	}
	for _, name := range []string{"ca.pem", "ca.crt", "0a1b2c3d.0"} {
		must(t, os.WriteFile(filepath.Join(dir, name), ca, 0o644))
		if out, code := run(); code != 0 {
			t.Errorf("%s: exit status %d, %s", name, code, out)
		}
		must(t, os.Remove(filepath.Join(dir, name)))
	}
}

// TestNamedSites: `ftpsfs mount NAME`, a name in fstab, and options of the command line that win.
func TestNamedSites(t *testing.T) {
	s := cell{lab.ProFTPD, false, "1.3"}.start(t)
	must(t, os.WriteFile(s.Disk("f"), []byte("site"), 0o644))
	dir := lab.Folder(t, "ftpsfs-mnt-")
	env := bareEnv(t)
	config := filepath.Join(strings.TrimPrefix(env[1], "HOME="), ".config", "ftpsfs")
	must(t, os.MkdirAll(config, 0o700))
	text := fmt.Sprintf("# mine\n[work]\nurl = %s\nmountpoint = %s\ncacert = %s\npassword_file = %s\noptions = max_conns=2,noexec\nstate_dir = %s\n",
		s.URL, dir, s.CAFile, secretFile(t, "password", s.Password), stateDir(t))
	must(t, os.WriteFile(filepath.Join(config, "config"), []byte(text), 0o600))
	helper := "/usr/sbin/mount.ftpsfs"
	if _, err := os.Lstat(helper); err == nil {
		must(t, os.Rename(helper, helper+".site-test"))
		t.Cleanup(func() { _ = os.Rename(helper+".site-test", helper) })
	}
	must(t, os.Symlink(lab.Binary(t), helper))
	t.Cleanup(func() { os.Remove(helper) })
	// mount(8) takes HOME away, and root's real one is not the test's to use: what fstab names is in /etc.
	system := "/etc/ftpsfs/config"
	if _, err := os.Lstat(system); err == nil {
		must(t, os.Rename(system, system+".site-test"))
		t.Cleanup(func() { _ = os.Rename(system+".site-test", system) })
	}
	must(t, os.MkdirAll(filepath.Dir(system), 0o755))
	must(t, os.WriteFile(system, []byte(strings.Replace(text, "[work]", "[ftpsfs-test-work]", 1)), 0o644))
	t.Cleanup(func() { os.Remove(system) })
	fstab := filepath.Join(stateDir(t), "fstab")
	must(t, os.WriteFile(fstab, []byte("ftpsfs-test-work "+dir+" ftpsfs noauto,max_conns=3 0 0\n"), 0o600))
	for _, c := range []struct {
		name  string
		cmd   []string
		conns string
	}{
		{"mount NAME", []string{lab.Binary(t), "mount", "work"}, "2"},
		{"mount NAME FOLDER, with options", []string{lab.Binary(t), "mount", "-o", "max_conns=4", "work", dir}, "4"},
		{"fstab", []string{"mount", "-T", fstab, dir}, "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(c.cmd[0], c.cmd[1:]...)
			cmd.Env = env
			if out, err := output(cmd, time.Minute); err != nil || out != "" {
				t.Fatalf("%v %s", err, out)
			}
			t.Cleanup(func() { abort(dir) })
			if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "site" {
				t.Errorf("%q, %v", got, err)
			}
			var st syscall.Statfs_t
			if err := syscall.Statfs(dir, &st); err != nil || st.Flags&8 == 0 { // ST_NOEXEC
				t.Errorf("flags %x, %v", st.Flags, err)
			}
			ask := func(args ...string) string {
				cmd := unattended(t, nil, args...)
				cmd.Env = env
				out, err := output(cmd, time.Minute)
				if err != nil {
					t.Errorf("%v %s", err, out)
				}
				return out
			}
			if status := ask("status", dir, "--json"); !strings.Contains(status, `"max":`+c.conns) {
				t.Errorf("max_conns is not %s: %s", c.conns, status)
			}
			ask("umount", dir)
		})
	}
}

// TestNoHome: a user's own configuration is found where mount(8) has taken HOME away.
func TestNoHome(t *testing.T) {
	account, err := user.Lookup(ordinary)
	if err != nil {
		lab.Unavailable(t, "%v: run mount_test/setup.sh", err)
	}
	config := filepath.Join(account.HomeDir, ".config", "ftpsfs", "config")
	runTool(t, "/", "setpriv", "--reuid", account.Uid, "--regid", account.Gid, "--init-groups", "mkdir", "-p", filepath.Dir(config))
	must(t, os.WriteFile(config, []byte("[mine]\nurl = ftps://someone@"+closedPort(t)+"/\n"), 0o644))
	t.Cleanup(func() { os.Remove(config) })
	cmd := exec.Command("setsid", "-w", "setpriv", "--reuid", account.Uid, "--regid", account.Gid, "--init-groups",
		lab.Binary(t), "check", "-o", "password_file=/dev/null", "mine")
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH")}, "/"
	out, _ := output(cmd, time.Minute)
	if code := exitCode(cmd); code != 1 || !strings.Contains(out, "password_file /dev/null") { // it came so far
		t.Errorf("exit status %d: %s", code, out)
	}
}

// TestImportToKeyring: passwords of FileZilla's sites go to the keyring, never into a file; the sites can be mounted by name
// with nothing else said. Without a keyring they stay where they are, and that is said.
func TestImportToKeyring(t *testing.T) {
	s := cell{lab.ProFTPD, false, "1.3"}.start(t)
	k := startKeyring(t)
	xml := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><FileZilla3 version="3.63"><Servers>
<Server><Host>%s</Host><Port>%d</Port><Protocol>4</Protocol><User>%s</User><Pass encoding="base64">%s</Pass><Name>work</Name></Server>
<Server><Host>ftp.invalid</Host><Protocol>3</Protocol><User>ann</User><Pass encoding="crypt">c2VjcmV0</Pass><Name>locked</Name></Server>
<Server><Host>old.invalid</Host><Protocol>1</Protocol><User>ann</User><Pass>%s</Pass><Name>ssh</Name></Server>
</Servers></FileZilla3>`, s.Host, s.Port, s.User, base64.StdEncoding.EncodeToString([]byte(s.Password)), s.Password)
	file := secretFile(t, "sitemanager.xml", xml)
	for _, bus := range []string{"", k.address} {
		env := bareEnv(t)
		if bus != "" {
			env = append(env, "DBUS_SESSION_BUS_ADDRESS="+bus)
		}
		home := strings.TrimPrefix(env[1], "HOME=")
		run := func(args ...string) (string, int) {
			cmd := unattended(t, nil, args...)
			cmd.Env = env
			out, _ := output(cmd, time.Minute)
			return out, exitCode(cmd)
		}
		out, code := run("import", file)
		if code != 0 || strings.Contains(out, "password in the keyring") != (bus != "") || strings.Contains(out, "NOT taken over") != (bus == "") || !strings.Contains(out, "use sshfs") {
			t.Errorf("import: exit status %d, %s", code, out)
		}
		written := runTool(t, home, "sh", "-c", "find . -type f -exec cat {} +")
		if !strings.Contains(written, "[work]") || !strings.Contains(written, "[locked]") || strings.Contains(written, s.Password) || strings.Contains(out, s.Password) {
			t.Errorf("written: %s\nsaid: %s", written, out)
		}
		if bus == "" {
			continue
		}
		if got := k.secrets(); len(got) != 1 || got["ftpsfs "+s.User+"@"+s.Addr()] != s.Password {
			t.Errorf("in the keyring: %q", got)
		}
		dir := lab.Folder(t, "ftpsfs-mnt-")
		t.Cleanup(func() { abort(dir) })
		if out, code := run("mount", "-o", "cacert="+s.CAFile, "work", dir); code != 0 {
			t.Fatalf("mount: exit status %d, %s", code, out)
		}
		if status, _ := run("status", dir, "--json"); !strings.Contains(status, `"password_from":"the desktop keyring"`) {
			t.Errorf("status: %s", status)
		}
		if out, code := run("umount", dir); code != 0 {
			t.Errorf("umount: %s", out)
		}
	}
}
