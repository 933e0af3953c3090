package lab_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// cells are the servers that can be started, each way to start TLS and each version.
func cells() []lab.Options {
	var all []lab.Options
	for _, kind := range lab.Real {
		for _, version := range []string{"1.2", "1.3"} {
			all = append(all, lab.Options{Kind: kind, Version: version})
			if lab.HasImplicit(kind) {
				all = append(all, lab.Options{Kind: kind, Version: version, Implicit: true})
			}
		}
	}
	return all
}

func name(o lab.Options) string {
	start := "explicit"
	if o.Implicit {
		start = "implicit"
	}
	return fmt.Sprintf("%s/%s/tls%s", o.Kind, start, o.Version)
}

func TestServersServeFiles(t *testing.T) {
	for _, o := range cells() {
		t.Run(name(o), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, o)
			if got, want := version(t, s), o.Version; got != want {
				t.Errorf("TLS %s spoken, want %s", got, want)
			}
			curl(t, s, strings.NewReader("hello"), "--upload-file", "-", "/up.txt")
			if b, err := os.ReadFile(s.Disk("up.txt")); err != nil || string(b) != "hello" {
				t.Fatalf("on the disk: %q, %v", b, err)
			}
			if got := curl(t, s, nil, "/up.txt"); got != "hello" {
				t.Errorf("read back %q", got)
			}
			if s.Log() == "" && o.Kind != lab.PureFTPd {
				t.Error("nothing in the log")
			}
		})
	}
}

func TestIPv6(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind, Bind: "::1"})
			curl(t, s, strings.NewReader("six"), "--upload-file", "-", "/six.txt")
			if got := curl(t, s, nil, "/six.txt"); got != "six" {
				t.Errorf("read back %q", got)
			}
		})
	}
}

func TestRelease(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			if got := lab.Start(t, lab.Options{Kind: kind}).Release(); len(strings.Split(got, ".")) != 3 {
				t.Errorf("version %q", got)
			}
		})
	}
	if got := lab.Release(t, "echo", "no number"); got != "" {
		t.Errorf("version %q of a program that tells none", got)
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind})
			s.Password += "x"
			if out, err := curlCommand(s, "/").CombinedOutput(); err == nil {
				t.Errorf("logged in: %s", out)
			}
		})
	}
}

func TestKillAndRestart(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind})
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			control := textproto.NewConn(conn)
			if _, _, err := control.ReadResponse(220); err != nil {
				t.Fatal(err)
			}
			if s.Sessions() == 0 {
				t.Error("no session counted")
			}
			s.Kill()
			if _, err := control.ReadLine(); err == nil {
				t.Error("the session outlived the server")
			}
			s.Restart()
			curl(t, s, nil, "/")
		})
	}
}

func TestClientCertificateIsDemanded(t *testing.T) {
	for _, kind := range []lab.Kind{lab.VSFTPD, lab.ProFTPD} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			ca := lab.NewAuthority(t)
			client := ca.Issue(t, lab.CertSpec{Client: true, Hosts: []string{"client"}})
			s := lab.Start(t, lab.Options{Kind: kind, ClientCA: ca.File})
			curl(t, s, nil, "--cert", client.File, "--key", client.KeyFile, "/")
			if out, err := curlCommand(s, "/").CombinedOutput(); err == nil {
				t.Errorf("logged in without a certificate: %s", out)
			}
		})
	}
}

// curl runs curl on the server; the last argument is the path.
func curl(t *testing.T, s *lab.Server, stdin *strings.Reader, args ...string) string {
	t.Helper()
	cmd := curlCommand(s, args...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("curl %q: %v\n%s", args, err, stderr.String())
	}
	return string(out)
}

func curlCommand(s *lab.Server, args ...string) *exec.Cmd {
	scheme := "ftp"
	if s.Implicit {
		scheme = "ftps"
	}
	last := len(args) - 1
	all := append([]string{"-sS", "-v", "--max-time", "20", "--ssl-reqd", "--cacert", s.CAFile, "--user", s.User + ":" + s.Password}, args[:last]...)
	return exec.Command("curl", append(all, scheme+"://"+s.Addr()+args[last])...)
}

// version connects and tells which TLS version was agreed on.
func version(t *testing.T, s *lab.Server) string {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !s.Implicit {
		control := textproto.NewConn(conn)
		if _, _, err := control.ReadResponse(220); err != nil {
			t.Fatal(err)
		}
		if err := control.PrintfLine("AUTH TLS"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := control.ReadResponse(234); err != nil {
			t.Fatal(err)
		}
	}
	pem, err := os.ReadFile(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "localhost"})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return map[uint16]string{tls.VersionTLS12: "1.2", tls.VersionTLS13: "1.3"}[client.ConnectionState().Version]
}
