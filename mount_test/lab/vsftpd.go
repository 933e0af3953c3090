package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings collects the lines of a configuration file.
type settings []string

func (c *settings) add(lines ...string) { *c = append(*c, lines...) }

// override adds lines in place of those that set the same. separator ends the name of a setting.
func (c *settings) override(separator string, lines []string) {
	for _, line := range lines {
		name, _, _ := strings.Cut(line, separator)
		*c = slices.DeleteFunc(*c, func(old string) bool { return strings.HasPrefix(old, name+separator) })
	}
	c.add(lines...)
}

func (c settings) write(file string) error {
	return os.WriteFile(file, []byte(strings.Join(c, "\n")+"\n"), 0o600)
}

// prepareVSFTPD writes vsftpd's configuration. Version 3.0.3 cannot be told to speak TLS 1.3 only, so the version is
// pinned through OpenSSL's own configuration.
func (s *Server) prepareVSFTPD() error {
	program := filepath.Join(folder(), "usr/sbin/vsftpd")
	if _, err := os.Stat(program); err != nil {
		return err
	}
	cert, err := s.certificate()
	if err != nil {
		return err
	}
	empty := filepath.Join(s.state, "empty") // vsftpd's unprivileged half lives in an empty folder
	if err := os.Mkdir(empty, 0o555); err != nil {
		return err
	}
	conf := filepath.Join(s.state, "vsftpd.conf")
	c := settings{
		"background=NO",
		"listen_port=" + strconv.Itoa(s.Port),
		"secure_chroot_dir=" + empty,
		"pam_service_name=ftpsfs-lab",
		"seccomp_sandbox=NO", // Debian 12's kernels and vsftpd's filter do not agree
		"anonymous_enable=NO", "local_enable=YES",
		"local_root=" + s.Root,
		"chroot_local_user=YES", "allow_writeable_chroot=YES",
		"write_enable=YES", "local_umask=022", "utf8_filesystem=YES",
		"ssl_enable=YES", "ssl_tlsv1=YES", "ssl_sslv2=NO", "ssl_sslv3=NO", "ssl_ciphers=HIGH",
		"require_ssl_reuse=YES", "force_local_logins_ssl=YES", "force_local_data_ssl=YES",
		"rsa_cert_file=" + cert.File, "rsa_private_key_file=" + cert.KeyFile,
		"implicit_ssl=" + yesNo(s.Implicit),
		"pasv_min_port=" + strconv.Itoa(s.PassiveLow), "pasv_max_port=" + strconv.Itoa(s.PassiveHigh),
		"max_clients=" + strconv.Itoa(s.opts.MaxClients), "max_per_ip=" + strconv.Itoa(s.opts.MaxClients),
		"idle_session_timeout=" + strconv.Itoa(int(s.opts.IdleTimeout/time.Second)),
		"xferlog_enable=YES", "log_ftp_protocol=YES", "vsftpd_log_file=" + s.logFile(),
		"delay_failed_login=0",
	}
	if strings.Contains(s.Host, ":") {
		c.add("listen=NO", "listen_ipv6=YES", "listen_address6="+s.Host)
	} else {
		c.add("listen=YES", "listen_address="+s.Host, "pasv_address="+s.Host)
	}
	if s.opts.ClientCA != "" {
		c.add("require_cert=YES", "validate_cert=YES", "ca_certs_file="+s.opts.ClientCA)
	}
	c.override("=", s.opts.Extra)
	if err := c.write(conf); err != nil {
		return err
	}
	env, err := s.opensslConf()
	if err != nil {
		return err
	}
	s.command = func() (*command, error) { return &command{path: program, args: []string{conf}, env: env}, nil }
	return nil
}

// opensslConf gives the environment that limits OpenSSL to the wanted TLS version, for servers that cannot be told.
func (s *Server) opensslConf() ([]string, error) {
	if s.opts.Version == "" {
		return nil, nil
	}
	file := filepath.Join(s.state, "openssl.cnf")
	version := "TLSv" + s.opts.Version
	c := settings{
		"openssl_conf = top",
		"[top]", "ssl_conf = modules",
		"[modules]", "system_default = versions",
		"[versions]", "MinProtocol = " + version, "MaxProtocol = " + version, "CipherString = DEFAULT@SECLEVEL=2",
	}
	if err := os.WriteFile(file, []byte(strings.Join(c, "\n")+"\n"), 0o644); err != nil {
		return nil, err
	}
	return []string{"OPENSSL_CONF=" + file}, nil
}

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
