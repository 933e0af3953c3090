package wire

import "strings"

// Normalize gives a reply as the standard writes it, for readers that insist on one code per command (RFC 959 section
// 5.4): positive replies get the code that belongs to the command, a FEAT reply loses the features in hide.
func Normalize(cmd string, r Reply, hide ...string) Reply {
	verb := Verb(cmd)
	if verb == "FEAT" && r.Code == 211 {
		return hideFeatures(r, hide)
	}
	if verb == "OPTS UTF8" && r.Refused() {
		return Reply{Code: 501, Lines: r.Lines} // names are bytes to us; every refusal is the same
	}
	if !r.OK() {
		return r
	}
	want := 0
	switch verb {
	case "USER", "PASS":
		want = 230 // 232: logged in by certificate (RFC 4217 section 6)
	case "TYPE", "NOOP", "PBSZ", "PROT", "OPTS UTF8":
		want = 200
	case "CWD", "CDUP", "DELE", "RMD", "RNTO":
		want = 250
	case "MKD", "PWD":
		want = 257
	case "RETR", "STOR", "APPE", "LIST", "MLSD", "NLST":
		want = 226
	}
	if want == 0 || r.Code == want {
		return r
	}
	return Reply{Code: want, Lines: r.Lines}
}

func hideFeatures(r Reply, hide []string) Reply {
	kept := Reply{Code: r.Code}
	for i, l := range r.Lines {
		name, _, _ := strings.Cut(strings.TrimSpace(l), " ")
		inner := i > 0 && i < len(r.Lines)-1
		if inner && containsFold(hide, name) {
			continue
		}
		kept.Lines = append(kept.Lines, l)
	}
	return kept
}

func containsFold(list []string, s string) bool {
	for _, x := range list {
		if strings.EqualFold(x, s) {
			return true
		}
	}
	return false
}
