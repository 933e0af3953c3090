//go:build linux

package mount_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// checked is what `ftpsfs check --json` prints, as far as the tests look at it.
type checked struct {
	OK                 bool            `json:"ok"`
	Error              string          `json:"error"`
	ControlProtected   bool            `json:"control_protected"`
	DataProtected      bool            `json:"data_protected"`
	DataResumed        bool            `json:"data_resumed"`
	ResumptionDemanded *bool           `json:"resumption_demanded"`
	DataPorts          [2]int          `json:"data_ports"`
	TLSVersion         string          `json:"tls_version"`
	Cipher             string          `json:"cipher"`
	Curve              string          `json:"curve"`
	Leftovers          []leftover      `json:"leftovers"`
	Capabilities       map[string]bool `json:"capabilities"`
	Names              map[string]bool `json:"names"`
	TimeCommand        string          `json:"time_command"`
	ModeCommand        string          `json:"mode_command"`
	Oddities           []string        `json:"oddities"`
	Zone               *int            `json:"list_zone_minutes"`
	Connections        int             `json:"connections"`
	Tried              int             `json:"connections_tried"`
	Refused            bool            `json:"connections_refused"`
	Clock              struct {
		Ahead   *int64 `json:"ahead_seconds"`
		From    string `json:"from"`
		AtLeast int64  `json:"at_least_seconds"`
		Latest  string `json:"latest"`
	} `json:"clock"`
	Problems []struct {
		What string `json:"what"`
		Todo string `json:"todo"`
	} `json:"problems"`
}

// leftover is a temporary file.
type leftover struct {
	Name string `json:"name"`
	Of   string `json:"of"`
}

// says tells whether some problem has the words.
func (c checked) says(words string) bool {
	for _, p := range c.Problems {
		if strings.Contains(p.What+" "+p.Todo, words) {
			return true
		}
	}
	return false
}

// check runs `ftpsfs check --json` on a server and expects that a mount would work.
func check(t *testing.T, s *lab.Server, options []string, flags ...string) checked {
	t.Helper()
	args := append([]string{"check", "--json", "-o", strings.Join(append(credentials(t, s, stateDir(t)), options...), ",")}, flags...)
	cmd := exec.Command(lab.Binary(t), append(args, s.URL)...)
	var out, says buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	_, err := output(cmd, time.Minute)
	var c checked
	if jerr := json.Unmarshal([]byte(out.String()), &c); jerr != nil || err != nil || !c.OK {
		t.Fatalf("%v, %v: %s%s", err, jerr, out.String(), says.String())
	}
	return c
}

// TestCheckOfServers: what the doctor finds out about each server, with both versions of TLS.
func TestCheckOfServers(t *testing.T) {
	yes, no := true, false
	resumed := map[lab.Kind]struct{ demanded, resumes map[string]*bool }{
		lab.Embedded: {map[string]*bool{"1.2": &no, "1.3": &no}, map[string]*bool{"1.2": &yes, "1.3": &yes}},
		lab.VSFTPD:   {map[string]*bool{"1.2": &yes, "1.3": &yes}, map[string]*bool{"1.2": &yes, "1.3": &yes}},
		lab.ProFTPD:  {map[string]*bool{"1.2": &yes, "1.3": &yes}, map[string]*bool{"1.2": &yes, "1.3": &yes}},
		lab.PureFTPd: {map[string]*bool{"1.2": &no, "1.3": &no}, map[string]*bool{"1.2": &yes, "1.3": &no}},
	}
	each(t, func(c cell) bool { return !c.implicit }, func(t *testing.T, c cell) {
		s := c.start(t)
		must(t, os.WriteFile(s.Disk("seen"), lines(10), 0o644))
		must(t, os.WriteFile(s.Disk(".ftpsfs-0123abcd-7"), nil, 0o644))
		r := check(t, s, []string{"max_conns=3"})
		want := resumed[c.kind]
		if d := r.ResumptionDemanded; d == nil || *d != *want.demanded[c.version] {
			t.Errorf("resumption demanded: %v", d)
		}
		if r.DataResumed != *want.resumes[c.version] || !r.ControlProtected || !r.DataProtected {
			t.Errorf("protection: %+v", r)
		}
		if r.says("do not resume") == r.DataResumed {
			t.Errorf("resumed is %v, problems %v", r.DataResumed, r.Problems)
		}
		if c.kind != lab.Embedded && (r.DataPorts[0] < s.PassiveLow || r.DataPorts[1] > s.PassiveHigh) || r.DataPorts[0] == 0 || r.DataPorts[0] > r.DataPorts[1] {
			t.Errorf("data ports %v, the server's are %d to %d", r.DataPorts, s.PassiveLow, s.PassiveHigh)
		}
		if !slices.Equal(r.Leftovers, []leftover{{".ftpsfs-0123abcd-7", "others"}}) || !r.says("1 temporary files of others") {
			t.Errorf("temporary files: %v, %v", r.Leftovers, r.Problems)
		}
		if r.Connections != 3 || r.Tried != 3 || r.Refused {
			t.Errorf("connections: %d of %d, refused %v", r.Connections, r.Tried, r.Refused)
		}
		if r.Zone == nil || *r.Zone != 0 {
			t.Errorf("zone %v", r.Zone)
		}
		if a := r.Clock.Ahead; (a != nil) != (c.kind == lab.PureFTPd) || a != nil && (*a < -60 || *a > 60 || r.Clock.From != "greeting") {
			t.Errorf("clock without a written file: %+v", r.Clock) // only one greets with the time
		}
		if pure := r.says("10,000"); pure != (c.kind == lab.PureFTPd) || pure != strings.Contains(strings.Join(r.Oddities, ","), "backslash") {
			t.Errorf("problems %v, oddities %v", r.Problems, r.Oddities)
		}
		if symlink, known := r.Capabilities["symlink"]; !known || symlink != (c.kind == lab.ProFTPD) || symlink == r.says("symlinks cannot be created") {
			t.Errorf("capabilities %v, problems %v", r.Capabilities, r.Problems)
		}
		if names := served(t, s); !slices.Equal(names, []string{".ftpsfs-0123abcd-7", "seen"}) {
			t.Errorf("on the server: %v", names)
		}
	})
}

