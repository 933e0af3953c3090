package trust

import "crypto/tls"

// Mode says what makes a server believable.
type Mode uint8

// The modes: a CA (default), the first certificate seen, or a question to the user.
const (
	ModeCA Mode = iota
	ModeTOFU
	ModeAsk
)

// Config is what the user said about trust. Zero: system roots, host name checked, TLS 1.2 or newer.
type Config struct {
	CACert     string   // file (or folder) of PEM certificates in place of the system's roots
	Pins       [][]byte // SHA-256 of the leaf's SubjectPublicKeyInfo; if any, only these are accepted, whatever signed them
	CertFile   string   // client certificate, PEM
	KeyFile    string   // its key, PEM
	MinVersion uint16   // tls.VersionTLS12 if 0
	MaxVersion uint16   // newest if 0
	// Curves are the key exchanges to offer, for peers that stall on large ClientHellos; nil: what package tls thinks
	// best.
	Curves []tls.CurveID
	// Ciphers are the suites to offer with TLS 1.2; nil: those that package tls thinks safe. TLS 1.3 has no choice.
	Ciphers    []uint16
	Insecure   bool // insecure_skip_verify
	Mode       Mode
	KnownHosts string // file for ModeTOFU and ModeAsk
	// Ask puts a question (ModeAsk) and gives the answer; nil refuses.
	Ask func(question string) (bool, error)
	// KeyPassphrase is asked for an encrypted key; nil: such a key is refused with a clear message.
	KeyPassphrase func() (string, error)
}
