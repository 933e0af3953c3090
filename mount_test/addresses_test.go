//go:build linux

package mount_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestActiveAddresses: active_ports and active_addr are what the server is told.
func TestActiveAddresses(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.VSFTPD})
	low, high := s.PassiveHigh-20, s.PassiveHigh // of the block that is ours alone; the server uses none of it in active mode
	r := check(t, s, []string{"mode=active", fmt.Sprintf("active_ports=%d-%d", low, high), "active_addr=127.0.0.1", "max_conns=2"})
	if r.DataPorts[0] < low || r.DataPorts[1] > high {
		t.Errorf("ports %v, not within %d to %d", r.DataPorts, low, high)
	}
	if told := "EPRT |1|127.0.0.1|"; !strings.Contains(s.Log(), told) {
		t.Errorf("the server was not told %s", told)
	}
	options := append(credentials(t, s, stateDir(t)), "mode=active", "active_addr=192.0.2.7", "timeout=5s")
	if out, code := ftpsfs(t, "check", "-o", strings.Join(options, ","), s.URL); code != 32 {
		t.Errorf("a server that calls somebody else: exit status %d, %s", code, out)
	}
	if told := "EPRT |1|192.0.2.7|"; !strings.Contains(s.Log(), told) {
		t.Errorf("the server was not told %s", told)
	}
}

// TestPASVAddress: the address in a reply to PASV, wrong behind many a NAT, is used on demand only.
func TestPASVAddress(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, Extra: []string{"MasqueradeAddress 192.0.2.7"}}) // nobody is there (RFC 5737)
	check(t, s, []string{"epsv=no", "max_conns=2"})
	options := append(credentials(t, s, stateDir(t)), "pasv_addr=reply", "timeout=5s")
	if out, code := ftpsfs(t, "check", "-o", strings.Join(options, ","), s.URL); code != 32 || !strings.Contains(out, "192.0.2.7") {
		t.Errorf("pasv_addr=reply: exit status %d, %s", code, out)
	}
}
