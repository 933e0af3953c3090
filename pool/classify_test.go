package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// The texts are those of vsftpd 3.0.3, ProFTPD 1.3.8, Pure-FTPd 1.0.50, pyftpdlib 1.5.7 and our embedded server.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		want Kind
		sure bool
	}{
		{550, "Failed to open file.", KindRefused, false},
		{553, "Could not create file.", KindRefused, false},
		{550, "Delete operation failed.", KindRefused, false},
		{550, "Rename failed.", KindRefused, false},
		{550, "/nothing: No such file or directory", KindNotFound, true},
		{550, "/a: b: Permission denied", KindPermission, true},
		{550, "/dir: Not a regular file", KindIsDir, false},
		{550, "/dir: not a plain file", KindIsDir, false},
		{550, "/dir: Operation not permitted", KindPermission, false},
		{550, "/dir: Directory not empty", KindNotEmpty, true},
		{550, "/dir/sub/x: Invalid argument", KindRefused, false},
		{550, "'/dangling' cannot be listed", KindRefused, false},
		{550, "SYMLINK x /dir/sl5: No such file or directory", KindNotFound, true},
		{421, "chdir: No such file or directory", KindNetwork, true},
		{550, "/f: Overwrite permission denied", KindExists, true},
		{451, "/f: Append/Restart not permitted, try again", KindUnsupported, true},
		{550, "Could not delete /tmp/nothing: No such file or directory", KindNotFound, true},
		{550, "Could not delete /tmp/dir: Invalid argument", KindRefused, false},
		{550, "Can't remove directory: Not a directory", KindNotDir, true},
		{550, "Can't create directory: File exists", KindExists, true},
		{550, "Can't check for file existence", KindRefused, false},
		{550, "I can only retrieve regular files", KindIsDir, false},
		{550, "Sorry, but that file doesn't exist", KindRefused, false},
		{553, "Can't open that file: Is a directory", KindIsDir, true},
		{451, "Rename/move failure: Directory not empty", KindNotEmpty, true},
		{550, "No such file or directory.", KindNotFound, true},
		{550, "Is a directory.", KindIsDir, true},
		{550, "/d is not retrievable.", KindIsDir, false},
		{550, "Couldn't delete /f: unlinkat f: no such file or directory", KindNotFound, true},
		{452, "/f: No space left on device", KindNoSpace, true},
		{452, "Insufficient storage space in system.", KindNoSpace, true},
		{552, "Requested file action aborted.", KindQuota, true},
		{552, "Transfer aborted. Disk quota exceeded", KindQuota, true},
		{550, "/f: Read-only file system", KindReadOnly, true},
		{550, "/f: File name too long", KindNameTooLong, true},
		{500, "Unknown command.", KindUnsupported, false},
		{502, "Command not implemented", KindUnsupported, false},
		{504, "Unknown option", KindUnsupported, false},
		{530, "Please login with USER and PASS.", KindAuth, true},
		{522, "SSL connection failed: session reuse required", KindTLSPolicy, true},
		{425, "Unable to build data connection: Connection refused", KindNetwork, true},
		{425, "Unable to build data connection: Operation not permitted", KindNetwork, true},
		{426, "Failure writing network stream.", KindNetwork, true},
		{426, "Transfer aborted: Operation not permitted", KindNetwork, true},
		{426, "/f: No space left on device", KindNoSpace, true},
		{554, "Restart position beyond the end", KindChanged, false},
		{999, "", KindRefused, false},
	} {
		v := judge(wire.Reply{Code: c.code, Lines: []string{c.text}})
		if v.kind != c.want || v.sure != c.sure {
			t.Errorf("%d %s: %v, sure %v; want %v, %v", c.code, c.text, v.kind, v.sure, c.want, c.sure)
		}
	}
}

func TestJudgeTakesTheLastLine(t *testing.T) {
	r := wire.Reply{Code: 550, Lines: []string{"Sorry: File exists", "but really: Permission denied"}}
	if v := judge(r); v.kind != KindPermission {
		t.Errorf("got %v", v)
	}
}