// TestCheckThatWrites: with --try the clock, and what only a file shows; nothing of it stays.
func TestCheckThatWrites(t *testing.T) {
	each(t, anyServer, func(t *testing.T, c cell) {
		s := c.start(t)
		r := check(t, s, nil, "--try")
		if a := r.Clock.Ahead; a == nil || *a < -writtenWithin || *a > 3 || r.Clock.From != "file" || r.Zone == nil || *r.Zone != 0 {
			t.Errorf("clock %+v, zone %v", r.Clock, r.Zone)
		}
		for name, can := range map[string]bool{
			"append": true, "rename_replace": true, "set_mtime": true, "chmod": true,
			"keeps_tail": c.kind != lab.PureFTPd, "set_dir_mtime": c.kind != lab.VSFTPD,
			"rename_over_dir": c.kind != lab.Embedded, "folds_case": false,
		} {
			if got, known := r.Capabilities[name]; !known || got != can {
				t.Errorf("%s: %v, known %v", name, got, known)
			}
		}
		for _, name := range []string{"space at the end", `'\\'`, `'\t'`} {
			if kept, known := r.Names[name]; !known || kept != (c.kind != lab.PureFTPd) {
				t.Errorf("names with %s: kept %v, known %v", name, kept, known)
			}
		}
		if by := map[bool]string{true: "MDTM", false: "MFMT"}[c.kind == lab.VSFTPD]; r.TimeCommand != by || r.ModeCommand != "SITE CHMOD" {
			t.Errorf("times are set by %q, modes by %q", r.TimeCommand, r.ModeCommand)
		}
		if kept := r.Names["letters beyond ASCII"]; !kept || r.says("names are not kept") != (c.kind == lab.PureFTPd) {
			t.Errorf("names: %v, problems: %v", r.Names, r.Problems)
		}
		if r.says("times of folders") != (c.kind == lab.VSFTPD) {
			t.Errorf("problems: %v", r.Problems)
		}
		if names := served(t, s); len(names) > 0 {
			t.Errorf("left on the server: %v", names)
		}
	})
}

// writtenWithin is how many seconds a slow machine may take between a write and the look at its time.
const writtenWithin = 20

// TestCheckOfALimit: a server that takes one connection, or two, is found out and still looked at as a whole.
func TestCheckOfALimit(t *testing.T) {
	for _, limit := range []int{1, 2} {
		for _, kind := range lab.Real {
			t.Run(string(kind)+"-"+string(rune('0'+limit)), func(t *testing.T) {
				t.Parallel()
				s := lab.Start(t, lab.Options{Kind: kind, MaxClients: limit})
				r := check(t, s, nil)
				if r.Connections != limit || !r.Refused || !r.says("no more than") || r.ResumptionDemanded == nil {
					t.Errorf("%d connections of %d, refused %v; problems %v; resumption demanded: %v", r.Connections, r.Tried, r.Refused, r.Problems, r.ResumptionDemanded)
				}
			})
		}
	}
}

// TestCheckSeesTheZone: LIST of a server that tells local time.
func TestCheckSeesTheZone(t *testing.T) {
	t.Setenv("TZ", "KTM-5:45") // the server's; ours is read already
	s := cell{lab.ProFTPD, false, "1.3"}.start(t, "TimesGMT off")
	must(t, os.WriteFile(s.Disk("seen"), lines(10), 0o644))
	if r := check(t, s, nil); r.Zone == nil || *r.Zone != 5*60+45 {
		t.Errorf("zone %v", r.Zone)
	}
}

