//go:build linux

package mount_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestMistakes: each kind of bad certificate file, configuration file and option has a message of its own that says what is
// wrong, and the exit status 1, before anybody is called. What servers show is in TestRefusedMounts, what the parser
// alone refuses in package options.
func TestMistakes(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert, dir := ca.Issue(t, lab.CertSpec{Client: true}), stateDir(t)
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		must(t, os.WriteFile(name, []byte(text), mode))
		must(t, os.Chmod(name, mode))
		return name
	}
	other := filepath.Join(dir, "other.key")
	runTool(t, dir, "openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other)
	locked := filepath.Join(dir, "locked.key")
	runTool(t, dir, "openssl", "pkcs8", "-topk8", "-in", cert.KeyFile, "-out", locked, "-passout", "pass:x")
	garbage, empty := file("garbage", "not PEM\n", 0o600), file("empty", "", 0o600)
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o700))
	must(t, os.MkdirAll(filepath.Join(dir, "config", "ftpsfs"), 0o700))
	password := file("password", "x\n", 0o600)
	site := "\nurl = ftps://joe@127.0.0.1:1/\n"
	seen := map[string]string{}
	for _, c := range []struct{ options, config, says string }{
		{"cacert=" + filepath.Join(dir, "none"), "", "option cacert"},
		{"cacert=" + garbage, "", "garbage"},
		{"cacert=" + empty, "", "empty"},
		{"cacert=" + filepath.Join(dir, "folder"), "", "folder"},
		{"cacert=" + cert.KeyFile, "", ".key"},
		{"cert=" + filepath.Join(dir, "none"), "", "option cert"},
		{"cert=" + garbage, "", "certificate"},
		{"cert=" + cert.File + ",key=" + filepath.Join(dir, "none"), "", "option key"},
		{"cert=" + cert.File + ",key=" + garbage, "", "key"},
		{"cert=" + cert.File + ",key=" + other, "", "match"},
		{"cert=" + cert.File + ",key=" + locked, "", "passphrase"},
		{"key=" + cert.KeyFile, "", "without cert"},
		{"pin=md5:00", "", "sha256:"},
		{"pin=sha256:00", "", "64 hexadecimal digits"},
		{"password_file=" + filepath.Join(dir, "none"), "", "password_file"},
		{"password_file=" + file("open", "x\n", 0o644), "", "others"},
		{"password_file=" + empty, "", "empty"},
		{"netrc=" + file("netrc", "machine 127.0.0.1 login joe password x\n", 0o644), "", "netrc"},
		{"askpass=" + filepath.Join(dir, "none"), "", "option askpass"},
		{"tls_min=1.3,tls_max=1.2", "", "above"},
		{"tls_curves=P256", "", "key exchange"},
		{"tls_ciphers=NULL", "", "cipher suite"},
		{"epsv=never", "", "epsv"},
		{"ccc,prot=C", "", "together"},
		{"mode=active,pasv_addr=reply", "", "pasv_addr"},
		{"", "[site\n", "section"},
		{"", "[site]\n", "no url"},
		{"", "[site]\nurl = ftps://joe:x@127.0.0.1/\n", "holds a password"},
		{"", "[site]" + site + "password = x\n", "password_file"},
		{"", "[site]" + site + "cacret = /x\n", "did you mean cacert"},
		{"", "[site]" + site + "[site]" + site, "already"},
		{"", "[site]" + site + "timeout = soon\n", "timeout"},
		{"", "[site]" + site + "mountpoint = here\n", "absolute"},
		{"", "[elsewhere]" + site, "no site is called"},
	} {
		name := c.options + c.config
		url, options := "ftps://joe@127.0.0.1:1/", c.options
		if c.config != "" {
			url, options = "site", "ro"
			file("config/ftpsfs/config", c.config, 0o600)
		}
		if !strings.Contains(options, "password_file") && !strings.Contains(options, "netrc") {
			options += ",password_file=" + password
		}
		// No terminal: nobody can be asked.
		cmd := exec.Command("setsid", "-w", lab.Binary(t), "-o", options+",connect_timeout=1s,timeout=2s,state_dir="+dir, url, lab.Folder(t, "ftpsfs-mnt-"))
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "HOME="+dir)
		out, _ := output(cmd, time.Minute)
		if code := exitCode(cmd); code != 1 || strings.Count(out, "\n") != 1 || !strings.Contains(out, c.says) {
			t.Errorf("%.80q: exit status %d, %q does not say %q in one line", name, code, out, c.says)
		}
		if before, twice := seen[out]; twice {
			t.Errorf("%q and %q are told alike: %s", before, name, out)
		}
		seen[out] = name
	}
}

// TestCertificateAlone: a server that knows the client's certificate asks for no password (232).
func TestCertificateAlone(t *testing.T) {
	ca := lab.NewAuthority(t)
	client := ca.Issue(t, lab.CertSpec{Client: true, Hosts: []string{"client.test"}, CommonName: lab.Account})
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, ClientCA: ca.File, Extra: []string{"TLSUserName CommonName"}})
	out, code := ftpsfs(t, "check", "-o", "cacert="+s.CAFile+",cert="+client.File+",key="+client.KeyFile+",state_dir="+stateDir(t), s.URL)
	if code != 0 || !strings.Contains(out, "without a password") {
		t.Errorf("exit status %d: %s", code, out)
	}
}

// TestChangedKey: trust=tofu remembers the first key, and tells both when it changes.
func TestChangedKey(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.Embedded})
	state := stateDir(t)
	check := func() (string, int) {
		file := filepath.Join(state, "password")
		must(t, os.WriteFile(file, []byte(s.Password+"\n"), 0o600))
		return ftpsfs(t, "check", "-o", "trust=tofu,password_file="+file+",state_dir="+state, s.URL)
	}
	if out, code := check(); code != 0 {
		t.Fatalf("first time: %d %s", code, out)
	}
	known, err := os.ReadFile(filepath.Join(state, "known_hosts"))
	must(t, err)
	s.Restart() // with another key
	out, code := check()
	fields := strings.Fields(string(known))
	if code != 32 || len(fields) < 2 || !strings.Contains(out, "expected "+fields[1]) || strings.Count(out, "sha256:") < 2 || !strings.Contains(out, "known_hosts") {
		t.Errorf("changed key: %d %s, known %s", code, out, known)
	}
}
