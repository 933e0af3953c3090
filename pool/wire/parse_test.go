package wire

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	tests := []struct {
		name, in string
		want     Reply
		err      error // nil: want
		rest     string
	}{
		{"plain", "220 ready\r\nx", Reply{220, []string{"ready"}}, nil, "x"},
		{"bare code", "226\r\n", Reply{226, []string{""}}, nil, ""},
		{"bare LF", "226 ok\n", Reply{226, []string{"ok"}}, nil, ""},
		{"features", "211-Features:\r\n MDTM\r\n REST STREAM\r\n211 End\r\n", Reply{211, []string{"Features:", " MDTM", " REST STREAM", "End"}}, nil, ""},
		{"code on each line", "211-a\r\n211-b\r\n211 c\r\n", Reply{211, []string{"a", "211-b", "c"}}, nil, ""},
		{"other codes inside", "213-x\r\n226 not the end\r\n213 End\r\n", Reply{213, []string{"x", "226 not the end", "End"}}, nil, ""},
		{"ends with bare code", "211-a\r\n211\r\n", Reply{211, []string{"a", ""}}, nil, ""},
		{"longer number inside", "213-a\r\n2130 x\r\n213 b\r\n", Reply{213, []string{"a", "2130 x", "b"}}, nil, ""},
		{"protected reply", "631 x\r\n", Reply{631, []string{"x"}}, nil, ""},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", Reply{}, ErrGarbage, ""},
		{"too small a code", "099 x\r\n", Reply{}, ErrGarbage, ""},
		{"no space", "220x\r\n", Reply{}, ErrGarbage, ""},
		{"empty line", "\r\n220 x\r\n", Reply{}, ErrGarbage, ""},
		{"end between replies", "", Reply{}, io.EOF, ""},
		{"end in a line", "22", Reply{}, io.ErrUnexpectedEOF, ""},
		{"end in a reply", "211-a\r\n", Reply{}, io.ErrUnexpectedEOF, ""},
		{"endless line", "220 " + strings.Repeat("x", maxLine+5000), Reply{}, ErrGarbage, ""},
		{"endless reply", "220-\r\n" + strings.Repeat(strings.Repeat("x", 1000)+"\r\n", maxReply/1000+1), Reply{}, ErrGarbage, ""},
		{"endless empty lines", "220-\r\n" + strings.Repeat("\n", maxReply/lineOverhead+10), Reply{}, ErrGarbage, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			br := bufio.NewReaderSize(strings.NewReader(tt.in), 64)
			got, err := readReply(br)
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Fatalf("error %v, want %v", err, tt.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Fatalf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if rest, _ := io.ReadAll(br); string(rest) != tt.rest {
				t.Errorf("left %q, want %q", rest, tt.rest)
			}
		})
	}
}

// FuzzReadReply: whatever comes, there is a reply that makes sense or an error, and what render writes is read as the
// same.
func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"220 x\r\n", "211-a\r\n b\r\n211 c\r\n", "226\n", "150-\n150\n", "SSH-2.0", "999 x\n", "421", "213-x\r\n\x00\xff\r\n213 \r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(string(in)), 16))
		if err != nil {
			return
		}
		if r.Code < 100 || r.Code > 699 || len(r.Lines) == 0 {
			t.Fatalf("reply %+v", r)
		}
		_ = r.String()
		again, err := readReply(bufio.NewReader(strings.NewReader(string(render(r)))))
		if err != nil || again.Code != r.Code || len(again.Lines) != len(r.Lines) {
			t.Fatalf("rendered and read again: %+v, %v, want %+v", again, err, r)
		}
	})
}

func TestCheckCommand(t *testing.T) {
	tests := []struct {
		cmd  string
		want error
	}{
		{"RETR /a b", nil}, {"RETR \xc3\xa4", nil}, {"RETR a\tb", nil},
		{"RETR a\rb", ErrName}, {"RETR a\nDELE b", ErrName}, {"RETR a\x00", ErrName}, {"RETR \xff", ErrName}, {"", ErrName},
		{"RETR " + strings.Repeat("x", MaxCommand-5), nil}, {"RETR " + strings.Repeat("x", MaxCommand-4), ErrTooLong},
	}
	for _, tt := range tests {
		if got := checkCommand(tt.cmd); !errors.Is(got, tt.want) {
			t.Errorf("checkCommand(%.20q) = %v, want %v", tt.cmd, got, tt.want)
		}
	}
}

func TestVerb(t *testing.T) {
	for cmd, want := range map[string]string{"retr x": "RETR", "NOOP": "NOOP", "site chmod 644 x": "SITE CHMOD", "OPTS utf8 ON": "OPTS UTF8"} {
		if got := Verb(cmd); got != want {
			t.Errorf("Verb(%q) = %q, want %q", cmd, got, want)
		}
	}
}

func TestNormalize(t *testing.T) {
	feat := Reply{211, []string{"Features", " PRET", " MLST type*;", "End"}}
	tests := []struct {
		cmd  string
		in   Reply
		want Reply
	}{
		{"USER x", Reply{232, []string{"a"}}, Reply{230, []string{"a"}}},
		{"USER x", Reply{331, []string{"a"}}, Reply{331, []string{"a"}}},
		{"PASS x", Reply{202, []string{"a"}}, Reply{230, []string{"a"}}},
		{"MKD x", Reply{250, []string{"a"}}, Reply{257, []string{"a"}}},
		{"DELE x", Reply{200, []string{"a"}}, Reply{250, []string{"a"}}},
		{"RETR x", Reply{250, []string{"a"}}, Reply{226, []string{"a"}}},
		{"RETR x", Reply{550, []string{"a"}}, Reply{550, []string{"a"}}},
		{"OPTS UTF8 ON", Reply{550, []string{"a"}}, Reply{501, []string{"a"}}},
		{"FEAT", feat, Reply{211, []string{"Features", " MLST type*;", "End"}}},
	}
	for _, tt := range tests {
		if got := Normalize(tt.cmd, tt.in, "PRET"); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Normalize(%q, %v) = %v, want %v", tt.cmd, tt.in, got, tt.want)
		}
	}
}
