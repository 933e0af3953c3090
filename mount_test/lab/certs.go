package lab

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Authority is a throwaway certificate authority.
type Authority struct {
	File string // PEM file with its certificate

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Cert is a certificate with its key, as files and for Go.
type Cert struct {
	File, KeyFile string // PEM
	TLS           tls.Certificate
	Pin           string // hex SHA-256 of the public key (SPKI)
}

// CertSpec says what a certificate is for. The zero value is a good server certificate for localhost, the loopback
// addresses that tests use, and ftps.test.
type CertSpec struct {
	Hosts               []string // names and addresses; nil: the good ones
	NotBefore, NotAfter time.Time
	Client              bool   // for a client
	CommonName          string // "" is the first of Hosts
}

// goodHosts are the names and addresses under which tests reach servers and relays.
var goodHosts = []string{
	"localhost", "ftps.test", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.7",
	"127.0.0.8", "127.0.0.9", "::1",
}

// serverKey is one RSA key for all server certificates of this process: the making takes long, and every server takes RSA.
var serverKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// NewAuthority makes an authority whose files live as long as the test.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: "ftpsfs test CA"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	a := &Authority{dir: Folder(tb, "ftpsfs-lab-ca-"), cert: cert, key: key}
	a.File = filepath.Join(a.dir, "ca.pem")
	writePEM(tb, a.File, 0o644, "CERTIFICATE", der)
	return a
}

// Issue signs a certificate.
func (a *Authority) Issue(tb testing.TB, spec CertSpec) Cert {
	tb.Helper()
	key, err := serverKey()
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	template := spec.template(tb)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return save(tb, a.dir, der, key)
}

func (spec CertSpec) template(tb testing.TB) *x509.Certificate {
	hosts := spec.Hosts
	if hosts == nil {
		hosts = goodHosts
	}
	t := &x509.Certificate{
		SerialNumber: serial(tb), NotBefore: spec.NotBefore, NotAfter: spec.NotAfter,
		Subject:  pkix.Name{CommonName: spec.CommonName},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if t.Subject.CommonName == "" {
		t.Subject.CommonName = hosts[0]
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if spec.Client {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return t
}

func save(tb testing.TB, dir string, der []byte, key crypto.Signer) Cert {
	tb.Helper()
	spki, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	sum := sha256.Sum256(spki.RawSubjectPublicKeyInfo)
	name := filepath.Join(dir, hex.EncodeToString(spki.SerialNumber.Bytes()))
	c := Cert{
		File: name + ".pem", KeyFile: name + ".key", Pin: hex.EncodeToString(sum[:]),
		TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}
	writePEM(tb, c.File, 0o644, "CERTIFICATE", der)
	writePEM(tb, c.KeyFile, 0o600, "PRIVATE KEY", pkcs8)
	return c
}

func serial(tb testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 63))
	if err != nil {
		tb.Fatalf("lab: %v", err)
	}
	return n
}

func writePEM(tb testing.TB, file string, mode os.FileMode, kind string, der []byte) {
	tb.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		tb.Fatalf("lab: %v", err)
	}
}
