package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"time"
)

// Reason says why TLS did not come about.
type Reason uint8

// The reasons.
const (
	ReasonOther       Reason = iota
	ReasonUnknownCA          // signed by nobody whom we know
	ReasonHostName           // valid, for another name
	ReasonExpired            // its time is over
	ReasonNotYetValid        // its time has not begun
	ReasonUsage              // not made for servers
	ReasonPin                // none of the pinned keys
	ReasonChanged            // another key than the one remembered for this host
	ReasonNotAsked           // unknown, and the user refused or could not be asked
	ReasonVersion            // no common TLS version
	ReasonHandshake          // no common parameters
	ReasonClientCert         // the server wants a certificate of ours, or another one
	ReasonNotTLS             // the peer does not speak TLS here
	ReasonConfig             // a file or an option of ours is not usable
)

// Error says why a server is not believed, or why there is no TLS with it, and what helps.
type Error struct {
	Reason      Reason
	Subject     string // of the certificate, "" when there was none
	Fingerprint string // "sha256:HEX" of its public key, as -o pin= takes it; "" when there was none
	Expected    string // the remembered fingerprint, for ReasonChanged
	Detail      string // the reason in words
	Advice      string // what the user can do, naming the option
	Err         error  // the cause below, may be nil
}

// Error gives one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	if e.Subject != "" {
		fmt.Fprintf(&b, ": certificate %q", e.Subject)
	}
	if e.Fingerprint != "" {
		fmt.Fprintf(&b, " (%s)", e.Fingerprint)
	}
	if e.Expected != "" {
		fmt.Fprintf(&b, ", expected %s", e.Expected)
	}
	if e.Advice != "" {
		b.WriteString("; " + e.Advice)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Explain turns what a handshake or a TLS read gave into an *Error, if it is about trust or about TLS itself; cut
// connections, time-outs and everything else come back as they are.
func Explain(err error) error {
	var e *Error
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case err == nil, errors.As(err, &e):
		if e != nil {
			return e
		}
		return nil
	case errors.As(err, &verification):
		return explainCertificate(verification)
	case remoteAlert(err) != 0:
		return explainAlert(remoteAlert(err), err)
	case errors.As(err, &record):
		return explainRecord(record, err)
	case noCommonVersion(err):
		return versionError(err)
	}
	return err
}

// noCommonVersion recognises what package tls says, without a type, when the server answers with a version that we did
// not offer.
func noCommonVersion(err error) bool {
	for next := err; next != nil; next = errors.Unwrap(err) {
		err = next
	}
	s := err.Error()
	return strings.HasPrefix(s, "tls: ") && (strings.Contains(s, "unsupported protocol version") || strings.Contains(s, "no supported versions"))
}

func explainCertificate(v *tls.CertificateVerificationError) *Error {
	e := &Error{Reason: ReasonOther, Detail: "certificate not accepted: " + v.Err.Error(), Err: v}
	if len(v.UnverifiedCertificates) == 0 {
		return e
	}
	return certificateError(v.UnverifiedCertificates[0], v.Err)
}

// certificateError says what err, which x509 gave, means for leaf.
func certificateError(leaf *x509.Certificate, err error) *Error {
	e := &Error{Reason: ReasonOther, Subject: Subject(leaf), Fingerprint: Fingerprint(leaf), Err: err}
	pin := "accept exactly this certificate with pin=" + e.Fingerprint
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &host):
		e.Reason, e.Detail = ReasonHostName, fmt.Sprintf("certificate is not for %q but for %s", host.Host, names(leaf))
		e.Advice = "use a name in the URL that the certificate carries, or " + pin
	case errors.As(err, &invalid):
		explainInvalid(e, invalid, pin)
	case errors.As(err, &unknown):
		e.Reason, e.Detail = ReasonUnknownCA, "certificate signed by an unknown authority"
		e.Advice = "give the authority's certificate with cacert=FILE, or " + pin
	default:
		e.Detail, e.Advice = "certificate not accepted: "+err.Error(), pin
	}
	return e
}

func explainInvalid(e *Error, invalid x509.CertificateInvalidError, pin string) {
	e.Advice = "have the server's certificate replaced, or " + pin
	switch invalid.Reason {
	case x509.Expired:
		c := invalid.Cert
		if c != nil && time.Now().Before(c.NotBefore) {
			e.Reason, e.Detail = ReasonNotYetValid, "certificate is not valid before "+c.NotBefore.UTC().Format(time.RFC3339)
			e.Advice = "check this computer's clock, or " + pin
			return
		}
		e.Reason, e.Detail = ReasonExpired, "certificate has expired"
		if c != nil {
			e.Detail += " on " + c.NotAfter.UTC().Format(time.RFC3339)
		}
		e.Advice = "have the server's certificate renewed (or check this computer's clock), or " + pin
	case x509.IncompatibleUsage:
		e.Reason, e.Detail = ReasonUsage, "certificate is not made for servers (extended key usage)"
	default:
		e.Detail = "certificate not accepted: " + invalid.Error()
	}
}

// The alerts of RFC 8446 section 6 that a user can do something about.
const (
	alertHandshakeFailure    = 40
	alertBadCertificate      = 42
	alertCertificateUnknown  = 46
	alertUnknownCA           = 48
	alertProtocolVersion     = 70
	alertCertificateRequired = 116
)

// remoteAlert gives the number of the alert that the peer sent, 0 when err is none. Package tls has it as a number of a
// type that it does not export.
func remoteAlert(err error) uint8 {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return 0
	}
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		return uint8(v.Uint())
	}
	return 0
}

func explainAlert(n uint8, err error) error {
	switch {
	case n == alertProtocolVersion:
		return versionError(err)
	case n == alertHandshakeFailure:
		return &Error{Reason: ReasonHandshake, Err: err, Detail: "server found no common TLS parameters, or wants a client certificate",
			Advice: "try tls_max=1.2, or give a client certificate with cert=FILE,key=FILE"}
	case n == alertCertificateRequired, n >= alertBadCertificate && n <= alertCertificateUnknown, n == alertUnknownCA:
		return &Error{Reason: ReasonClientCert, Err: err, Detail: "server did not accept our client certificate: " + err.Error(),
			Advice: "give one that it knows with cert=FILE,key=FILE"}
	}
	return err
}

func versionError(err error) *Error {
	return &Error{Reason: ReasonVersion, Err: err, Detail: "no TLS version that both sides accept",
		Advice: "see tls_min= and tls_max=; versions below 1.2 are not safe any more"}
}

func explainRecord(r tls.RecordHeaderError, err error) *Error {
	e := &Error{Reason: ReasonNotTLS, Err: err, Detail: "server does not speak TLS on this port",
		Advice: "check the port"}
	if h := r.RecordHeader; h[0] >= '1' && h[0] <= '5' && h[1] >= '0' && h[1] <= '9' {
		e.Detail = fmt.Sprintf("server speaks plain FTP on this port (%q)", string(h[:]))
		e.Advice = "use tls=explicit, or the port for implicit TLS (990)"
	}
	return e
}

func configError(detail string, err error, advice string) *Error {
	if err != nil {
		detail += ": " + err.Error()
	}
	return &Error{Reason: ReasonConfig, Detail: detail, Advice: advice, Err: err}
}
