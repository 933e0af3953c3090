package trust

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
)

// Fingerprint gives the SHA-256 of the certificate's public key (SubjectPublicKeyInfo) as -o pin= takes it.
func Fingerprint(c *x509.Certificate) string {
	return formatPin(spki(c))
}

func spki(c *x509.Certificate) []byte {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return sum[:]
}

func formatPin(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

// ParsePin reads "sha256:HEX"; colons between the bytes and capitals are accepted.
func ParsePin(s string) ([]byte, error) {
	algorithm, digits, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(algorithm, "sha256") {
		return nil, configError(fmt.Sprintf("pin %q does not begin with sha256:", s), nil, "see the fingerprint that `ftpsfs check` prints")
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
	if err != nil || len(sum) != sha256.Size {
		return nil, configError(fmt.Sprintf("pin %q is not 64 hexadecimal digits", s), err, "see the fingerprint that `ftpsfs check` prints")
	}
	return sum, nil
}

// pinned tells whether the certificate's key is one of pins.
func pinned(c *x509.Certificate, pins [][]byte) bool {
	sum := spki(c)
	for _, p := range pins {
		if bytes.Equal(p, sum) {
			return true
		}
	}
	return false
}

// Subject gives a short name for a certificate: what a person would call it.
func Subject(c *x509.Certificate) string {
	if s := c.Subject.String(); s != "" {
		return s
	}
	return names(c)
}

const maxNames = 5

// names lists the hosts that a certificate is for.
func names(c *x509.Certificate) string {
	list := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	switch {
	case len(list) == 0 && c.Subject.CommonName != "":
		return fmt.Sprintf("nothing (only the outdated common name %q)", c.Subject.CommonName)
	case len(list) == 0:
		return "nothing"
	case len(list) > maxNames:
		return strings.Join(list[:maxNames], ", ") + "..."
	}
	return strings.Join(list, ", ")
}
