package trust_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/youmark/pkcs8"

	"github.com/ftpsfs/ftpsfs/pool/trust"
)

const host, port = "ftps.test", 21

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert: cert, key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue signs a certificate for host, changed by change.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// handshake does TLS between cfg and server and exchanges one byte, so that tickets and late alerts arrive.
func handshake(t *testing.T, cfg, server *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = ln.Close() }()
	wg.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		defer func() { _ = nc.Close() }()
		s := tls.Server(nc, server)
		if s.Handshake() == nil {
			_, _ = s.Write([]byte{1})
			_, _ = io.Copy(io.Discard, s)
		}
	})
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = nc.Close() }()
	c := tls.Client(nc, cfg)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if err := c.Handshake(); err != nil {
		return tls.ConnectionState{}, err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return c.ConnectionState(), err
}

func policy(t *testing.T, cfg trust.Config) *trust.Policy {
	t.Helper()
	p, err := trust.NewPolicy(cfg, host, port)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func reasonOf(t *testing.T, err error) *trust.Error {
	t.Helper()
	var e *trust.Error
	if !errors.As(trust.Explain(err), &e) {
		t.Fatalf("no *trust.Error: %v", err)
	}
	return e
}

func TestServerCertificates(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := ca.issue(t, nil)
	pin, err := trust.ParsePin(trust.Fingerprint(good.Leaf))
	if err != nil {
		t.Fatal(err)
	}
	byCA := trust.Config{CACert: ca.file}
	folder := trust.Config{CACert: filepath.Dir(ca.file)}
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	tests := []struct {
		name   string
		cfg    trust.Config
		cert   tls.Certificate
		server *tls.Config
		want   trust.Reason
		ok     bool
		advice string
	}{
		{name: "good", cfg: byCA, cert: good, ok: true},
		{name: "good by folder", cfg: folder, cert: good, ok: true},
		{name: "unknown CA", cfg: byCA, cert: other.issue(t, nil), want: trust.ReasonUnknownCA, advice: "cacert="},
		{name: "other name", cfg: byCA, cert: ca.issue(t, func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }), want: trust.ReasonHostName, advice: "URL"},
		{name: "common name only", cfg: byCA, cert: ca.issue(t, func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, host }), want: trust.ReasonHostName, advice: "pin="},
		{name: "expired", cfg: byCA, cert: ca.issue(t, expired), want: trust.ReasonExpired, advice: "renewed"},
		{name: "not yet valid", cfg: byCA, cert: ca.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), want: trust.ReasonNotYetValid, advice: "clock"},
		{name: "client's usage", cfg: byCA, cert: ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), want: trust.ReasonUsage, advice: "pin="},
		{name: "insecure", cfg: trust.Config{Insecure: true}, cert: other.issue(t, expired), ok: true},
		{name: "pinned", cfg: trust.Config{Pins: [][]byte{{1}, pin}}, cert: good, ok: true},
		{name: "not pinned, though signed", cfg: trust.Config{CACert: ca.file, Pins: [][]byte{pin}}, cert: ca.issue(t, nil), want: trust.ReasonPin, advice: "pin="},
		{name: "pin beats insecure", cfg: trust.Config{Insecure: true, Pins: [][]byte{pin}}, cert: ca.issue(t, nil), want: trust.ReasonPin, advice: "pin="},
		{name: "server too old", cfg: byCA, cert: good, server: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, want: trust.ReasonVersion, advice: "tls_min="},
		{name: "server too new", cfg: trust.Config{CACert: ca.file, MaxVersion: tls.VersionTLS12}, cert: good, server: &tls.Config{MinVersion: tls.VersionTLS13}, want: trust.ReasonVersion, advice: "tls_max="},
		{name: "server below our minimum", cfg: trust.Config{CACert: ca.file, MinVersion: tls.VersionTLS13}, cert: good, server: &tls.Config{MaxVersion: tls.VersionTLS12}, want: trust.ReasonVersion, advice: "tls_min="},
		{name: "client certificate wanted", cfg: byCA, cert: good, server: &tls.Config{ClientAuth: tls.RequireAnyClientCert}, want: trust.ReasonClientCert, advice: "cert="},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := &tls.Config{}
			if tt.server != nil {
				server = tt.server.Clone()
			}
			server.Certificates = []tls.Certificate{tt.cert}
			_, err := handshake(t, policy(t, tt.cfg).Channels().Control(), server)
			if tt.ok {
				if err != nil {
					t.Fatalf("refused: %v", trust.Explain(err))
				}
				return
			}
			if err == nil {
				t.Fatal("accepted")
			}
			e := reasonOf(t, err)
			if e.Reason != tt.want || !strings.Contains(e.Advice, tt.advice) {
				t.Errorf("reason %d, %v", e.Reason, e)
			}
			byCertificate := tt.want < trust.ReasonVersion
			if byCertificate && (e.Fingerprint != trust.Fingerprint(tt.cert.Leaf) || e.Subject == "") {
				t.Errorf("certificate is not named: %v", e)
			}
		})
	}
}

