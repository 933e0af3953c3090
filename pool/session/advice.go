package session

import (
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

func (s *Session) advice(verb string, r wire.Reply) string { return Advice(&s.cfg, verb, r) }

// Advice says what a user can do about a refusal of verb (RFC 959 section 4.2, RFC 2228 section 5, RFC 4217 section 11),
// naming the option; "" for the many that are plain answers. The greeting's verb is "".
func Advice(cfg *Config, verb string, r wire.Reply) string {
	if verb == "CCC" {
		return "server does not take the control connection back to clear; mount without ccc"
	}
	switch r.Code {
	case 332:
		return "server wants an account besides the password: give it with account="
	case 421:
		return "server takes no more connections at present, or ends them; max_conns= uses fewer"
	case 431:
		return "server cannot do TLS at present; its administrator must look at its certificate"
	case 533:
		if cfg.CCC {
			return "server wants its control connection protected; mount without ccc"
		}
	}
	switch verb {
	case "AUTH":
		if r.Code == 534 {
			return "server's policy forbids TLS here, and nothing is sent without; try tls=implicit (port 990)"
		}
		return "server offers no TLS here, and nothing is sent without; try tls=implicit (port 990)"
	case "EPSV", "EPRT":
		if r.Code == 522 { // here it is about the family of addresses (RFC 2428 section 2)
			return "server makes no data connections to this kind of address; put its IPv4 address into the URL"
		}
		return dataAdvice(cfg, r)
	case "PASV", "PORT", "PBSZ", "PROT", "MLSD", "LIST", "NLST", "RETR", "STOR", "STOU", "APPE":
		return dataAdvice(cfg, r)
	}
	return controlAdvice(cfg, verb, r)
}

// controlAdvice is advice about commands that need no data connection.
func controlAdvice(cfg *Config, verb string, r wire.Reply) string {
	switch r.Code {
	case 521, 522, 533, 534, 536:
		if cfg.CCC {
			return "server's policy refuses this on a connection in clear; mount without ccc"
		}
		return "server's policy refuses this on this connection; it may want a client certificate (cert=, key=), " +
			"TLS from the first byte (tls=implicit) or a newer version (tls_min=1.3)"
	case 530:
		if verb == "PASS" || verb == "USER" {
			return "check user name and password; a server may also want a client certificate (cert=, key=)"
		}
	}
	return ""
}

// dataAdvice is advice about the protection of data connections.
func dataAdvice(cfg *Config, r wire.Reply) string {
	switch r.Code {
	case 425:
		if t := strings.ToLower(r.Text()); strings.Contains(t, "reuse") || strings.Contains(t, "operation not permitted") {
			return "server demands that data connections resume the TLS session of their control connection and gives no usable ticket; " +
				"allow TLS 1.3 on both sides, or session tickets on the server (ProFTPD: TLSSessionTickets on)"
		}
	case 521, 522, 533, 534, 536:
		if cfg.ProtClear {
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
