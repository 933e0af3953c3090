//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// played is a mount on a fake server that changes its manners.
type played struct {
	*mnt
	fake *fake
	good script
}

// playFake mounts a fake server that behaves, with files a and b.
func playFake(t *testing.T, options ...string) *played {
	t.Helper()
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	p := &played{good: script{cert: &cert, serves: true, apart: true, replies: goodSession()}}
	p.fake = startFake(t, p.good)
	for _, name := range []string{"a", "b"} {
		p.fake.files[name] = randomBytes(41, 100_000)
	}
	options = append([]string{"max_conns=1", "verify=size", "timeout=" + faultTimeout.String(), "attr_ttl=0s", "dir_ttl=0s", "neg_ttl=0s"}, options...)
	p.mnt = mountURL(t, &lab.Server{CAFile: ca.File, Password: secretPassword}, "ftps://someone@"+p.fake.addr+"/", options...)
	return p
}

// turns ends all sessions and lets the server behave in another way from now on.
func (p *played) turns(s script) {
	p.fake.become(s)
	p.fake.cut()
}

// says is the good server with another answer to some verbs.
func (p *played) says(replies map[string]string) script {
	s := p.good
	s.replies = maps.Clone(s.replies)
	maps.Copy(s.replies, replies)
	return s
}

// recovers checks that the mount works within the bound, now that the server behaves again.
func (p *played) recovers(t *testing.T, bound time.Duration) {
	t.Helper()
	want := randomBytes(41, 100_000)
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) { // as somebody would who waits for it
		got, err := os.ReadFile(p.path("b"))
		if err == nil && bytes.Equal(got, want) {
			return
		}
		if time.Since(start) > bound {
			t.Fatalf("the server behaves again, the mount does not after %v: %d bytes, %v", bound, len(got), err)
		}
	}
}

// endless are answers that have no end, or none that anybody would wait for.
var (
	endlessLine  = "250" + strings.Repeat(" and so on", 3<<20)
	endlessReply = "250-\r\n" + strings.Repeat(" and so on and so on and so on and so on\r\n", 1<<20) + "250 End"
)

// TestGarbage: a server whose answers are no FTP, or wrong, or endless makes calls fail in time; afterwards the mount works.
func TestGarbage(t *testing.T) {
	t.Parallel()
	p := playFake(t, "timeout=2s")
	for name, replies := range map[string]map[string]string{
		"binary":            {"MLST": "\x00\x01\xfe\xff\x16\x03\x03", "MLSD": "\xff\xfa\x00", "EPSV": "\x80\x80\x80", "SIZE": "\x00"},
		"other codes":       {"MLST": "999 what", "MLSD": "000 nothing", "EPSV": "42", "RETR": "1", "SIZE": "abc def"},
		"web server":        {"MLST": "HTTP/1.1 400 Bad Request\r\n\r\n<html>", "MLSD": "HTTP/1.1 400", "RETR": "<html>", "SIZE": "<p>", "EPSV": "</html>"},
		"replies too many":  {"MLST": "250 one\r\n250 two\r\n250 three", "MLSD": "226 a\r\n226 b", "RETR": "226 a\r\n226 b\r\n226 c"},
		"endless line":      {"MLST": endlessLine, "MLSD": endlessLine, "RETR": endlessLine, "SIZE": endlessLine},
		"endless reply":     {"MLST": endlessReply, "MLSD": endlessReply, "RETR": endlessReply, "SIZE": endlessReply},
		"wrong EPSV":        {"EPSV": "229 here (|||0|)"},
		"impossible EPSV":   {"EPSV": "229 here (|||99999999999|)"},
		"nobody there":      {"EPSV": "229 here (|||1|)"},
		"PASV of another":   {"EPSV": "500 no", "PASV": "227 here (192,0,2,7,0,1)"},
		"PASV out of range": {"EPSV": "500 no", "PASV": "227 here (999,999,999,999,999,999)"},
		"size of nobody":    {"SIZE": "213 99999999999999999999999999", "MLST": "250-\r\n type=file;size=-1;modify=0; a\r\n250 End"},
	} {
		t.Run(name, func(t *testing.T) {
			p.turns(p.says(replies))
			for what, call := range map[string]func() error{
				"stat": func() error { _, err := os.Stat(p.path("a")); return err },
				"list": func() error { _, err := os.ReadDir(p.dir); return err },
				"read": func() error { _, err := os.ReadFile(p.path("a")); return err },
			} {
				err := within(t, what, faultTimeout+grace, call)
				t.Logf("%s: %v", what, err)
			}
			p.turns(p.good)
			p.recovers(t, grace)
		})
	}
	p.resident(400)
}

// TestEndlessListing: a folder without an end is an error, and nobody's memory is full of it.
func TestEndlessListing(t *testing.T) {
	p := playFake(t)
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, factsTime+"\r\n", i, fmt.Sprint("a-name-among-others-", i))
	}
	s := p.good
	s.list = func(w io.Writer) {
		for err := error(nil); err == nil; {
			_, err = io.WriteString(w, lines.String())
		}
	}
	p.turns(s)
	err := within(t, "ls", 2*time.Minute, func() error { _, err := os.ReadDir(p.dir); return err })
	if err == nil {
		t.Error("a listing without an end was shown as if it had one")
	}
	t.Log(err)
	p.resident(1500)
	p.turns(p.good)
	p.recovers(t, grace)
}

