package pool

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// Report is what Check found.
type Report struct {
	Address  string `json:"address"` // host:port
	Peer     string `json:"peer"`    // IP address and port that answered
	Implicit bool   `json:"implicit"`

	Certificates []Certificate `json:"certificates"` // as the server sent them, its own first
	Insecure     bool          `json:"insecure"`     // not checked
	TLSVersion   string        `json:"tls_version"`
	Cipher       string        `json:"cipher"`
	Curve        string        `json:"curve"`

	// What was seen on the two channels, not what was asked for.
	ControlProtected bool   `json:"control_protected"`
	DataProtected    bool   `json:"data_protected"`
	DataResumed      bool   `json:"data_resumed"` // the data channel resumed the control connection's TLS session
	DataTLSVersion   string `json:"data_tls_version"`
	DataPort         int    `json:"data_port"`
	DataPorts        [2]int `json:"data_ports"` // lowest and highest that were seen, for the firewall; there may be more
	Active           bool   `json:"active"`

	Greeting string   `json:"greeting"`
	Features []string `json:"features"`
	Home     string   `json:"home"`    // folder of the login
	Root     string   `json:"root"`    // folder that the URL names
	Entries  int      `json:"entries"` // names in it
	// Leftovers are temporary files in Root that look like ours, of this or another mount.
	Leftovers []string `json:"leftovers"`

	Capabilities map[Capability]bool `json:"capabilities"` // those known without writing anything
	Quirks       session.Quirks      `json:"quirks"`
	ExactTimes   bool                `json:"exact_times"`
	ZoneMinutes  *int                `json:"list_zone_minutes,omitempty"`
	// ClockAhead is how many seconds the server's clock is ahead of ours, to a second or two; nil until a file was written.
	ClockAhead   *int64        `json:"clock_ahead_seconds,omitempty"`
	LearnedLimit int           `json:"learned_limit"`
	LoginTime    time.Duration `json:"login_time_ns"`
	Problems     []string      `json:"problems"` // what will not work, and what to do about it
}

// Certificate is one certificate of a chain.
type Certificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	Names     []string  `json:"names,omitempty"` // DNS names and addresses
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	// SHA256 is the digest of the certificate, Pin that of its key as pin= takes it.
	SHA256 string `json:"sha256"`
	Pin    string `json:"pin"`
}

// expiresSoon is when a certificate's end is a problem worth telling.
const expiresSoon = 14 * 24 * time.Hour

// portSamples is how many listings more Check asks for, to see which ports the server chooses.
const portSamples = 4

// Check logs in, lists the root and reports what was found. Nothing is written. The error is what would keep a mount from
// working; the report holds what was found until then, and is never nil.
func (p *Pool) Check(ctx context.Context) (*Report, error) {
	r := &Report{
		Address: p.address(), Implicit: p.cfg.Session.TLS == session.TLSImplicit, Active: p.cfg.Session.Active,
		Insecure: p.cfg.Session.Trust.Insecure,
	}
	begin := time.Now()
	if err := p.Connect(ctx); err != nil {
		return r, err
	}
	r.LoginTime = time.Since(begin)
	l, err := p.List(ctx, "/")
	if err == nil {
		r.Entries = len(l.Entries)
		for _, e := range l.Entries {
			if IsProbe(e.Name) {
				r.Leftovers = append(r.Leftovers, e.Name)
			}
		}
		for range portSamples {
			if _, err = p.List(ctx, "/"); err != nil {
				break
			}
		}
	}
	if ierr := p.do(ctx, call{op: "check"}, func(_ context.Context, c *conn) error {
		r.session(c.s.Info())
		return nil
	}); ierr != nil && err == nil {
		err = ierr
	}
	r.server(p)
	r.judge()
	return r, err
}

// session fills in what a session saw.
func (r *Report) session(i session.Info) {
	r.Peer = i.RemoteAddr.String()
	for _, c := range i.Control.PeerCertificates {
		r.Certificates = append(r.Certificates, certificate(c))
	}
	r.TLSVersion, r.Cipher = tls.VersionName(i.Control.Version), tls.CipherSuiteName(i.Control.CipherSuite)
	r.Curve = i.Control.CurveID.String()
	r.ControlProtected, r.DataProtected, r.DataResumed = i.Prot.Control, i.Prot.Data, i.DataResumed
	if i.Prot.Data {
		r.DataTLSVersion = tls.VersionName(i.Data.Version)
	}
	r.DataPort, r.DataPorts = i.DataPort, i.DataPorts
	r.Greeting, r.Home, r.Quirks = i.Greeting, i.Home, i.Quirks
}

// server fills in what the pool knows.
func (r *Report) server(p *Pool) {
	srv := p.server()
	r.Features = srv.featureList()
	r.Root = srv.base
	if r.Root == "" {
		r.Root = "/"
	}
	r.Capabilities = map[Capability]bool{}
	for c := range capabilityNames {
		if can, known := p.Known(c); known {
			r.Capabilities[c] = can
		}
	}
	r.ExactTimes = srv.mlst
	r.ZoneMinutes = p.memory.get().Zone
	s := p.Stats()
	r.LearnedLimit, r.ClockAhead = s.Connections.LearnedLimit, s.ClockAhead
}

// judge names what a user should know.
func (r *Report) judge() {
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	if r.Insecure {
		problem("the certificate was not checked (insecure_skip_verify): anybody on the way can read and change everything")
	}
	if len(r.Certificates) > 0 {
		if left := time.Until(r.Certificates[0].NotAfter); left < expiresSoon {
			problem("the certificate ends on %s", r.Certificates[0].NotAfter.Format(time.DateOnly))
		}
	}
	if !r.ControlProtected {
		problem("the control connection goes on in clear after login (ccc): names of files can be read on the way")
	}
	if r.DataPort != 0 && !r.DataProtected {
		problem("data goes in clear (prot=C): contents can be read and changed on the way")
	}
	if r.DataProtected && !r.DataResumed {
		problem("data channels do not resume the control connection's TLS session: nothing shows that both lead to the same client, and each costs a full handshake")
	}
	if !r.ExactTimes {
		problem("the server has no MLSD: times in listings are to the minute, and each exact time is asked for with MDTM")
	}
	if len(r.Leftovers) > 0 {
		problem("%d temporary files of an earlier mount are in the folder", len(r.Leftovers))
	}
}

func certificate(c *x509.Certificate) Certificate {
	sum := sha256.Sum256(c.Raw)
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return Certificate{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Names: names,
		NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		SHA256: hex.EncodeToString(sum[:]), Pin: trust.Fingerprint(c),
	}
}