// TestCheckIsForPeople: the same, in lines.
func TestCheckIsForPeople(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	s := lab.Start(t, lab.Options{Kind: lab.VSFTPD, Version: "1.3", Cert: &cert, CAFile: ca.File})
	out, code := ftpsfs(t, "check", "-o", strings.Join(credentials(t, s, stateDir(t)), ","), "--try", s.URL)
	for _, words := range []string{
		"pin=sha256:", fmt.Sprintf("SHA-256 %x", sha256.Sum256(cert.TLS.Certificate[0])), "TLS 1.3", "demanded by the server", "ports seen", "cannot", "set_dir_mtime", "8 of 8 at a time", " this machine",
		"clock difference", "+0 minutes from UTC", "temporary files", "rsync -O", "a mount of " + s.URL + " works",
	} {
		if code != 0 || !strings.Contains(out, words) {
			t.Errorf("exit status %d, %q is missing in\n%s", code, words, out)
		}
	}
}

// TestCheckSeesTheFuture: a file from the future says how far the server's clock is ahead at least, if it is the clock; without
// one, check says how to find out.
func TestCheckSeesTheFuture(t *testing.T) {
	each(t, realServers, func(t *testing.T, c cell) {
		if c.kind == lab.PureFTPd {
			return // it tells the time
		}
		s := c.start(t)
		must(t, os.WriteFile(s.Disk("seen"), lines(10), 0o644))
		options := strings.Join(credentials(t, s, stateDir(t)), ",")
		out, code := ftpsfs(t, "check", "-o", options, s.URL)
		if code != 0 || !strings.Contains(out, "clock difference") || !strings.Contains(out, "not known without writing a file: ftpsfs check --try") {
			t.Errorf("exit status %d: %s", code, out)
		}
		soon := time.Now().Add(48 * time.Hour) // LIST tells such times by the day
		must(t, os.WriteFile(s.Disk("future"), lines(10), 0o644))
		must(t, os.Chtimes(s.Disk("future"), soon, soon))
		r := check(t, s, nil)
		if r.Clock.Ahead != nil || r.Clock.AtLeast < 23*3600 || r.Clock.AtLeast > 48*3600 || r.Clock.Latest != "future" || !r.says("in the future") {
			t.Errorf("%+v, %v", r.Clock, r.Problems)
		}
	})
}

// TestCheckTellsLeftoversApart: a temporary file is of a mount of ours that runs, of one that was killed, or of somebody else.
func TestCheckTellsLeftoversApart(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
	m := mountServer(t, s)
	must(t, os.WriteFile(m.path("big"), []byte("old"), 0o644))
	startWriter(t, m.path("big")).write(18 << 20)
	var temp string
	for deadline := time.Now().Add(mountTimeout); temp == ""; time.Sleep(10 * time.Millisecond) { // nothing tells when it is there
		for _, name := range served(t, s) {
			if strings.HasPrefix(name, ".ftpsfs-") {
				temp = name
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no temporary file: %v", served(t, s))
		}
	}
	of := func(state string) []leftover { return check(t, s, []string{"state_dir=" + state}).Leftovers }
	if got := of(m.stateDir); !slices.Equal(got, []leftover{{temp, "running"}}) {
		t.Errorf("while it runs: %v", got)
	}
	if got := of(stateDir(t)); !slices.Equal(got, []leftover{{temp, "others"}}) {
		t.Errorf("for somebody else: %v", got)
	}
	m.kill()
	if got := of(m.stateDir); !slices.Equal(got, []leftover{{temp, "earlier"}}) {
		t.Errorf("after its end: %v", got)
	}
}

// TestTLSChoices: versions, ciphers and key exchanges are those that were asked for.
func TestTLSChoices(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.Embedded})
	const cipher = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
	for _, c := range []struct{ option, version, cipher, curve string }{
		{"tls_min=1.3", "TLS 1.3", "", ""},
		{"tls_max=1.2", "TLS 1.2", "", ""},
		{"tls_curves=P-384", "TLS 1.3", "", "CurveP384"},
		{"tls_max=1.2,tls_ciphers=" + cipher + ",tls_curves=P-521:P-256", "TLS 1.2", cipher, ""},
	} {
		r := check(t, s, []string{c.option, "max_conns=2"})
		if r.TLSVersion != c.version || c.cipher != "" && r.Cipher != c.cipher || c.curve != "" && r.Curve != c.curve {
			t.Errorf("%s: %s, %s, %s", c.option, r.TLSVersion, r.Cipher, r.Curve)
		}
	}
}

// served gives the names in the server's folder.
func served(t *testing.T, s *lab.Server) []string {
	t.Helper()
	entries, err := os.ReadDir(s.Root)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
