package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Policy is a Config made ready for one server: files read, keys decrypted. It is safe for concurrent use and made once
// per mount, so that a passphrase is asked for once.
type Policy struct {
	cfg    Config
	host   string // name that the certificate must carry
	key    string // host:port, for known servers
	roots  *x509.CertPool
	client *tls.Certificate
}

// NewPolicy reads the files that cfg names. host is the name of the server as the user gave it. Errors are *Error of
// ReasonConfig.
func NewPolicy(cfg Config, host string, port int) (*Policy, error) {
	name, _, _ := strings.Cut(host, "%") // a zone is not part of any certificate
	p := &Policy{cfg: cfg, host: name, key: net.JoinHostPort(name, strconv.Itoa(port))}
	if cfg.MinVersion != 0 && cfg.MaxVersion != 0 && cfg.MinVersion > cfg.MaxVersion {
		return nil, configError("tls_min is above tls_max", nil, "see tls_min= and tls_max=")
	}
	if cfg.Mode != ModeCA && cfg.KnownHosts == "" {
		return nil, configError("no file to remember servers in", nil, "use trust=ca, or set state_dir=")
	}
	var err error
	if cfg.CACert != "" {
		if p.roots, err = loadRoots(cfg.CACert); err != nil {
			return nil, err
		}
	}
	p.client, err = loadClient(cfg)
	return p, err
}

// Insecure says that no certificate is checked.
func (p *Policy) Insecure() bool { return p.cfg.Insecure && len(p.cfg.Pins) == 0 }

// base is what control and data channels have in common.
func (p *Policy) base() *tls.Config {
	c := &tls.Config{
		ServerName:                  p.host,
		RootCAs:                     p.roots,
		MinVersion:                  tls.VersionTLS12,
		MaxVersion:                  p.cfg.MaxVersion,
		CurvePreferences:            p.cfg.Curves,
		CipherSuites:                p.cfg.Ciphers,
		DynamicRecordSizingDisabled: true,
	}
	if p.cfg.MinVersion != 0 {
		c.MinVersion = p.cfg.MinVersion
	}
	if p.client != nil {
		// Whatever authorities the server lists: the user chose this certificate for this server.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.client, nil }
	}
	return c
}

// ownRules says that the check of package tls is replaced by one of ours.
func (p *Policy) ownRules() bool {
	return len(p.cfg.Pins) > 0 || p.cfg.Insecure || p.cfg.Mode != ModeCA
}

// verify is the check that replaces the one of package tls. It is called in each handshake, resumed ones included.
func (p *Policy) verify(s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return &Error{Reason: ReasonOther, Detail: "server showed no certificate"}
	}
	leaf := s.PeerCertificates[0]
	switch {
	case len(p.cfg.Pins) > 0:
		if pinned(leaf, p.cfg.Pins) {
			return nil
		}
		return &Error{Reason: ReasonPin, Subject: Subject(leaf), Fingerprint: Fingerprint(leaf), Detail: "certificate is not the pinned one",
			Advice: "if the server's key was replaced on purpose, change pin="}
	case p.cfg.Insecure:
		return nil
	}
	return p.verifyKnown(s)
}

// verifyKnown is trust as ssh has it.
func (p *Policy) verifyKnown(s tls.ConnectionState) error {
	leaf := s.PeerCertificates[0]
	known := knownHosts{p.cfg.KnownHosts}
	stored, err := known.lookup(p.key)
	if err != nil {
		return err
	}
	if stored == "" {
		why := p.verifyCA(s)
		switch {
		case p.cfg.Mode == ModeAsk && why == nil:
			return nil // nobody needs to be asked about a certificate that is in order
		case p.cfg.Mode == ModeAsk:
			return &unknownServer{leaf: leaf, why: why}
		}
		if stored, err = known.remember(p.key, Fingerprint(leaf), Subject(leaf)); err != nil {
			return configError("server cannot be remembered", err, "")
		}
	}
	return p.compare(leaf, stored)
}

func (p *Policy) compare(leaf *x509.Certificate, stored string) error {
	got := Fingerprint(leaf)
	if strings.EqualFold(got, stored) {
		return nil
	}
	return &Error{Reason: ReasonChanged, Subject: Subject(leaf), Fingerprint: got, Expected: stored,
		Detail: "server shows another key than before; somebody may be listening in",
		Advice: fmt.Sprintf("if it was replaced on purpose, remove the line of %s from %s", p.key, p.cfg.KnownHosts)}
}

// verifyCA is the check of package tls.
func (p *Policy) verifyCA(s tls.ConnectionState) error {
	o := x509.VerifyOptions{Roots: p.roots, DNSName: p.host, Intermediates: x509.NewCertPool()}
	for _, c := range s.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := s.PeerCertificates[0].Verify(o); err != nil {
		return certificateError(s.PeerCertificates[0], err)
	}
	return nil
}

// unknownServer asks for a question to the user, outside the handshake.
type unknownServer struct {
	leaf *x509.Certificate
	why  error
}

func (e *unknownServer) Error() string { return "server is not known yet" }

// Confirm settles a handshake that failed because the user must be asked (ModeAsk): true means that the server is
// remembered now and the caller may dial again. Any other failure comes back explained. It blocks as long as the user
// thinks.
func (p *Policy) Confirm(err error) (again bool, _ error) {
	var u *unknownServer
	if !errors.As(err, &u) {
		return false, Explain(err)
	}
	refused := &Error{Reason: ReasonNotAsked, Subject: Subject(u.leaf), Fingerprint: Fingerprint(u.leaf), Err: u.why,
		Detail: "server is not known", Advice: "use trust=tofu, cacert=FILE or pin=" + Fingerprint(u.leaf)}
	if p.cfg.Ask == nil {
		return false, refused
	}
	yes, err := p.cfg.Ask(fmt.Sprintf("The certificate of %s cannot be checked (%s).\nIt is %q, key %s.\nTrust it from now on?",
		p.key, short(u.why), Subject(u.leaf), Fingerprint(u.leaf)))
	if err != nil || !yes {
		return false, refused
	}
	stored, err := knownHosts{p.cfg.KnownHosts}.remember(p.key, Fingerprint(u.leaf), Subject(u.leaf))
	if err != nil {
		return false, configError("server cannot be remembered", err, "")
	}
	return true, p.compare(u.leaf, stored)
}

func short(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Detail
	}
	return err.Error()
}
