package lab

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// prepareEmbedded finds the binary. The server chooses its account, its CA and, unless told, its folder.
func (s *Server) prepareEmbedded() error {
	binary := Binary(s.tb)
	s.Root = s.opts.Root
	if s.Root == "" {
		s.Root = Folder(s.tb, "ftpsfs-lab-root-")
	}
	args := []string{
		"demo", "--serve", "--root", s.Root,
		"--listen", s.Addr(), "--passive-ports", fmt.Sprintf("%d-%d", s.PassiveLow, s.PassiveHigh),
	}
	if s.Implicit {
		args = append(args, "--implicit")
	}
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
	p, err := launch(cmd, log)
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
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
