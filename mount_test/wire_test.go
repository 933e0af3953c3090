//go:build linux

package mount_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// What must not be seen on the way; each is long enough to be there by no accident.
const (
	wireUser    = "joe-the-secret-user"
	wireName    = "name-that-nobody-knows"
	wireContent = "content that nobody may read. "
)

// tapped puts a relay that records before a server.
func tapped(t *testing.T, port, low, high int) *relay.Relay {
	t.Helper()
	return relay.Start(t, relay.Options{Listen: "127.0.0.3", Port: port, PassiveLow: low, PassiveHigh: high, Record: 32 << 20})
}

// unseen fails the test when one of the secrets passed in clear, or when so little was recorded that it says nothing. What a
// hostile server tells of its own is its own affair: only what goes up counts there.
func unseen(t *testing.T, r *relay.Relay, hostile bool, secrets ...string) {
	t.Helper()
	lanes, complete := r.Recorded()
	if !complete || len(lanes) < 2 {
		t.Errorf("recorded %d lanes, complete: %v", len(lanes), complete)
	}
	for _, secret := range secrets {
		for _, l := range r.Find([]byte(secret)) {
			if hostile && l.Dir == relay.Down {
				continue
			}
			t.Errorf("%q was seen on a %v connection, %v", secret, l.Kind, l.Dir)
		}
	}
}

// TestNothingInClear uses a mount in every manner, and somebody listens.
func TestNothingInClear(t *testing.T) {
	each(t, func(c cell) bool {
		return c.kind != lab.Embedded && (c.implicit || c.version == "1.2") || realServers(c)
	}, func(t *testing.T, c cell) {
		s := c.start(t)
		r := tapped(t, s.Port, s.PassiveLow, s.PassiveHigh)
		must(t, os.WriteFile(s.Disk(wireName+"-there"), []byte(strings.Repeat(wireContent, 1000)), 0o644))
		m := mountURL(t, s, s.URLVia(r.Host))
		useInSecret(t, m)
		m.end()
		if r.Stats().Data == 0 {
			t.Error("no data connection passed the relay")
		}
		if auth := r.Find([]byte("AUTH TLS\r\n")); (auth == nil) != c.implicit {
			t.Errorf("AUTH TLS was seen %d times", len(auth))
		}
		unseen(t, r, false, s.User, s.Password, wireName, wireContent, "PASS", "USER")
	})
}

// useInSecret lists, reads, writes, renames and removes.
func useInSecret(t *testing.T, m *mnt) {
	t.Helper()
	if got, err := os.ReadFile(m.path(wireName + "-there")); err != nil || !strings.HasPrefix(string(got), wireContent) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	must(t, os.Mkdir(m.path(wireName+"-dir"), 0o755))
	must(t, os.WriteFile(m.path(wireName+"-dir", "new"), []byte(strings.Repeat(wireContent, 1000)), 0o644))
	must(t, os.Rename(m.path(wireName+"-dir", "new"), m.path(wireName+"-moved")))
	must(t, os.Chmod(m.path(wireName+"-moved"), 0o600))
	if _, err := os.ReadDir(m.path(wireName + "-dir")); err != nil {
		t.Error(err)
	}
	must(t, os.Remove(m.path(wireName+"-there")))
}

// lesser are the protections below the default, and what each server makes of them. The embedded one is not listed with
// prot=C: its library answers 200 and then 421 to each transfer.
var lesser = []struct {
	kind    lab.Kind
	option  string
	extra   []string
	cannot  string // part of the refusal: the server has no such thing
	content bool   // contents are in clear
}{
	{lab.VSFTPD, "prot=C", []string{"force_local_data_ssl=NO"}, "", true},
	{lab.ProFTPD, "prot=C", []string{"TLSRequired ctrl"}, "", true},
	{lab.PureFTPd, "prot=C", nil, "", true},
	{lab.VSFTPD, "prot=C", nil, "must be encrypted", true}, // its usual configuration
	{lab.VSFTPD, "ccc", nil, "mount without ccc", false},
	{lab.ProFTPD, "ccc", []string{"TLSRequired auth+data"}, "", false},
	{lab.ProFTPD, "ccc", nil, "ccc", false},
	{lab.PureFTPd, "ccc", nil, "", false},
	{lab.Embedded, "ccc", nil, "mount without ccc", false},
}

