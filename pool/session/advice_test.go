package session

import (
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

func TestAdvice(t *testing.T) {
	plain, inClear, ccc := Config{}, Config{ProtClear: true}, Config{CCC: true}
	for _, c := range []struct {
		cfg   *Config
		verb  string
		code  int
		text  string
		names string // "": there is nothing to advise
	}{
		{&plain, "EPSV", 522, "Network protocol not supported, use (1)", "IPv4 address"},
		{&plain, "EPRT", 522, "Network protocol not supported, use (1)", "IPv4 address"},
		{&plain, "EPSV", 521, "PROT P required", "prot=C"},
		{&plain, "RETR", 522, "negotiation failed", "tls_max="},
		{&inClear, "RETR", 522, "PROT P required", "without prot=C"},
		{&plain, "RETR", 425, "Unable to build data connection: Operation not permitted", "TLSSessionTickets"},
		{&plain, "RETR", 425, "Connection refused", ""},
		{&ccc, "RETR", 533, "no", "without ccc"},
		{&ccc, "DELE", 534, "no", "without ccc"},
		{&plain, "DELE", 534, "no", "cert="},
		{&plain, "DELE", 550, "no", ""},
		{&plain, "PASS", 530, "Login incorrect", "password"},
		{&plain, "CWD", 530, "Not logged in", ""},
		{&plain, "PASS", 332, "account", "account="},
		{&ccc, "CCC", 500, "what?", "without ccc"},
	} {
		got := Advice(c.cfg, c.verb, wire.Reply{Code: c.code, Lines: []string{c.text}})
		if c.names == "" && got != "" || !strings.Contains(got, c.names) {
			t.Errorf("%d to %s: %q, want %q", c.code, c.verb, got, c.names)
		}
	}
}
