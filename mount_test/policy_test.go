//go:build linux

package mount_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// policyCodes are what RFC 959, RFC 2228 and RFC 4217 have servers say about protection.
var policyCodes = []int{421, 431, 521, 522, 533, 534, 536}

// policyPlaces are the commands that such a reply may come to until a mount works, "" for the greeting, and what the message
// must say then besides the server's own words: the option that helps. "*" is for the codes that are not named.
var policyPlaces = []struct {
	verb, option string
	helps        map[string]string
}{
	{"", "", map[string]string{"*": "tls=implicit", "421": "max_conns", "431": "administrator"}},
	{"AUTH", "", map[string]string{"*": "tls=implicit", "421": "max_conns", "431": "administrator"}},
	{"USER", "", map[string]string{"*": "cert=", "421": "max_conns", "431": "administrator"}},
	{"PASS", "", map[string]string{"*": "cert=", "421": "max_conns", "431": "administrator"}},
	{"PBSZ", "", map[string]string{"*": "prot=c would", "421": "max_conns", "431": "administrator", "522": "tls_max="}},
	{"PROT", "", map[string]string{"*": "prot=c would", "421": "max_conns", "431": "administrator", "522": "tls_max="}},
	{"PROT", "prot=C", map[string]string{"*": "without prot=c", "421": "max_conns", "431": "administrator"}},
	{"CCC", "ccc", map[string]string{"*": "without ccc"}},
	{"MLSD", "", map[string]string{"*": "prot=c would", "421": "max_conns", "431": "administrator", "522": "tls_max="}},
	{"MLSD", "prot=C", map[string]string{"*": "without prot=c", "421": "max_conns", "431": "administrator"}},
	{"MLSD", "ccc", map[string]string{"*": "prot=c would", "421": "max_conns", "431": "administrator", "522": "tls_max=", "533": "without ccc"}},
}

// policyTimeout is short where nothing but the time ends the tries.
func policyTimeout(code int) string {
	if code == 421 || code == 522 {
		return "timeout=6s"
	}
	return "timeout=30s"
}

// TestPolicyReplies: what servers say about protection is told in words, with the server's own and with the option that
// helps, wherever on the way to a mount it comes.
func TestPolicyReplies(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	for _, p := range policyPlaces {
		for _, code := range policyCodes {
			if code == 421 && p.verb == "MLSD" && p.option != "" {
				continue // takes the whole timeout, for what is seen without the option
			}
			name := fmt.Sprintf("%d to %s", code, p.verb)
			if p.option != "" {
				name += " with " + p.option
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				reply := fmt.Sprintf("%d not like this", code)
				s := script{cert: &cert, serves: true, replies: with(goodSession(), p.verb, reply)}
				s.greeting = s.replies[""]
				if p.verb == "PBSZ" {
					s.replies["PROT"] = "503 PBSZ first" // RFC 4217 section 9
				}
				f := startFake(t, s)
				options := []string{"cacert=" + ca.File, "max_conns=1", policyTimeout(code)}
				if p.option != "" {
					options = append(options, p.option)
				}
				helps, ok := p.helps[fmt.Sprint(code)]
				if !ok {
					helps = p.helps["*"]
				}
				said := refused(t, "ftps://someone@"+f.addr+"/", secretPassword, options, []string{reply})
				if !strings.Contains(said, helps) {
					t.Errorf("%q does not name %q", said, helps)
				}
				if n := strings.Count(f.heard(), "PASS "); code != 421 && (p.verb == "USER" || p.verb == "PASS") && n > 2 {
					t.Errorf("the password was sent %d times", n) // once more where commands go one by one
				}
			})
		}
	}
}

// TestPolicyRepliesAtWork: the same to a mount that works already: an errno for the program, and the words in the log.
func TestPolicyRepliesAtWork(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	for _, c := range []struct {
		verb  string
		codes []int
		do    func(m *mnt) error
		helps map[int]string
	}{
		{"RETR", []int{421, 431, 521, 533, 534, 536}, func(m *mnt) error { _, err := os.ReadFile(m.path("there")); return err },
			map[int]string{0: "prot=C would", 421: "max_conns", 431: "administrator"}},
		{"STOR", []int{431, 521, 522, 533, 534, 536}, func(m *mnt) error { return os.WriteFile(m.path("new"), lines(100), 0o644) },
			map[int]string{0: "prot=C would", 431: "administrator", 522: "tls_max="}},
		{"MKD", []int{533, 534}, func(m *mnt) error { return os.Mkdir(m.path("folder"), 0o755) }, map[int]string{0: "cert="}},
	} {
		for _, code := range c.codes {
			t.Run(fmt.Sprintf("%d to %s", code, c.verb), func(t *testing.T) {
				t.Parallel()
				reply := fmt.Sprintf("%d not like this", code)
				f := startFake(t, script{cert: &cert, serves: true, replies: with(goodSession(), c.verb, reply)})
				f.files["there"] = lines(100)
				m := mountURL(t, &lab.Server{CAFile: ca.File, Password: secretPassword}, "ftps://someone@"+f.addr+"/", "max_conns=1", policyTimeout(code))
				m.lenient = true
				err := c.do(m)
				want := []error{syscall.EACCES}
				if code == 421 { // the session is over, and so is each after it, until the timeout
					want = []error{syscall.EIO, syscall.ETIMEDOUT, syscall.EBUSY}
				}
				if !slices.ContainsFunc(want, func(e error) bool { return errors.Is(err, e) }) {
					t.Errorf("%v, want one of %v", err, want)
				}
				helps := cmp.Or(c.helps[code], c.helps[0])
				if log := m.output(); !together(log, reply, helps) {
					t.Errorf("nothing in the log says %q", helps)
				}
			})
		}
	}
}

// together says whether some line of a log has both texts.
func together(log, a, b string) bool {
	for line := range strings.Lines(log) {
		if strings.Contains(line, a) && strings.Contains(line, b) {
			return true
		}
	}
	return false
}
