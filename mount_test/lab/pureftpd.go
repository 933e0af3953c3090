package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// preparePureFTPd makes Pure-FTPd's arguments. The account is not locked into its folder, as on many hosts: the folder
// after login is not "/".
func (s *Server) preparePureFTPd() error {
	program := filepath.Join(folder(), "usr/sbin/pure-ftpd")
	if _, err := os.Stat(program); err != nil {
		return err
	}
	cert, err := s.certificate()
	if err != nil {
		return err
	}
	parts := []string{cert.File, cert.KeyFile}
	if s.opts.ClientCA != "" { // the file is where it looks for authorities of clients, too
		parts = append(parts, s.opts.ClientCA)
	}
	both, err := s.concat("both.pem", parts...)
	if err != nil {
		return err
	}
	passwd, err := s.passwd("%s:%s:%d:%d::%s::::::::::::\n")
	if err != nil {
		return err
	}
	db := filepath.Join(s.state, "users.pdb")
	pw := filepath.Join(folder(), "usr/bin/pure-pw")
	if out, err := exec.Command(pw, "mkdb", db, "-f", passwd).CombinedOutput(); err != nil {
		return fmt.Errorf("pure-pw mkdb: %w: %s", err, out)
	}
	minutes := int((s.opts.IdleTimeout + time.Minute - 1) / time.Minute)
	args := []string{
		"--bind", s.Host + "," + strconv.Itoa(s.Port),
		"--login", "puredb:" + db, "--minuid", "1", "--noanonymous",
		"--passiveportrange", fmt.Sprintf("%d:%d", s.PassiveLow, s.PassiveHigh),
		"--tls", "2", "--certfile", both,
		"--maxclientsnumber", strconv.Itoa(s.opts.MaxClients), "--maxclientsperip", strconv.Itoa(s.opts.MaxClients),
		"--maxidletime", strconv.Itoa(minutes),
		"--umask", "133:022", "--dontresolve",
		"--pidfile", filepath.Join(s.state, "pid"),
	}
	if s.opts.ClientCA != "" {
		args = append(args, "--tlsciphersuite", "-C:HIGH") // -C: demands a certificate
	}
	env, err := s.opensslConf()
	if err != nil {
		return err
	}
	args = append(args, s.opts.Extra...)
	s.command = func() (*command, error) { return &command{path: program, args: args, env: env}, nil }
	return nil
}

// concat joins files into one private file of the state folder.
func (s *Server) concat(name string, files ...string) (string, error) {
	var all []byte
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		all = append(all, b...)
	}
	out := filepath.Join(s.state, name)
	return out, os.WriteFile(out, all, 0o600)
}
