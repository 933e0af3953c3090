//go:build linux

package mount_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

const secretPassword = "correct-horse-battery-staple"

// refusal is a mount that must fail.
type refusal struct {
	name    string
	url     func(t *testing.T) string
	options []string
	says    []string // words of the message, one of them at least, in lower case
	heard   func() string
}

// goodReplies are a server's that lets everybody in.
func goodReplies() map[string]string {
	return map[string]string{
		"AUTH": "234 go on", "PBSZ": "200 ok", "PROT": "200 ok", "USER": "331 password", "PASS": "230 in", "FEAT": "211 none",
		"TYPE": "200 ok", "OPTS": "200 ok", "PWD": `257 "/"`, "QUIT": "221 bye",
	}
}

// refusals are all of them; ca signs what the client trusts.
func refusals(t *testing.T, ca *lab.Authority) []refusal {
	t.Helper()
	good := ca.Issue(t, lab.CertSpec{})
	withFake := func(name string, s script, says ...string) refusal {
		f := startFake(t, s)
		return refusal{name: name, url: func(*testing.T) string { return "ftps://someone@" + f.addr + "/" }, says: says, heard: f.heard}
	}
	bad := func(spec lab.CertSpec) *lab.Cert {
		c := ca.Issue(t, spec)
		return &c
	}
	stranger := lab.NewAuthority(t).Issue(t, lab.CertSpec{})
	noAuth := map[string]string{"AUTH": "502 not implemented", "USER": "331 password", "PASS": "230 in"}
	noProt := goodReplies()
	noProt["PROT"] = "534 not here"
	soon := []string{"connect_timeout=3s", "timeout=5s"} // for those that are told by nothing but the time
	silent := withFake("silent server", script{silent: true}, "connect_timeout", "time", "answer")
	silent.options = soon
	all := []refusal{
		withFake("unknown CA", script{cert: &stranger, replies: goodReplies()}, "certificate", "unknown authority", "trust"),
		withFake("wrong host name", script{cert: bad(lab.CertSpec{Hosts: []string{"other.test"}}), replies: goodReplies()}, "127.0.0.1", "name"),
		withFake("expired", script{cert: bad(lab.CertSpec{NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour)}), replies: goodReplies()}, "expired"),
		withFake("not yet valid", script{cert: bad(lab.CertSpec{NotBefore: time.Now().Add(24 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}), replies: goodReplies()}, "not valid before"),
		withFake("certificate for clients", script{cert: bad(lab.CertSpec{Client: true}), replies: goodReplies()}, "usage"),
		withFake("no AUTH TLS", script{replies: noAuth}, "auth tls", "tls"),
		withFake("PROT refused", script{cert: &good, replies: noProt}, "prot"),
		withFake("SSH server", script{greeting: "SSH-2.0-OpenSSH_9.2p1"}, "ssh"),
		withFake("HTTP server", script{greeting: "HTTP/1.1 400 Bad Request"}, "web server"),
		silent,
		{name: "refused port", url: func(t *testing.T) string { return "ftps://someone@" + closedPort(t) + "/" }, says: []string{"refused"}},
		{name: "unreachable host", url: func(t *testing.T) string { return "ftps://someone@" + deafPort(t) + "/" }, says: []string{"connect_timeout", "time"}, options: soon},
		{name: "unknown host", url: func(*testing.T) string { return "ftps://someone@no-such-host.invalid/" }, says: []string{"no-such-host"}},
	}
	implicit := withFake("implicit, unknown CA", script{implicit: true, cert: &stranger, replies: goodReplies()}, "certificate", "unknown authority", "trust")
	implicit.options = []string{"tls=implicit"}
	return append(all, implicit)
}

// TestRefusedMounts: what must not be mounted ends soon, with one line that says why, and with no password sent.
func TestRefusedMounts(t *testing.T) {
	ca := lab.NewAuthority(t)
	for _, r := range refusals(t, ca) {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			options := append([]string{"cacert=" + ca.File}, r.options...)
			refused(t, r.url(t), secretPassword, options, r.says)
			if r.heard == nil {
				return
			}
			// PROT is refused after the login: there the check that had to pass was the certificate's.
			if got := r.heard(); r.name != "PROT refused" && (strings.Contains(got, "PASS") || strings.Contains(got, secretPassword) || strings.Contains(got, "USER")) {
				t.Errorf("the server was told %q", got)
			}
		})
	}
}

