//go:build linux

package mount_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// way is one value of each axis along which FTPS connections differ. In a rule several values of an axis stand with spaces
// between them, and "" is any.
type way struct {
	kind   string // server
	start  string // of TLS
	data   string // command that opens data connections
	family string // of addresses
	tls    string // version
	login  string
}

// axes are the values of each axis, in the order of way's fields.
var axes = [6][]string{
	{"embedded", "vsftpd", "proftpd", "pure-ftpd"},
	{"explicit", "implicit"},
	{"EPSV", "PASV", "EPRT", "PORT"},
	{"IPv4", "IPv6"},
	{"1.2", "1.3"},
	{"password", "certificate"},
}

func (w way) values() [6]string {
	return [6]string{w.kind, w.start, w.data, w.family, w.tls, w.login}
}

func (w way) String() string {
	v := w.values()
	return strings.Join(v[:], "-")
}

// server is w without what one server offers side by side.
func (w way) server() way {
	w.data = ""
	return w
}

// wayRules say what each way must do: work, or why it cannot. Exactly one rule is every way's.
var wayRules = []struct {
	way
	cannot string // "" : it must work
}{
	{way{kind: "embedded vsftpd proftpd", data: "EPSV EPRT"}, ""},
	{way{kind: "embedded vsftpd proftpd", data: "PASV PORT", family: "IPv4"}, ""},
	{way{kind: "pure-ftpd", start: "explicit", data: "EPSV EPRT"}, ""},
	{way{kind: "pure-ftpd", start: "explicit", data: "PASV PORT", family: "IPv4"}, ""},
	{way{kind: "embedded vsftpd proftpd", data: "PASV PORT", family: "IPv6"}, "an address of IPv6 does not fit into these commands (RFC 2428 section 1)"},
	{way{kind: "pure-ftpd", start: "explicit", data: "PASV PORT", family: "IPv6"}, "an address of IPv6 does not fit into these commands (RFC 2428 section 1)"},
	{way{kind: "pure-ftpd", start: "implicit"}, "Pure-FTPd starts TLS with AUTH only"},
}

func (w way) matches(rule way) bool {
	is, want := w.values(), rule.values()
	for i := range is {
		if want[i] != "" && !slices.Contains(strings.Fields(want[i]), is[i]) {
			return false
		}
	}
	return true
}

// allWays are all combinations.
func allWays() []way {
	all := [][6]string{{}}
	for axis, values := range axes {
		var longer [][6]string
		for _, v := range values {
			for _, w := range all {
				w[axis] = v
				longer = append(longer, w)
			}
		}
		all = longer
	}
	var ways []way
	for _, v := range all {
		ways = append(ways, way{v[0], v[1], v[2], v[3], v[4], v[5]})
	}
	return ways
}

// TestWaysAreListed: no combination is left out, and none has two answers.
func TestWaysAreListed(t *testing.T) {
	ways := allWays()
	if len(ways) != 256 {
		t.Errorf("%d ways", len(ways))
	}
	for _, w := range ways {
		rules := 0
		for _, r := range wayRules {
			if w.matches(r.way) {
				rules++
			}
		}
		if rules != 1 {
			t.Errorf("%v: %d rules, want one", w, rules)
		}
	}
	for _, r := range wayRules {
		if !slices.ContainsFunc(ways, func(w way) bool { return w.matches(r.way) }) {
			t.Errorf("no way is meant by %v", r.way)
		}
	}
}

// workingWays are those that the rules promise.
func workingWays() []way {
	return slices.DeleteFunc(allWays(), func(w way) bool {
		return slices.ContainsFunc(wayRules, func(r struct {
			way
			cannot string
		}) bool {
			return r.cannot != "" && w.matches(r.way)
		})
	})
}

// level is a protection below the default, and the servers that allow it, each with the configuration for it.
type level struct {
	option string
	allows map[string][]string
	// cannot says of the other servers why.
	cannot map[string]string
}

var levels = []level{
	{"prot=C", map[string][]string{"vsftpd": {"force_local_data_ssl=NO"}, "proftpd": {"TLSRequired ctrl"}, "pure-ftpd": nil},
		map[string]string{"embedded": "its library answers 200 and then 421 to each transfer"}},
	{"ccc", map[string][]string{"proftpd": {"TLSRequired auth+data"}, "pure-ftpd": nil},
		map[string]string{"embedded": "no CCC", "vsftpd": "no CCC"}},
}

// TestWaysToConnect mounts, lists, reads and writes in every way.
func TestWaysToConnect(t *testing.T) {
	connect(t, workingWays(), nil)
}

// TestWaysWithLessProtection is TestWaysToConnect with each lower protection, on the servers that allow it.
func TestWaysWithLessProtection(t *testing.T) {
	for _, l := range levels {
		t.Run(l.option, func(t *testing.T) {
			for _, kind := range axes[0] {
				if _, allows := l.allows[kind]; allows == (l.cannot[kind] != "") {
					t.Errorf("%s must either allow it or not", kind)
				}
			}
			connect(t, slices.DeleteFunc(workingWays(), func(w way) bool { return l.cannot[w.kind] != "" }), &l)
		})
	}
}

// connect tries ways; those that one server offers on one server. l is nil for the default protection.
func connect(t *testing.T, all []way, l *level) {
	ca := lab.NewAuthority(t)
	client := ca.Issue(t, lab.CertSpec{Client: true, Hosts: []string{"client.test"}})
	groups := map[way][]way{}
	for _, w := range all {
		groups[w.server()] = append(groups[w.server()], w)
	}
	for server, ways := range groups {
		t.Run(server.String(), func(t *testing.T) {
			t.Parallel()
			o := lab.Options{Kind: lab.Kind(server.kind), Implicit: server.start == "implicit", Version: server.tls}
			if server.family == "IPv6" {
				o.Bind = "::1"
			}
			var options []string
			if l != nil {
				o.Extra = l.allows[server.kind]
				options = append(options, l.option)
			}
			if server.login == "certificate" {
				o.ClientCA = ca.File
				options = append(options, "cert="+client.File, "key="+client.KeyFile)
			}
			s := lab.Start(t, o)
			for _, w := range ways {
				t.Run(w.data, func(t *testing.T) { w.try(t, s, options) })
			}
		})
	}
}

// try uses one mount.
func (w way) try(t *testing.T, s *lab.Server, options []string) {
	if w.data == "EPRT" || w.data == "PORT" {
		options = append(slices.Clone(options), "mode=active")
	}
	if w.data == "PASV" || w.data == "PORT" {
		options = append(slices.Clone(options), "epsv=no")
	}
	there, content := lines(50_000), randomBytes(7, 70_000)
	must(t, os.WriteFile(s.Disk("there"), there, 0o644))
	m := mountServer(t, s, options...)
	entries, err := os.ReadDir(m.dir)
	if err != nil || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "there" }) {
		t.Errorf("listing: %v, %v", entries, err)
	}
	if got, err := os.ReadFile(m.path("there")); err != nil || !slices.Equal(got, there) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	name := "new-" + w.data
	must(t, os.WriteFile(m.path(name), content, 0o644))
	if got, err := os.ReadFile(s.Disk(name)); err != nil || !slices.Equal(got, content) {
		t.Errorf("on the server: %d bytes, %v", len(got), err)
	}
	st := m.status()
	for _, verb := range axes[2] {
		if n := st[commands+verb]; (n > 0) != (verb == w.data) {
			t.Errorf("%s was sent %v times", verb, n)
		}
	}
}