// TestLessProtection: what is asked for in words is done, warned about at the mount and shown in the status; the password
// is never in clear.
func TestLessProtection(t *testing.T) {
	for _, l := range lesser {
		t.Run(string(l.kind)+"-"+l.option+"-"+strings.Join(l.extra, ""), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: l.kind, Extra: l.extra})
			if l.cannot != "" {
				refused(t, s.URL, s.Password, []string{"cacert=" + s.CAFile, l.option}, []string{strings.ToLower(l.cannot)})
				return
			}
			r := tapped(t, s.Port, s.PassiveLow, s.PassiveHigh)
			must(t, os.WriteFile(s.Disk(wireName+"-there"), []byte(strings.Repeat(wireContent, 1000)), 0o644))
			m := mountURL(t, s, s.URLVia(r.Host), l.option)
			useInSecret(t, m)
			status, _ := ftpsfs(t, "status", m.dir)
			for where, text := range map[string]string{"the mount's messages": m.output(), "the status": status} {
				if !strings.Contains(strings.ToLower(text), "in clear") || !strings.Contains(text, strings.TrimSuffix(l.option, "=C")) {
					t.Errorf("%s do not warn: %s", where, text)
				}
			}
			m.end()
			unseen(t, r, false, s.Password, "PASS")
			if seen := r.Find([]byte(wireContent)) != nil; seen != l.content {
				t.Errorf("contents in clear: %v", seen)
			}
			if r.Find([]byte(wireName)) == nil {
				t.Error("no name was seen: the option did nothing")
			}
		})
	}
}

// hostileWire is a server that tries to hear something in clear.
type hostileWire struct {
	name   string
	script script
	then   *script // what it becomes once mounted, when all connections are cut
	says   string  // part of the refusal; "" : the mount works, and what is done on it fails
}

func with(replies map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		replies[more[i]] = more[i+1]
	}
	return replies
}

func hostileWires(t *testing.T) (ca *lab.Authority, all []hostileWire) {
	t.Helper()
	ca = lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	good := func(plain string, more ...string) script {
		return script{cert: &cert, serves: true, plain: plain, replies: with(goodSession(), more...)}
	}
	noAuth := script{replies: with(goodSession(), "AUTH", "502 not here"), serves: true}
	return ca, []hostileWire{
		{name: "AUTH refused", script: noAuth, says: "offers no tls"},
		{name: "AUTH refused, and everything else let in", script: script{replies: with(goodSession(), "AUTH", "534 policy", "USER", "230 come in")}, says: "policy"},
		{name: "text behind the answer to AUTH", script: good("", "AUTH", "234 go\r\n230 you are in"), says: "clear"},
		{name: "AUTH accepted, no TLS", script: script{replies: with(goodSession(), "AUTH", "234 go"), plainAuth: true}, says: "speaks plain ftp"},
		{name: "PROT refused", script: good("", "PROT", "534 not here"), says: "prot"},
		{name: "PROT unknown", script: good("", "PROT", "500 what"), says: "prot"},
		{name: "listing in clear", script: good("MLSD"), says: "tls"},
		{name: "upload in clear", script: good("STOR")},
		{name: "download in clear", script: good("RETR")},
		{name: "AUTH refused on reconnect", script: good(""), then: &noAuth},
		{name: "PROT refused on reconnect", script: good(""), then: ptr(good("", "PROT", "536 no more"))},
		{name: "plain data on reconnect", script: good(""), then: ptr(good("MLSD STOR RETR"))},
	}
}

func ptr[T any](v T) *T { return &v }

// goodSession are replies to a login; the rest is up to the fake.
func goodSession() map[string]string {
	r := goodReplies()
	delete(r, "FEAT")
	return r
}

// TestHostileWire: whatever a server answers, no name, no password, no name of a file and no content leaves in clear.
func TestHostileWire(t *testing.T) {
	ca, all := hostileWires(t)
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, h.script)
			f.files[wireName] = []byte("old")
			_, port, err := net.SplitHostPort(f.addr)
			must(t, err)
			n, err := strconv.Atoi(port)
			must(t, err)
			r := tapped(t, n, f.data.port, f.data.port)
			url := "ftps://" + wireUser + "@" + r.Addr() + "/"
			options := []string{"max_conns=1", "timeout=20s"}
			if h.says != "" {
				refused(t, url, secretPassword, append(options, "cacert="+ca.File), []string{h.says})
			} else {
				m := mountURL(t, &lab.Server{CAFile: ca.File, Password: secretPassword}, url, options...)
				m.lenient = true
				if h.then != nil {
					must(t, os.WriteFile(m.path("before"), []byte(wireContent), 0o644))
					f.become(*h.then)
					r.ResetAll(relay.Any)
				}
				if err := tryInSecret(m, h.script.plain); err == nil {
					t.Error("everything went well")
				}
				m.end()
			}
			unseen(t, r, true, wireUser, secretPassword, wireName, wireContent, "PASS", "USER", "STOR")
		})
	}
}

// tryInSecret does what sends names and contents: all of it, or the direction that the server means to listen to. It gives
// nil only when all of that succeeded.
func tryInSecret(m *mnt, plain string) error {
	var read, written error
	if plain != "STOR" {
		_, read = os.ReadFile(filepath.Join(m.dir, wireName))
	}
	if plain != "RETR" {
		written = os.WriteFile(filepath.Join(m.dir, wireName+"-new"), []byte(strings.Repeat(wireContent, 1000)), 0o644)
	}
	return errors.Join(read, written)
}
