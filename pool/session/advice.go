package session

import (
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// advice says what a user can do about a refusal (RFC 959 section 4.2, RFC 2228 section 5, RFC 4217 section 11), "" for
// the many that are plain answers.
func (s *Session) advice(verb string, r wire.Reply) string {
	switch r.Code {
	case 332:
		return "server wants an account besides the password: give it with account="
	case 421:
		return "server takes no more connections at present; max_conns= uses fewer"
	case 431:
		return "server cannot do TLS at present; its administrator must look at its certificate"
	case 533:
		return "server wants its control connection protected; mount without ccc"
	case 530:
		if verb == "PASS" || verb == "USER" {
			return "check user name and password; a server may also want a client certificate (cert=, key=)"
		}
	}
	switch {
	case verb == "CCC":
		return "server does not take the control connection back to clear; mount without ccc"
	case (verb == "AUTH TLS" || verb == "AUTH") && r.Code == 534:
		return "server's policy forbids TLS here, and nothing is sent without; try tls=implicit (port 990)"
	case verb == "AUTH TLS" || verb == "AUTH":
		return "server offers no TLS here, and nothing is sent without; try tls=implicit (port 990)"
	}
	return s.dataAdvice(r)
}

// dataAdvice is advice about the protection of data connections.
func (s *Session) dataAdvice(r wire.Reply) string {
	switch r.Code {
	case 425:
		if t := strings.ToLower(r.Text()); strings.Contains(t, "reuse") || strings.Contains(t, "operation not permitted") {
			return "server demands that data connections resume the TLS session of their control connection and gives no usable ticket; " +
				"allow TLS 1.3 on both sides, or session tickets on the server (ProFTPD: TLSSessionTickets on)"
		}
	case 521, 522, 534, 536:
		if s.cfg.ProtClear {
			return "server wants data protected; mount without prot=C"
		}
		if r.Code == 522 {
			return "server demands that data connections resume the TLS session of their control connection, or other versions or ciphers; " +
				"see tls_max=, tls_min= and tls_ciphers="
		}
		if r.Code == 536 {
			return "server cannot protect data; prot=C would send it in clear"
		}
		return "server's policy forbids protected data connections; prot=C would send data in clear"
	}
	return ""
}
