package session

import (
	"context"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// noteFeatures keeps the reply to FEAT.
func (s *Session) noteFeatures(r wire.Reply) {
	features := parseFeatures(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.HasFEAT, s.info.Features = r.Code == 211, features
	_, announced := features["EPSV"]
	s.epsv = s.epsv || announced
}

// parseFeatures reads the reply to FEAT (RFC 2389 section 3.2): parameters by name, names in upper case. It is empty, not nil, where
// there are none.
func parseFeatures(r wire.Reply) map[string]string {
	features := make(map[string]string)
	if r.Code != 211 {
		return features
	}
	for _, line := range r.Inner() {
		line = strings.TrimSpace(strings.TrimPrefix(line, "211-")) // some write the code before each line
		name, params, _ := strings.Cut(line, " ")
		name, params = strings.ToUpper(name), strings.TrimSpace(params)
		switch before := features[name]; {
		case before == "":
		case params == "" || params == before:
			params = before
		default:
			params = before + ";" + params // "SITE UTIME", "SITE CHMOD": a line each
		}
		if name != "" {
			features[name] = params
		}
	}
	return features
}

// noteHome keeps the folder that the server logged us in to.
func (s *Session) noteHome(r wire.Reply) {
	if r.Code != 257 {
		return
	}
	s.learn(func(i *Info) { i.Home = quoted(r.Last()) })
}

// quoted reads the name in a 257 reply (RFC 959 appendix II): between quotes, a quote in it doubled. Some servers do not
// double, so the last quote of the line ends the name, unless the text behind it shows that it cannot.
func quoted(text string) string {
	start := strings.IndexByte(text, '"')
	if start < 0 {
		return ""
	}
	rest := text[start+1:]
	var b strings.Builder
	for i := 0; i < len(rest); i++ {
		if rest[i] != '"' {
			b.WriteByte(rest[i])
			continue
		}
		if i+1 < len(rest) && rest[i+1] == '"' {
			b.WriteByte('"')
			i++
			continue
		}
		if i+1 == len(rest) || rest[i+1] == ' ' {
			return b.String()
		}
		b.WriteByte('"')
	}
	return ""
}

// allFacts turns on the facts that the server knows and does not send by itself (RFC 3659 section 7.9): in FEAT, those
// without an asterisk.
func (s *Session) allFacts(ctx context.Context) error {
	info := s.Info()
	params, ok := info.Features["MLST"]
	if !ok || info.Quirks.MLSTFacts != "" {
		return nil
	}
	facts, missing := allFacts(params)
	if !missing {
		return nil
	}
	r, err := s.line.Flight(ctx, "OPTS MLST "+facts)
	if err != nil {
		return s.explain(err)
	}
	if r[0].OK() {
		s.learn(func(i *Info) { i.Quirks.MLSTFacts = facts })
	}
	return nil
}

// allFacts gives all facts of FEAT's MLST line as the argument of OPTS MLST, and whether some of them were off.
func allFacts(params string) (facts string, missing bool) {
	var b strings.Builder
	for _, f := range strings.Split(params, ";") {
		name := strings.TrimSuffix(strings.TrimSpace(f), "*")
		if name == "" || strings.ContainsAny(name, " \t") {
			continue
		}
		missing = missing || !strings.HasSuffix(strings.TrimSpace(f), "*")
		b.WriteString(name + ";")
	}
	return b.String(), missing
}
