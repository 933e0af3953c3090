package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/pool/embedded"
)

// demoUser is who may log in to the demo's server.
const demoUser = "demo"

// demoServer is a server with a folder, a CA and a user of its own.
type demoServer struct {
	*embedded.Server
	URL      string `json:"url"`
	CA       string `json:"ca"` // file
	User     string `json:"user"`
	Password string `json:"password"`
	Root     string `json:"root"` // folder that is served

	temp string // removed at the end
}

// demoCommand is `ftpsfs demo [MOUNTPOINT]`. With --serve, for tests, it is only the server.
func (p *program) demoCommand(args []string) error {
	flags := newFlags("demo")
	var cfg embedded.Config
	serveOnly := flags.Bool("serve", false, "")
	tlsMax := flags.String("tls-max", "", "")
	clientCA := flags.String("client-ca", "", "")
	flags.StringVar(&cfg.Addr, "addr", "", "")
	flags.StringVar(&cfg.Root, "root", "", "")
	flags.BoolVar(&cfg.Implicit, "implicit", false, "")
	flags.BoolVar(&cfg.FoldCase, "fold-case", false, "")
	flags.BoolVar(&cfg.ListOnly, "list-only", false, "")
	flags.IntVar(&cfg.MaxClients, "max-clients", 0, "")
	args, err := parseFlags(flags, args, 0, 1, "ftpsfs demo [MOUNTPOINT]")
	if err != nil {
		return err
	}
	switch *tlsMax {
	case "", "1.3":
	case "1.2":
		cfg.MaxVersion = tls.VersionTLS12
	default:
		return exitcode.NewUsage("flag --tls-max: the value cannot be read", "write 1.2 or 1.3")
	}
	if *clientCA != "" {
		b, err := os.ReadFile(*clientCA)
		if cfg.ClientCAs = x509.NewCertPool(); err != nil || !cfg.ClientCAs.AppendCertsFromPEM(b) {
			return exitcode.NewUsage("flag --client-ca: there is no certificate in the file", "")
		}
	}
	s, err := startDemo(cfg)
	if err != nil {
		return exitcode.NewSystem("the demo server cannot be started", err, "")
	}
	defer s.close()
	if *serveOnly {
		return p.serveUntilEOF(s)
	}
	return p.mountDemo(s, args, cfg.Implicit)
}

// startDemo starts a server over cfg.Root, or over a temporary folder with something in it to look at.
func startDemo(cfg embedded.Config) (*demoServer, error) {
	temp, err := os.MkdirTemp("", "ftpsfs-demo-")
	if err != nil {
		return nil, err
	}
	s := &demoServer{temp: temp, User: demoUser, Password: rand.Text(), Root: cfg.Root}
	if err := s.start(cfg); err != nil {
		os.RemoveAll(temp)
		return nil, err
	}
	return s, nil
}

func (s *demoServer) start(cfg embedded.Config) error {
	if s.Root == "" {
		s.Root = filepath.Join(s.temp, "server")
		if err := os.Mkdir(s.Root, 0o700); err != nil {
			return err
		}
		text := "This file is on the FTPS server that `ftpsfs demo` started.\n"
		if err := os.WriteFile(filepath.Join(s.Root, "README.txt"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	ca, err := embedded.NewCA(s.temp)
	if err != nil {
		return err
	}
	cfg.Root, cfg.User, cfg.Password, cfg.Cert = s.Root, s.User, s.Password, ca.Server
	if s.Server, err = embedded.Start(cfg); err != nil {
		return err
	}
	s.CA = ca.CertFile
	s.URL = fmt.Sprintf("ftps://%s@%s/", s.User, s.Addr())
	return nil
}

func (s *demoServer) close() {
	s.Server.Close()
	if mounts, err := mountpoint.Ours(); err != nil || slices.ContainsFunc(mounts, func(m mountpoint.Mount) bool { return mountpoint.Inside(m.Dir, s.temp) }) {
		return // never remove what is seen through a mount
	}
	os.RemoveAll(s.temp)
}

// serveUntilEOF tells on standard output where the server is, as JSON, and serves until standard input ends.
func (p *program) serveUntilEOF(s *demoServer) error {
	if err := json.NewEncoder(p.stdout).Encode(s); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// mountDemo mounts the server in the foreground until Ctrl-C.
func (p *program) mountDemo(s *demoServer, args []string, implicit bool) error {
	dir := filepath.Join(s.temp, "mount")
	if len(args) == 1 {
		dir = args[0]
	} else if err := os.Mkdir(dir, 0o700); err != nil {
		return exitcode.NewSystem("the demo has no place to mount", err, "")
	}
	line := []string{"-f", "-o", "cacert=" + s.CA + ",state_dir=" + filepath.Join(s.temp, "state")}
	if implicit {
		line = append(line, "-o", "tls=implicit")
	}
	o, err := options.ParseMount(append(line, s.URL, dir), nil)
	if err != nil {
		return err
	}
	if err := precheck(&o); err != nil {
		return err
	}
	login := credential{User: s.User, Password: s.Password, HasPassword: true, Source: "the demo itself"}
	fmt.Fprintf(p.stdout, "An FTPS server on %s serves %s,\nand ftpsfs mounts it on %s. Try, in another terminal:\n\n  ls -l %s\n  cp /etc/services %s/\n  ls -l %s\n\nCtrl-C ends it and removes everything.\n",
		s.Addr(), s.Root, o.Mountpoint, o.Mountpoint, o.Mountpoint, s.Root)
	return serve(o, login, console{nil, p.stderr}, nil)
}