// TestMillionEntries: `ls -U` of a folder of a million files, within memory.
func TestMillionEntries(t *testing.T) {
	const entries = 1_000_000
	p := playFake(t, "timeout=30s")
	s := p.good
	s.list = func(w io.Writer) {
		for i := range entries {
			fmt.Fprintf(w, factsTime+"\r\n", i, fmt.Sprintf("a-name-of-some-length-%07d.txt", i))
		}
	}
	p.turns(s)
	start := time.Now()
	out := runTool(t, "/", "sh", "-c", `ls -U "$1" | sort -u | wc -l`, "sh", p.dir)
	t.Logf("ls -U took %v", time.Since(start).Round(time.Millisecond))
	if strings.TrimSpace(out) != fmt.Sprint(entries) {
		t.Errorf("%s names listed of %d", strings.TrimSpace(out), entries)
	}
	p.resident(800)
}

// TestLoginRefused: a password that is not taken any more is not sent again and again, which would lock the account.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	p := playFake(t)
	before := strings.Count(p.fake.heard(), "PASS ")
	p.turns(p.says(map[string]string{"PASS": "530 Login incorrect."}))
	for start, n := time.Now(), 0; time.Since(start) < 3*time.Second; n++ {
		err := within(t, "stat", faultTimeout+grace, func() error { _, err := os.Stat(p.path("a")); return err })
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EPERM) && !told(err) {
			t.Fatalf("call %d was told %v", n, err)
		}
	}
	if n := strings.Count(p.fake.heard(), "PASS ") - before; n != 1 {
		t.Errorf("a refused password was sent %d times in three seconds, want once", n)
	}
	p.lenient = true // nobody can log in for a while: it cannot settle
}

// TestCertificateChanged: a server that shows another certificate is told no password and no name; when it has the right one
// again the mount works.
func TestCertificateChanged(t *testing.T) {
	t.Parallel()
	p := playFake(t)
	before := p.fake.heard()
	s := p.good
	stranger := lab.NewAuthority(t).Issue(t, lab.CertSpec{})
	s.cert = &stranger
	p.turns(s)
	err := within(t, "stat", faultTimeout+grace, func() error { _, err := os.Stat(p.path("a")); return err })
	if err == nil {
		t.Error("a server with a certificate of a stranger was believed")
	}
	if after := strings.TrimPrefix(p.fake.heard(), before); strings.Contains(after, "PASS") || strings.Contains(after, "USER") {
		t.Errorf("it was told %q", after)
	}
	if !strings.Contains(p.output(), "certificate") {
		t.Errorf("the log does not say why: %s", p.output())
	}
	p.turns(p.good)
	p.recovers(t, grace)
}

// TestIdleTimeout: sessions that the server ends after 5 s idle are nobody's loss.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	for _, kind := range []lab.Kind{lab.VSFTPD, lab.ProFTPD} { // Pure-FTPd counts minutes
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind, IdleTimeout: 5 * time.Second})
			content := randomBytes(42, 24<<20)
			serve(t, s, "read", content)
			m := mountServer(t, s)
			r, err := os.Open(m.path("read"))
			must(t, err)
			defer r.Close()
			got := make([]byte, len(content))
			_, err = io.ReadFull(r, got[:1<<20])
			must(t, err)
			w, err := os.Create(m.path("written"))
			must(t, err)
			defer w.Close()
			_, err = w.Write(content[:3<<20])
			must(t, err)
			time.Sleep(8 * time.Second) // what this test is about
			if _, err := r.ReadAt(got[1<<20:], 1<<20); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the file that was open for reading: %v, same bytes %v", err, bytes.Equal(got, content))
			}
			_, err = w.Write(content[3<<20:])
			must(t, err)
			must(t, w.Close())
			onServer(t, s, "written", content)
			must(t, os.Rename(m.path("written"), m.path("renamed")))
		})
	}
}

// TestSlowLine: at 1 KiB/s (in a short run four) nothing is given up, it only takes its time.
func TestSlowLine(t *testing.T) {
	t.Parallel()
	for i, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind})
			f := mountFaulty(t, s, relayHosts[i], "timeout=30s")
			content := randomBytes(43, 12_000)
			dir := f.folder(t)
			serve(t, s, dir+"/read", content)
			if _, err := os.Stat(f.path(dir, "read")); err != nil { // the connections are made
				t.Fatal(err)
			}
			f.line.SetFlowRate(pick[int64](4096, 1024))
			got, err := os.ReadFile(f.path(dir, "read"))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("read: %v, same bytes %v", err, bytes.Equal(got, content))
			}
			must(t, os.WriteFile(f.path(dir, "written"), content, 0o644))
			onServer(t, s, dir+"/written", content)
			f.line.SetFlowRate(0)
		})
	}
}

// TestUploadGoesOn: an upload that was cut goes on at the offset that the server really has; what it has is not sent again.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	for i, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind})
			f := mountFaulty(t, s, relayHosts[i])
			dir := f.folder(t)
			content := randomBytes(44, 24<<20) // what lies in buffers on the way is kept for sending again
			w, err := os.Create(f.path(dir, "f"))
			must(t, err)
			defer w.Close()
			before := f.line.Stats().DataUp
			_, err = w.Write(content[:12<<20])
			must(t, err)
			f.line.ResetAll(relay.Any)
			_, err = w.Write(content[12<<20:])
			must(t, err)
			must(t, w.Close())
			onServer(t, s, dir+"/f", content)
			if up := f.line.Stats().DataUp - before; up > int64(len(content))*3/2 {
				t.Errorf("%d MiB went up for a file of %d", up>>20, len(content)>>20)
			}
		})
	}
}
