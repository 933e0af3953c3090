package pool

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// serverInfo is what the sessions told about the server. It is immutable: a new one replaces it.
type serverInfo struct {
	greeting string
	features map[string]string
	base     string // path of the mount's root on the server, "" for the server's root
	identity string // key of what is remembered

	mlst bool // MLST and MLSD
	// linksLie: MLST follows a symlink for the type, but gives the link's own size and mode (ProFTPD).
	linksLie bool
	pureFTPd bool // creates other names than it was told
	// vsftpd reads no command during a transfer, says 226 of an upload only when its own end of the data channel was
	// acknowledged, and sets no time of a folder.
	vsftpd bool
	// proftpd reads commands during a transfer, and answers those that need no data channel.
	proftpd    bool
	tlsVersion uint16
	rang       bool // RANG a b: a RETR ends by itself (draft-bryan-ftp-range)
}

// server gives what is known; zero before the first login.
func (p *Pool) server() *serverInfo { return p.srv.Load() }

// newServerInfo reads a session.
func newServerInfo(address, root string, info session.Info) *serverInfo {
	s := &serverInfo{greeting: info.Greeting, features: info.Features, base: basePath(info.Home, root), tlsVersion: info.Control.Version}
	facts, mlst := info.Features["MLST"]
	_, mlsd := info.Features["MLSD"]
	s.mlst = mlst || mlsd
	_, s.linksLie = info.Features["MFF"]
	s.pureFTPd = strings.Contains(info.Greeting, "Pure-FTPd") || strings.Contains(strings.ToLower(facts), "sizd")
	s.vsftpd = strings.Contains(info.Greeting, "(vsFTPd ")
	s.proftpd = strings.Contains(info.Greeting, "ProFTPD")
	s.rang = strings.HasPrefix(strings.ToUpper(info.Features["RANG"]), "STREAM")
	s.identity = identity(address, info)
	return s
}

// identity names a server and its version. Digits of the greeting do not count: it tells the time, or how many are logged
// in. Nor does the order of what FEAT tells.
func identity(address string, info session.Info) string {
	h := sha256.New()
	fmt.Fprintln(h, strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, info.Greeting))
	words := strings.FieldsFunc(strings.Join(featureList(info.Features), " "), func(r rune) bool { return r == ' ' || r == ';' || r == '*' })
	slices.Sort(words)
	fmt.Fprintln(h, words)
	return address + " " + hex.EncodeToString(h.Sum(nil)[:8])
}

func (s *serverInfo) featureList() []string { return featureList(s.features) }

// featureList gives FEAT as sorted lines.
func featureList(features map[string]string) []string {
	list := make([]string, 0, len(features))
	for _, name := range slices.Sorted(maps.Keys(features)) {
		list = append(list, strings.TrimRight(name+" "+features[name], " "))
	}
	return list
}

// has tells whether FEAT names a feature, and among its parameters (if param is not "") this one, in any case.
func (s *serverInfo) has(feature, param string) bool {
	params, ok := s.features[feature]
	return ok && (param == "" || strings.Contains(strings.ToLower(params), strings.ToLower(param)))
}