// TestWrongPassword is refused by the real servers, which are asked once: more tries would lock an account.
func TestWrongPassword(t *testing.T) {
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		options := []string{"cacert=" + s.CAFile}
		refused(t, s.URL, "wrong", options, []string{"password", "login"})
		tries := map[lab.Kind]string{lab.VSFTPD: "FAIL LOGIN", lab.ProFTPD: "Incorrect password"}[c.kind]
		if n := strings.Count(s.Log(), tries); tries != "" && n > 1 {
			t.Errorf("logged in %d times with a wrong password", n)
		}
	})
}

// TestRefusedByStrictServers: the certificate of a real server that is not trusted.
func TestRefusedByStrictServers(t *testing.T) {
	each(t, all, func(t *testing.T, c cell) {
		s := c.start(t)
		other := lab.NewAuthority(t)
		options := []string{"cacert=" + other.File}
		if c.implicit {
			options = append(options, "tls=implicit")
		}
		refused(t, s.URL, s.Password, options, []string{"certificate", "authority", "trust"})
		for _, word := range []string{"PASS", "connection accepted"} { // vsftpd logs commands, ProFTPD that TLS is there
			if strings.Contains(s.Log(), word) {
				t.Errorf("a password was, or could have been, sent:\n%s", s.Log())
			}
		}
	})
}

// TestResumptionThatCannotBe: a ProFTPD with TLS 1.2 alone and no tickets demands that sessions are resumed by their ID,
// which Go's TLS cannot. The mount is refused with the reason.
func TestResumptionThatCannotBe(t *testing.T) {
	s := cell{lab.ProFTPD, false, "1.2"}.start(t, "TLSSessionTickets off")
	refused(t, s.URL, s.Password, []string{"cacert=" + s.CAFile}, []string{"tlssessiontickets on"})
}

// refused runs a mount that must fail, and gives what it said in lower case.
func refused(t *testing.T, url, password string, options, says []string) string {
	t.Helper()
	dir, state := lab.Folder(t, "ftpsfs-mnt-"), stateDir(t)
	file := filepath.Join(lab.Folder(t, "ftpsfs-secret-"), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	options = append(options, "password_file="+file, "state_dir="+state)
	cmd := exec.Command(lab.Binary(t), "-o", strings.Join(options, ","), url, dir)
	var stderr, stdout buffer
	cmd.Stderr, cmd.Stdout = &stderr, &stdout
	_, err := output(cmd, refusedWithin)
	if isMounted(dir) {
		abort(dir)
		t.Error("it is mounted")
	}
	if code := exitCode(cmd); code != 32 {
		t.Errorf("exit status %d (%v), want 32", code, err)
	}
	message := ""
	for line := range strings.Lines(stderr.String()) {
		if !strings.HasPrefix(line, "ftpsfs: warning: ") { // what was asked for in words is warned about first
			message += line
		}
	}
	if n := strings.Count(message, "\n"); n != 1 || stdout.String() != "" {
		t.Errorf("%d lines on stderr, want one: %q; stdout %q", n, message, stdout.String())
	}
	if strings.Contains(message, password) {
		t.Errorf("the message tells the password: %q", message)
	}
	message = strings.ToLower(message)
	if !slices.ContainsFunc(says, func(word string) bool { return strings.Contains(message, word) }) {
		t.Errorf("%q has none of %q", message, says)
	}
	t.Log(strings.TrimSpace(message))
	return message
}

// refusedWithin is when a mount that waits no longer than timeout=30s has ended for certain, however slow the machine.
const refusedWithin = time.Minute

// closedPort gives an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// deafPort gives an address where connecting never comes to an end: a listener whose queue is full.
func deafPort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 { // nobody accepts
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of a listener does not fill")
	return ""
}
