package session

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// errAddress says that the reply to EPSV or PASV holds no address.
var errAddress = errors.New("server's reply names no data port")

// parseEPSV gives the port in a 229 reply (RFC 2428 section 3): between the third and the fourth of four equal
// delimiters behind an opening parenthesis. What stands between the others, which ought to be nothing, is not believed.
func parseEPSV(text string) (int, error) {
	_, rest, ok := strings.Cut(text, "(")
	if !ok || rest == "" {
		return 0, errAddress
	}
	fields := strings.SplitN(rest[1:], rest[:1], 4)
	if len(fields) < 4 {
		return 0, errAddress
	}
	return parsePort(fields[2])
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		return 0, errAddress
	}
	return int(n), nil
}

// parsePASV gives the address in a 227 reply (RFC 959 section 4.1.2, RFC 1123 section 4.1.2.6: the parentheses are
// optional): the first six numbers with commas between.
func parsePASV(text string) (netip.AddrPort, error) {
	for i := 0; i < len(text); i++ {
		if !digit(text[i]) || i > 0 && (digit(text[i-1]) || text[i-1] == ',') {
			continue
		}
		if a, ok := sixNumbers(text[i:]); ok {
			return a, nil
		}
	}
	return netip.AddrPort{}, errAddress
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func sixNumbers(s string) (netip.AddrPort, bool) {
	if end := strings.IndexFunc(s, func(r rune) bool { return r != ',' && (r < '0' || r > '9') }); end >= 0 {
		s = s[:end]
	}
	fields := strings.Split(s, ",")
	if len(fields) != 6 {
		return netip.AddrPort{}, false
	}
	var n [6]byte
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 10, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		n[i] = byte(v)
	}
	port := uint16(n[4])<<8 | uint16(n[5])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), port), port != 0
}

// formatEPRT gives the argument of EPRT (RFC 2428 section 2).
func formatEPRT(ip net.IP, port int) string {
	family := 2
	if ip.To4() != nil {
		family = 1
	}
	return fmt.Sprintf("|%d|%s|%d|", family, ip, port)
}

// formatPORT gives the argument of PORT (RFC 959 section 4.1.2). It exists for IPv4 only.
func formatPORT(ip net.IP, port int) (string, bool) {
	v4 := ip.To4()
	if v4 == nil {
		return "", false
	}
	return fmt.Sprintf("%d,%d,%d,%d,%d,%d", v4[0], v4[1], v4[2], v4[3], port>>8, port&0xFF), true
}
