package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// prepareProFTPD writes ProFTPD's configuration.
func (s *Server) prepareProFTPD() error {
	program, err := exec.LookPath("proftpd")
	if err != nil {
		return err
	}
	cert, err := s.certificate()
	if err != nil {
		return err
	}
	passwd, err := s.passwd("%s:%s:%d:%d:test:%s:/bin/sh\n")
	if err != nil {
		return err
	}
	protocols := "TLSv1.2 TLSv1.3"
	if s.opts.Version != "" {
		protocols = "TLSv" + s.opts.Version
	}
	tickets := "off" // the default; with TLS 1.3 there are tickets all the same
	if s.opts.Version == "1.2" {
		tickets = "on" // else sessions resume by session ID only, which Go's TLS does not know
	}
	ipv6 := "off"
	if strings.Contains(s.Host, ":") {
		ipv6 = "on"
	}
	c := settings{
		"LoadModule mod_tls.c", "LoadModule mod_copy.c", "LoadModule mod_digest.c", "LoadModule mod_site_misc.c",
		"ServerType standalone", "DefaultServer on", "ServerName lab",
		"UseIPv6 " + ipv6, "DefaultAddress " + s.Host, "SocketBindTight on", "Port " + strconv.Itoa(s.Port),
		"PidFile " + filepath.Join(s.state, "pid"), "ScoreboardFile " + filepath.Join(s.state, "scoreboard"),
		"DelayTable none", "UseReverseDNS off", "WtmpLog off", "TransferLog none", "SystemLog " + s.logFile(),
		"User root", "Group root", "AuthPAM off", "AuthOrder mod_auth_file.c", "AuthUserFile " + passwd,
		"RequireValidShell off", "DefaultRoot ~",
		"MaxInstances 300", fmt.Sprintf("MaxClients %d", s.opts.MaxClients),
		"AllowOverwrite on", "AllowStoreRestart on", "AllowRetrieveRestart on",
		"TimesGMT on", "Umask 022",
		fmt.Sprintf("PassivePorts %d %d", s.PassiveLow, s.PassiveHigh),
		"TimeoutIdle " + strconv.Itoa(int(s.opts.IdleTimeout/time.Second)),
		"TLSEngine on", "TLSRequired on", "TLSProtocol " + protocols, "TLSLog " + s.logFile(), "TLSSessionTickets " + tickets,
		"TLSRSACertificateFile " + cert.File, "TLSRSACertificateKeyFile " + cert.KeyFile,
	}
	if s.Implicit {
		c.add("TLSOptions UseImplicitSSL")
	}
	if s.opts.ClientCA != "" {
		c.add("TLSVerifyClient on", "TLSCACertificateFile "+s.opts.ClientCA)
	}
	c.override(" ", s.opts.Extra)
	conf := filepath.Join(s.state, "proftpd.conf")
	if err := c.write(conf); err != nil {
		return err
	}
	s.command = func() (*command, error) {
		return &command{path: program, args: []string{"--nodaemon", "--quiet", "--config", conf}}, nil
	}
	return nil
}

// passwd writes a password file with the one account in it; format takes name, hash, uid, gid and home.
func (s *Server) passwd(format string) (file string, err error) {
	openssl := exec.Command("openssl", "passwd", "-6", "-stdin")
	openssl.Stdin = strings.NewReader(s.Password + "\n")
	hash, err := openssl.Output()
	if err != nil {
		return "", fmt.Errorf("openssl passwd: %w", err)
	}
	file = filepath.Join(s.state, "passwd")
	line := fmt.Sprintf(format, s.User, strings.TrimSpace(string(hash)), s.UID, s.GID, s.Root)
	return file, os.WriteFile(file, []byte(line), 0o600)
}