func TestNotTLS(t *testing.T) {
	err := trust.Explain(tls.RecordHeaderError{Msg: "x", RecordHeader: [5]byte{'2', '2', '0', ' ', 'f'}})
	if e := reasonOf(t, err); e.Reason != trust.ReasonNotTLS || !strings.Contains(e.Advice, "tls=explicit") {
		t.Errorf("%v", e)
	}
	if got := trust.Explain(io.ErrUnexpectedEOF); !errors.Is(got, io.ErrUnexpectedEOF) {
		t.Errorf("a cut connection became %v", got)
	}
}

func TestParsePin(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for _, s := range []string{"sha256:" + sum, "SHA256:" + strings.ToUpper(sum), "sha256:" + strings.TrimSuffix(strings.Repeat("ab:", 32), ":")} {
		if b, err := trust.ParsePin(s); err != nil || hex.EncodeToString(b) != sum {
			t.Errorf("%s: %x, %v", s, b, err)
		}
	}
	for _, s := range []string{"", sum, "md5:" + sum, "sha256:" + sum[2:], "sha256:" + sum + "00", "sha256:zz" + sum[2:]} {
		if _, err := trust.ParsePin(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}

func TestTrustOnFirstUse(t *testing.T) {
	ca := newAuthority(t)
	first, second := ca.issue(t, nil), ca.issue(t, nil)
	cfg := trust.Config{Mode: trust.ModeTOFU, KnownHosts: filepath.Join(t.TempDir(), "sub", "known")}
	for _, c := range []tls.Certificate{first, first} {
		if _, err := handshake(t, policy(t, cfg).Channels().Control(), &tls.Config{Certificates: []tls.Certificate{c}}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := handshake(t, policy(t, cfg).Channels().Control(), &tls.Config{Certificates: []tls.Certificate{second}})
	e := reasonOf(t, err)
	if e.Reason != trust.ReasonChanged || e.Expected != trust.Fingerprint(first.Leaf) || e.Fingerprint != trust.Fingerprint(second.Leaf) {
		t.Errorf("%v", e)
	}
	if !strings.Contains(e.Error(), e.Expected) || !strings.Contains(e.Error(), e.Fingerprint) {
		t.Errorf("both fingerprints belong in %q", e)
	}
	data, err := os.ReadFile(cfg.KnownHosts)
	if err != nil || strings.Count(string(data), "\n") != 1 {
		t.Errorf("file %q, %v", data, err)
	}
	if info, err := os.Stat(cfg.KnownHosts); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestKnownHostsIsSharedSafely(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	file := filepath.Join(t.TempDir(), "known")
	var wg sync.WaitGroup
	for i := range 20 {
		p, err := trust.NewPolicy(trust.Config{Mode: trust.ModeTOFU, KnownHosts: file}, "h.test", 1000+i%10)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			cs := tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert.Leaf}}
			if err := p.Channels().Control().VerifyConnection(cs); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(file)
	if err != nil || strings.Count(string(data), "\n") != 10 {
		t.Errorf("10 servers, file:\n%s%v", data, err)
	}
}

func TestAsk(t *testing.T) {
	ca := newAuthority(t)
	cert := ca.issue(t, nil)
	server := &tls.Config{Certificates: []tls.Certificate{cert}}
	var question string
	answer := false
	cfg := trust.Config{Mode: trust.ModeAsk, KnownHosts: filepath.Join(t.TempDir(), "known"),
		Ask: func(q string) (bool, error) { question = q; return answer, nil }}
	p := policy(t, cfg)
	_, err := handshake(t, p.Channels().Control(), server)
	again, err := p.Confirm(err)
	if e := reasonOf(t, err); again || e.Reason != trust.ReasonNotAsked || !strings.Contains(question, trust.Fingerprint(cert.Leaf)) {
		t.Fatalf("after no: %v, question %q", e, question)
	}
	answer = true
	_, err = handshake(t, p.Channels().Control(), server)
	if again, err = p.Confirm(err); !again || err != nil {
		t.Fatalf("after yes: %v, %v", again, err)
	}
	question = ""
	if _, err = handshake(t, p.Channels().Control(), server); err != nil || question != "" {
		t.Fatalf("remembered: %v, question %q", err, question)
	}
	_, err = handshake(t, p.Channels().Control(), &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}})
	if again, err = p.Confirm(err); again || reasonOf(t, err).Reason != trust.ReasonChanged || question != "" {
		t.Errorf("changed key: %v, %v, question %q", again, err, question)
	}
	cfg.CACert, cfg.KnownHosts = ca.file, filepath.Join(t.TempDir(), "known")
	if _, err = handshake(t, policy(t, cfg).Channels().Control(), server); err != nil || question != "" {
		t.Errorf("a certificate in order needs no question: %v, %q", err, question)
	}
}

func TestDataChannelMustShowTheAcceptedKey(t *testing.T) {
	ca := newAuthority(t)
	first, second := ca.issue(t, nil), ca.issue(t, nil)
	p := policy(t, trust.Config{Mode: trust.ModeTOFU, KnownHosts: filepath.Join(t.TempDir(), "known")})
	ch := p.Channels()
	state, err := handshake(t, ch.Control(), &tls.Config{Certificates: []tls.Certificate{first}})
	if err != nil {
		t.Fatal(err)
	}
	ch.Established(state)
	_, err = handshake(t, ch.Data(), &tls.Config{Certificates: []tls.Certificate{second}})
	if e := reasonOf(t, err); e.Reason != trust.ReasonChanged {
		t.Errorf("%v", e)
	}
	if _, err = handshake(t, ch.Data(), &tls.Config{Certificates: []tls.Certificate{first}}); err != nil {
		t.Error(err)
	}
}

func TestClientCertificates(t *testing.T) {
	ca := newAuthority(t)
	client := ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	dir := t.TempDir()
	certFile := filepath.Join(dir, "cert.pem")
	writePEM(t, certFile, "CERTIFICATE", client.Certificate[0])
	plain, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, err := pkcs8.MarshalPrivateKey(client.PrivateKey, []byte("sesame"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := x509.MarshalECPrivateKey(client.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", ec, []byte("sesame"), x509.PEMCipherAES256) //nolint:staticcheck // the form that is to be read
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "plain"), "PRIVATE KEY", plain)
	writePEM(t, filepath.Join(dir, "pkcs8"), "ENCRYPTED PRIVATE KEY", encrypted)
	if err := os.WriteFile(filepath.Join(dir, "legacy"), pem.EncodeToMemory(legacy), 0o600); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, "other"), "PRIVATE KEY", func() []byte { b, _ := x509.MarshalPKCS8PrivateKey(newKey(t)); return b }())
	say := func(s string) func() (string, error) { return func() (string, error) { return s, nil } }
	tests := []struct {
		name, key string
		pass      func() (string, error)
		want      string // part of the error, "" works
	}{
		{"plain", "plain", nil, ""},
		{"PKCS #8", "pkcs8", say("sesame"), ""},
		{"legacy", "legacy", say("sesame"), ""},
		{"wrong passphrase", "pkcs8", say("x"), "passphrase is wrong"},
		{"wrong passphrase, legacy", "legacy", say("x"), "passphrase is wrong"},
		{"nobody to ask", "pkcs8", nil, "encrypted"},
		{"another's key", "other", nil, "not usable"},
		{"no such file", "missing", nil, "not readable"},
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := trust.NewPolicy(trust.Config{CACert: ca.file, CertFile: certFile, KeyFile: filepath.Join(dir, tt.key), KeyPassphrase: tt.pass}, host, port)
			if tt.want != "" {
				if e := reasonOf(t, err); e.Reason != trust.ReasonConfig || !strings.Contains(e.Error(), tt.want) {
					t.Errorf("%v, want %q", e, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := handshake(t, p.Channels().Control(), server); err != nil {
				t.Errorf("server refused it: %v", err)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]trust.Config{
		"missing CA":           {CACert: "/nonexistent"},
		"empty CA file":        {CACert: empty},
		"folder without CA":    {CACert: t.TempDir()},
		"key alone":            {KeyFile: empty},
		"versions crossed":     {MinVersion: tls.VersionTLS13, MaxVersion: tls.VersionTLS12},
		"nowhere to remember":  {Mode: trust.ModeTOFU},
		"missing certificate":  {CertFile: "/nonexistent"},
		"certificate unusable": {CertFile: empty},
	} {
		_, err := trust.NewPolicy(cfg, host, port)
		var e *trust.Error
		if !errors.As(err, &e) || e.Reason != trust.ReasonConfig || e.Advice == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestResumption(t *testing.T) {
	ca := newAuthority(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := policy(t, trust.Config{CACert: ca.file, MaxVersion: version})
		server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}}
		ch := p.Channels()
		state, err := handshake(t, ch.Control(), server)
		if err != nil {
			t.Fatal(err)
		}
		ch.Established(state)
		for range 3 {
			if state, err = handshake(t, ch.Data(), server); err != nil || !state.DidResume {
				t.Errorf("version %x: data channel resumed: %v, %v", version, state.DidResume, err)
			}
		}
		if state, err = handshake(t, p.Channels().Data(), server); err != nil || state.DidResume {
			t.Errorf("version %x: resumed another connection's session", version)
		}
	}
}

func TestDataUsesTheCurveThatTheServerWants(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, nil)}, CurvePreferences: []tls.CurveID{tls.CurveP256}}
	ch := policy(t, trust.Config{CACert: ca.file}).Channels()
	state, err := handshake(t, ch.Control(), server)
	if err != nil || !state.HelloRetryRequest {
		t.Fatalf("no HelloRetryRequest to learn from (%v)", err)
	}
	ch.Established(state)
	if state, err = handshake(t, ch.Data(), server); err != nil || state.HelloRetryRequest {
		t.Errorf("data channel: asked again %v, %v", state.HelloRetryRequest, err)
	}
}
