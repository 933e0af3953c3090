package wire

import "strings"

// checkCommand refuses what would break the line apart or be taken for telnet (RFC 959 section 4.1.3, RFC 854).
func checkCommand(cmd string) error {
	if cmd == "" || strings.ContainsAny(cmd, "\r\n\x00") || strings.IndexByte(cmd, 0xFF) >= 0 {
		return ErrName
	}
	if len(cmd) > MaxCommand {
		return ErrTooLong
	}
	return nil
}

// Verb gives the name of a command in upper case, with the sub-command for SITE and OPTS ("SITE CHMOD").
func Verb(cmd string) string {
	name, rest, _ := strings.Cut(cmd, " ")
	name = strings.ToUpper(name)
	if name == "SITE" || name == "OPTS" {
		sub, _, _ := strings.Cut(rest, " ")
		name += " " + strings.ToUpper(sub)
	}
	return name
}

// secret tells whether a command's argument is never shown and never goes over a line without TLS.
func secret(verb string) bool { return verb == "PASS" || verb == "ACCT" }

// private tells whether a command needs TLS. The name of the user is no secret, but nobody's business either.
func private(verb string) bool { return secret(verb) || verb == "USER" }
