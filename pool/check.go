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
	ControlProtected bool `json:"control_protected"`
	DataProtected    bool `json:"data_protected"`
	DataResumed      bool `json:"data_resumed"` // the data channel resumed the control connection's TLS session
	// ResumptionDemanded: the server refuses data channels with a TLS session of their own; nil: not found out.
	ResumptionDemanded *bool  `json:"resumption_demanded"`
	DataTLSVersion     string `json:"data_tls_version"`
	DataPort           int    `json:"data_port"`
	DataPorts          [2]int `json:"data_ports"` // lowest and highest that were seen, for the firewall; there may be more
	Active             bool   `json:"active"`

	Greeting string   `json:"greeting"`
	Features []string `json:"features"`
	Home     string   `json:"home"`    // folder of the login
	Root     string   `json:"root"`    // folder that the URL names
	Entries  int      `json:"entries"` // names in it
	// Leftovers are temporary files of mounts in Root.
	Leftovers []Leftover `json:"leftovers"`

	Capabilities map[Capability]bool `json:"capabilities"` // those that are known
	// Names says which characters and other traits of names the server keeps as they are, as far as that is known.
	Names map[string]bool `json:"names"`
	// The commands that set a file's time and mode; "": not known, "-": there is none.
	TimeCommand string         `json:"time_command"`
	ModeCommand string         `json:"mode_command"`
	Quirks      session.Quirks `json:"quirks"`
	Oddities    []string       `json:"oddities"` // quirks and more, in words
	ExactTimes  bool           `json:"exact_times"`
	// ZoneMinutes is how far the times in LIST are east of UTC; nil: there was no file to compare.
	ZoneMinutes *int  `json:"list_zone_minutes"`
	Clock       Clock `json:"clock"`
	// Connections is how many the server took at a time, of ConnectionsTried; Refused: not more, because of their number.
	Connections        int           `json:"connections"`
	ConnectionsTried   int           `json:"connections_tried"`
	ConnectionsRefused bool          `json:"connections_refused"`
	LoginTime          time.Duration `json:"login_time_ns"`
	Problems           []Problem     `json:"problems"`
}

// Problem is something that will not work, or not well.
type Problem struct {
	What string `json:"what"`
	Todo string `json:"todo,omitempty"` // "": it is lived with
}

// CheckOptions say how far Check goes.
type CheckOptions struct {
	// Try allows to write: temporary files of ours in the root, removed at the end, show the server's clock and what it can.
	Try bool
	// Temp tells the names of temporary files, besides those of Try, and whose they are. May be nil.
	Temp func(name string) (of Owner, temp bool)
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

// Check logs in, lists the root, makes as many connections as a mount may, and reports what was found. Nothing is written
// unless o says so. The error is what would keep a mount from working; the report holds what was found until then, and is
// never nil.
func (p *Pool) Check(ctx context.Context, o CheckOptions) (*Report, error) {
	r := &Report{
		Address: p.address(), Implicit: p.cfg.Session.TLS == session.TLSImplicit, Active: p.cfg.Session.Active,
		Insecure: p.cfg.Session.Trust.Insecure, Leftovers: []Leftover{}, Problems: []Problem{},
	}
	begin := time.Now()
	if err := p.Connect(ctx); err != nil {
		return r, err
	}
	r.LoginTime = time.Since(begin)
	l, err := p.List(ctx, "/")
	if err == nil {
		r.Entries = len(l.Entries)
		r.look(l, o.Temp)
		for range portSamples {
			p.dataLists.Store(false) // each by a data channel
			if _, err = p.List(ctx, "/"); err != nil {
				break
			}
		}
	}
	var info session.Info
	if ierr := p.do(ctx, call{op: "check"}, func(_ context.Context, c *conn) error {
		info = c.s.Info()
		r.session(info)
		return nil
	}); ierr != nil && err == nil {
		err = ierr
	}
	if err == nil {
		r.explore(ctx, p, o)
	}
	r.server(p)
	r.Clock = p.clock(info, l)
	r.judge(p)
	return r, err
}

// look reads the listing of the root.
func (r *Report) look(l *Listing, temp func(string) (Owner, bool)) {
	r.Entries = len(l.Entries)
	for _, e := range l.Entries {
		if IsProbe(e.Name) {
			r.Leftovers = append(r.Leftovers, Leftover{e.Name, OfCheck})
		} else if temp == nil {
			continue
		} else if of, ok := temp(e.Name); ok {
			r.Leftovers = append(r.Leftovers, Leftover{e.Name, of})
		}
	}
	if len(l.Unparsed) > 0 {
		r.note(fmt.Sprintf("%d lines of the listing are not understood: those names are not shown", len(l.Unparsed)), "report them as a bug: ftpsfs check -d shows them")
	}
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
	r.Capabilities, r.Names = p.capabilities(), p.memory.names()
	r.ExactTimes = srv.mlst
	m := p.memory.get()
	r.ZoneMinutes = m.Zone
	r.TimeCommand, r.ModeCommand = string(m.MTime), string(m.Chmod)
	r.Oddities = p.oddities()
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
