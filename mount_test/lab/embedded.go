package lab

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// prepareEmbedded finds the binary. The server chooses its account, password and CA, new ones at each Restart.
func (s *Server) prepareEmbedded() error {
	binary := Binary(s.tb)
	s.Root = s.opts.Root
	if s.Root == "" {
		s.Root = Folder(s.tb, "ftpsfs-lab-root-")
	}
	args := []string{
		"demo", "--serve", "--root", s.Root, "--addr", s.Addr(), "--max-clients", strconv.Itoa(s.opts.MaxClients),
	}
	if s.Implicit {
		args = append(args, "--implicit")
	}
	if s.opts.Version == "1.2" {
		args = append(args, "--tls-max", "1.2")
	}
	if s.opts.ClientCA != "" {
		args = append(args, "--client-ca", s.opts.ClientCA)
	}
	s.PassiveLow, s.PassiveHigh = 0, 0 // it takes any
	args = append(args, s.opts.Extra...)
	s.command = func() (*command, error) { return &command{path: binary, args: args}, nil }
	return nil
}

// startEmbedded runs the server and learns from its first line how to reach it.
func (s *Server) startEmbedded(c *command) (*process, error) {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stderr = log
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = in
	stdin, stop, err := os.Pipe() // it serves until its input ends
	if err != nil {
		return nil, errors.Join(err, out.Close(), in.Close())
	}
	cmd.Stdin = stdin
	p, err := launch(cmd, log)
	in.Close()
	stdin.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close(), stop.Close())
	}
	p.stop = stop
	if err := out.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return nil, err
	}
	defer out.Close()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("it printed nothing: %w\n%s", err, tail(s.Log(), 3000))
	}
	if err := s.learn(line); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// learn takes over what the server printed.
func (s *Server) learn(line []byte) error {
	d, err := parseDemo(line)
	if err != nil {
		return err
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		return err
	}
	s.Host, s.CAFile, s.User, s.Password, s.Root = u.Hostname(), d.CA, d.User, d.Password, d.Root
	if s.Port, err = strconv.Atoi(u.Port()); err != nil {
		return fmt.Errorf("URL %q: %w", d.URL, err)
	}
	return nil
}
