package trust

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"

	"github.com/youmark/pkcs8"
)

// loadRoots reads a PEM file, or every file of a folder that holds PEM certificates.
func loadRoots(path string) (*x509.CertPool, error) {
	const advice = "give a PEM file of CA certificates, or a folder of such files, with cacert="
	info, err := os.Stat(path)
	if err != nil {
		return nil, configError("cacert is not readable", err, advice)
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(globEscape(path), "*")); err != nil {
			return nil, configError("cacert is not readable", err, advice)
		}
	}
	roots, found := x509.NewCertPool(), false
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil && info.IsDir() {
			continue // sub-folders, sockets, files of others
		}
		if err != nil {
			return nil, configError("cacert is not readable", err, advice)
		}
		found = roots.AppendCertsFromPEM(b) || found
	}
	if !found {
		return nil, configError("no certificate found in "+path, nil, advice)
	}
	return roots, nil
}

// globEscape makes a path match only itself.
func globEscape(path string) string {
	var b []byte
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}

// loadClient reads the client certificate (with its chain) and its key, which may be encrypted and may stand in the same
// file.
func loadClient(cfg Config) (*tls.Certificate, error) {
	const advice = "give PEM files with cert=FILE,key=FILE"
	if cfg.CertFile == "" {
		if cfg.KeyFile != "" {
			return nil, configError("a key is given without its certificate", nil, advice)
		}
		return nil, nil
	}
	certPEM, err := os.ReadFile(cfg.CertFile)
	if err != nil {
		return nil, configError("client certificate is not readable", err, advice)
	}
	keyPEM := certPEM
	if cfg.KeyFile != "" {
		if keyPEM, err = os.ReadFile(cfg.KeyFile); err != nil {
			return nil, configError("client key is not readable", err, advice)
		}
	}
	if keyPEM, err = decryptKey(keyPEM, cfg.KeyPassphrase); err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, configError("client certificate or key is not usable", err, advice)
	}
	return &cert, nil
}

// decryptKey gives the key in clear PEM (PKCS #8), or the input when nothing in it is encrypted.
func decryptKey(data []byte, ask func() (string, error)) ([]byte, error) {
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return data, nil
		}
		legacy := x509.IsEncryptedPEMBlock(block) //nolint:staticcheck // keys that people have are still in this form
		if block.Type != "ENCRYPTED PRIVATE KEY" && !legacy {
			continue
		}
		if ask == nil {
			return nil, configError("client key is encrypted and nobody can be asked for its passphrase", nil, "run in a terminal, or decrypt the key")
		}
		pass, err := ask()
		if err != nil {
			return nil, configError("passphrase of the client key", err, "")
		}
		if legacy {
			return decryptLegacy(block, pass)
		}
		key, err := pkcs8.ParsePKCS8PrivateKey(block.Bytes, []byte(pass))
		if err != nil {
			return nil, wrongPassphrase(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, configError("client key is not usable", err, "")
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
	}
}

// decryptLegacy reads the format of RFC 1423.
func decryptLegacy(block *pem.Block, pass string) ([]byte, error) {
	der, err := x509.DecryptPEMBlock(block, []byte(pass)) //nolint:staticcheck // see decryptKey
	if err != nil {
		return nil, wrongPassphrase(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
}

func wrongPassphrase(err error) error {
	return &Error{Reason: ReasonConfig, Detail: "client key cannot be decrypted, most likely the passphrase is wrong",
		Err: errors.Join(errors.New("decrypt key"), err)}
}