func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		want bool
	}{
		{421, "There are too many connected users, please try later.", true},
		{421, "There are too many connections from your internet address.", true},
		{530, "Sorry, the maximum number of clients (2) from your host are already connected.", true},
		{530, "Sorry, maximum number of clients (5) for this class already connected.", true},
		{421, "Sorry, but there are already too many connections from this IP", true},
		{421, "8 users (the maximum) are already logged in, sorry", true},
		{421, "Too many connections. Service temporarily unavailable.", true},
		{530, "Login incorrect.", false},
		{530, "Login authentication failed", false},
		{230, "too many cooks", false},
	} {
		if got := isTooMany(wire.Reply{Code: c.code, Lines: []string{c.text}}); got != c.want {
			t.Errorf("%d %s: %v", c.code, c.text, got)
		}
	}
}

func TestReuseTexts(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		want bool
	}{
		{522, "SSL connection failed: session reuse required", true},
		{522, "SSL connection failed; session reuse required: see require_ssl_reuse option in vsftpd.conf man page", true},
		{425, "Unable to build data connection: Operation not permitted", true},
		{425, "TLS session of data connection not resumed", true},
		{450, "TLS session of data connection has not resumed or the session does not match the control connection", true},
		{522, "PROT P required", false},
		{425, "Unable to build data connection: Connection refused", false},
		{425, "Failed to establish connection.", false},
		{522, "Data connections must be encrypted.", false},
	} {
		if got := isReuse(wire.Reply{Code: c.code, Lines: []string{c.text}}); got != c.want {
			t.Errorf("%d %s: %v", c.code, c.text, got)
		}
	}
}

func TestTransportKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{wire.ErrName, KindInvalidName},
		{wire.ErrTooLong, KindNameTooLong},
		{fmt.Errorf("x: %w", wire.ErrTimeout), KindTimeout},
		{os.ErrDeadlineExceeded, KindTimeout},
		{context.Canceled, KindCanceled},
		{io.EOF, KindNetwork},
		{wire.ErrEOF, KindNetwork},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, KindNetwork},
		{&wire.GarbageError{Line: "x"}, KindProtocol},
		{wire.ErrUnsolicited, KindProtocol},
		{&trust.Error{Reason: trust.ReasonUnknownCA}, KindTrust},
		{&trust.Error{Reason: trust.ReasonVersion}, KindTLSPolicy},
		{&trust.Error{Reason: trust.ReasonClientCert}, KindAuth},
	} {
		if got := transportKind(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestLoginErrors(t *testing.T) {
	p, err := New(Config{Session: sessionFor("localhost")})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	refusal := func(cmd string, code int, text string) error {
		return &wire.ReplyError{Cmd: cmd, Reply: wire.Reply{Code: code, Lines: []string{text}}}
	}
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{refusal("PASS ***", 530, "Login incorrect."), KindAuth},
		{refusal("PASS ***", 530, "Sorry, the maximum number of clients (2) are already connected."), KindLimit},
		{refusal("", 421, "Too many connections"), KindLimit},
		{refusal("USER u", 421, "TLS is required"), KindTLSPolicy}, // ftpserverlib
		{refusal("AUTH TLS", 500, "not understood"), KindTLSPolicy},
		{refusal("PROT P", 536, "no"), KindTLSPolicy},
		{refusal("USER u", 550, "no"), KindAuth},
		{refusal("PASS ***", 534, "not like this"), KindAuth}, // not repeated soon, whatever the reason
		{refusal("PASS ***", 431, "no resources"), KindAuth},
		{refusal("PWD", 534, "not like this"), KindTLSPolicy},
		{&trust.Error{Reason: trust.ReasonExpired}, KindTrust},
		{fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), KindNetwork},
		{fmt.Errorf("password: %w", &Error{Op: "login", Kind: KindAuth, Err: errors.New("no terminal")}), KindAuth},
	} {
		if got := p.loginError(c.err); got.Kind != c.want || got.Op != "login" {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}
