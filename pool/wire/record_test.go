package wire

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// tap keeps what goes to the server, write by write.
type tap struct {
	net.Conn
	mu     sync.Mutex
	writes [][]byte // guarded by mu
}

func (c *tap) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, append([]byte(nil), b...))
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// take gives the writes since the last call.
func (c *tap) take() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes
	c.writes = nil
	return w
}

// records counts the TLS records in b, and those among them that carry application data.
func records(t *testing.T, b []byte) (all, data int) {
	t.Helper()
	for ; len(b) > 0; all++ {
		if len(b) < 5 || len(b) < 5+int(binary.BigEndian.Uint16(b[3:])) {
			t.Fatalf("a write ends within a record: %d bytes left", len(b))
		}
		if b[0] == 23 {
			data++
		}
		b = b[5+int(binary.BigEndian.Uint16(b[3:])):]
	}
	return all, data
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// The commands of a flight are a TLS record each, as servers expect that read one command from one record, and leave in one write.
func TestFlightIsOneRecordPerCommandInOneWrite(t *testing.T) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			below := &tap{Conn: ours}
			secure := tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MaxVersion: version})
			p := &peer{Conn: secure, br: bufio.NewReader(secure)}
			go func() {
				p.say("220 hello\r\n")
				p.answer(func(cmd string) string { return "200 " + cmd + "\r\n" })
			}()
			wrap := func(c net.Conn) (net.Conn, error) {
				s := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
				return s, s.HandshakeContext(t.Context())
			}
			c, greeting, err := New(below, wrap, Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close(); _ = theirs.Close() })
			if _, err := greeting.WaitFinal(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, cmds := range [][]string{{"NOOP"}, {"SIZE f", "MDTM f", "REST 5", "RETR f"}} {
				below.take()
				if _, err := c.Flight(t.Context(), cmds...); err != nil {
					t.Fatal(err)
				}
				writes := below.take()
				if len(writes) != 1 {
					t.Fatalf("%d commands in %d writes", len(cmds), len(writes))
				}
				if all, data := records(t, writes[0]); all != len(cmds) || data != len(cmds) {
					t.Errorf("%d commands in %d records, %d of application data", len(cmds), all, data)
				}
			}
		})
	}
}
