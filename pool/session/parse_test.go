package session

import (
	"net"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

func TestParseEPSV(t *testing.T) {
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)": 6446, "ok (!!!1!).": 1, "x (|1|10.0.0.1|21|)": 21,
		"(|||65536|)": 0, "(|||0|)": 0, "(|||-1|)": 0, "(|||)": 0, "": 0, "(": 0, "|||6446|": 0, "(|||12a|)": 0, "(|||+5|)": 0,
	} {
		if got, err := parseEPSV(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("parseEPSV(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParsePASV(t *testing.T) {
	for text, want := range map[string]string{
		"Entering Passive Mode (10,0,0,1,4,210).": "10.0.0.1:1234", "=127,0,0,1,0,21": "127.0.0.1:21", "in 5 s: 1,2,3,4,5,6": "1.2.3.4:1286",
		"(256,0,0,1,4,210)": "", "(10,0,0,1,4)": "", "(10,0,0,1,0,0)": "", "": "", "(1,2,3,4,5,6,7)": "", "(1,,3,4,5,6)": "",
	} {
		got, err := parsePASV(text)
		if want == "" && err == nil || want != "" && got.String() != want {
			t.Errorf("parsePASV(%q) = %v, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzPassiveReplies(f *testing.F) {
	for _, s := range []string{"(|||6446|)", "(10,0,0,1,4,210)", "(", "1,2,3,4,5,6", "(\xff\xff\xff1\xff)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parseEPSV(text); err == nil && (p < 1 || p > 65535) {
			t.Errorf("EPSV %q: port %d", text, p)
		}
		if a, err := parsePASV(text); err == nil && (a.Port() == 0 || !a.Addr().Is4()) {
			t.Errorf("PASV %q: %v", text, a)
		}
		_ = quoted(text)
		_, _ = allFacts(text)
	})
}

// FuzzFeatures: whatever FEAT says, names are names and what is asked for with OPTS MLST is one line.
func FuzzFeatures(f *testing.F) {
	for _, s := range []string{
		" EPSV\n MLST type*;size*;modify;\n SITE UTIME\n SITE CHMOD\n HASH SHA-256*;MD5", "211-UTF8\n211-rest STREAM", "\n \n\t", "MLST ;;* *;a b;\x00", "MLST",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, inner string) {
		lines := append(append([]string{"211-Features"}, strings.Split(inner, "\n")...), "211 End")
		features := parseFeatures(wire.Reply{Code: 211, Lines: lines})
		for name, params := range features {
			if name == "" || strings.ContainsAny(name, " \n") || params != strings.TrimSpace(params) {
				t.Errorf("%q: name %q, parameters %q", inner, name, params)
			}
		}
		if facts, _ := allFacts(features["MLST"]); strings.ContainsAny(facts, " \t\n") {
			t.Errorf("%q: facts %q", inner, facts)
		}
		if n := len(parseFeatures(wire.Reply{Code: 500, Lines: lines})); n != 0 {
			t.Errorf("%q: %d features of a refusal", inner, n)
		}
	})
}

func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		`"/" is current`: "/", `"/a""b" is`: `/a"b`, `"/a b"`: "/a b", `"/a"b" is your current location`: `/a"b`,
		`no quotes`: "", `"open`: "", `created "/x"`: "/x", `""`: "",
	} {
		if got := quoted(text); got != want {
			t.Errorf("quoted(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestAllFacts(t *testing.T) {
	for params, want := range map[string]struct {
		facts   string
		missing bool
	}{
		"type*;size*;":          {"type;size;", false},
		"type*;size*;unix.mode": {"type;size;unix.mode;", true},
		"":                      {"", false},
	} {
		if facts, missing := allFacts(params); facts != want.facts || missing != want.missing {
			t.Errorf("allFacts(%q) = %q, %v", params, facts, missing)
		}
	}
}

func TestActiveAddresses(t *testing.T) {
	if got := formatEPRT(net.ParseIP("::1"), 5282); got != "|2|::1|5282|" {
		t.Error(got)
	}
	if got := formatEPRT(net.ParseIP("10.0.0.1"), 5282); got != "|1|10.0.0.1|5282|" {
		t.Error(got)
	}
	if got, ok := formatPORT(net.ParseIP("10.0.0.1"), 1234); !ok || got != "10,0,0,1,4,210" {
		t.Error(got, ok)
	}
	if _, ok := formatPORT(net.ParseIP("::1"), 1234); ok {
		t.Error("PORT for IPv6")
	}
}
