package session

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jlaffaye/ftp"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// errSerial says that the server did not take the login commands in one flight: try again one by one.
var errSerial = errors.New("server dislikes login commands in one flight")

// errLogin says that the replies to USER and PASS make no sense.
var errLogin = errors.New("login ended in replies that make no sense")

// credentials of one login.
type credentials struct {
	user, password, account string
	hasPassword             bool
}

func askPassword(ctx context.Context, cfg *Config) (credentials, error) {
	c := credentials{user: cfg.User, account: cfg.Account}
	if cfg.Password == nil {
		return c, nil
	}
	p, err := cfg.Password(ctx)
	if err != nil {
		return c, fmt.Errorf("password: %w", err)
	}
	c.password, c.hasPassword = p, true
	return c, nil
}

// login makes the line ready for work. The commands that a login takes are known beforehand, so they go out together;
// the library, which keeps the session's state, then finds each of them done.
func (s *Session) login(ctx context.Context, cred credentials) error {
	var done []wire.Exchange
	var err error
	if s.Quirks().SerialLogin {
		done, err = s.loginSerial(ctx, cred)
	} else {
		done, err = s.loginFlight(ctx, cred)
	}
	if err != nil {
		return err
	}
	replies := replyMap(done)
	s.noteFeatures(replies["FEAT"])
	s.noteHome(replies["PWD"])
	s.noteGreeting()
	if err := s.allFacts(ctx); err != nil {
		return err
	}
	if err := s.attachLibrary(cred, done); err != nil {
		return err
	}
	if s.cfg.CCC {
		return s.clear(ctx)
	}
	return nil
}

func replyMap(done []wire.Exchange) map[string]wire.Reply {
	m := make(map[string]wire.Reply, len(done))
	for _, x := range done {
		m[wire.Verb(x.Cmd)] = x.Reply
	}
	return m
}

// setup are the commands behind USER, PASS and ACCT but for FEAT.
func (s *Session) setup() []string {
	cmds := []string{"TYPE I", "OPTS UTF8 ON", "PBSZ 0", s.protCommand(), "PWD"}
	if facts := s.Quirks().MLSTFacts; facts != "" {
		cmds = append(cmds, "OPTS MLST "+facts)
	}
	return cmds
}

func (s *Session) protCommand() string {
	if s.cfg.ProtClear {
		return "PROT C"
	}
	return "PROT P"
}

// asksEarly says whether the login asks for a data channel, too. Nobody waits for the answer, so whatever a server says to it, or
// does, is what it would do right behind the login.
func (s *Session) asksEarly() bool {
	return s.cfg.Spare && !s.cfg.Active && !s.cfg.CCC && s.passiveCommand() == "EPSV"
}

// loginFlight sends everything at once. FEAT comes last: on new connections to ProFTPD its long answer was seen to come a round trip
// behind the others. Meanwhile the data channel is made.
func (s *Session) loginFlight(ctx context.Context, cred credentials) ([]wire.Exchange, error) {
	cmds := []string{"USER " + cred.user}
	if cred.hasPassword {
		cmds = append(cmds, "PASS "+cred.password)
	}
	if cred.account != "" {
		cmds = append(cmds, "ACCT "+cred.account)
	}
	names := len(cmds)
	cmds = append(cmds, s.setup()...)
	n := len(cmds)
	early := s.asksEarly()
	if early {
		cmds = append(cmds, "EPSV")
	}
	cmds = append(cmds, "FEAT")
	var replies []wire.Reply
	pending, err := s.line.Send(ctx, cmds...)
	if err == nil {
		replies, err = wire.Collect(ctx, pending[:n])
	}
	done := make([]wire.Exchange, len(replies))
	for i, r := range replies {
		done[i] = wire.Exchange{Cmd: cmds[i], Reply: r}
	}
	m := replyMap(done)
	in, refused := s.loggedIn(cred, m)
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, s.serialReason(err, len(replies) > 0)
	}
	if !in || !m["TYPE"].OK() || m["PROT"].Code == 503 && !s.protected(m["PROT"]) {
		return nil, errSerial
	}
	if err := s.checkProtection(m); err != nil {
		return nil, err
	}
	if early {
		if err := s.makeSpare("EPSV", pending[n].WaitFinal); err != nil {
			return nil, err
		}
	}
	feat, err := pending[len(pending)-1].JoinFinal(ctx)
	if err != nil {
		return nil, s.serialReason(err, true)
	}
	// The library asks for it first.
	return slices.Insert(done, names, wire.Exchange{Cmd: "FEAT", Reply: feat}), nil
}

// serialReason: a line that breaks in the middle of the flight, or stalls once some of it was answered, may do so
// because of it. What TLS says of our certificate is no such reason, and neither is a 421.
func (s *Session) serialReason(err error, answered bool) error {
	err = s.explain(err)
	stalled := errors.Is(err, wire.ErrTimeout) || errors.Is(err, context.DeadlineExceeded)
	if errors.Is(err, wire.ErrEOF) || errors.Is(err, wire.ErrGarbage) || answered && stalled {
		return fmt.Errorf("%w: %w", errSerial, err)
	}
	return err
}

// loginSerial waits for each reply before the next command.
func (s *Session) loginSerial(ctx context.Context, cred credentials) ([]wire.Exchange, error) {
	var done []wire.Exchange
	run := func(cmd string) (wire.Reply, error) {
		r, err := s.line.Flight(ctx, cmd)
		if err != nil {
			return wire.Reply{}, s.explain(err)
		}
		done = append(done, wire.Exchange{Cmd: cmd, Reply: r[0]})
		return r[0], nil
	}
	r, err := run("USER " + cred.user)
	if err == nil && r.Code == 331 && cred.hasPassword {
		r, err = run("PASS " + cred.password)
	}
	if err == nil && r.Code == 332 && cred.account != "" {
		_, err = run("ACCT " + cred.account)
	}
	if err != nil {
		return nil, err
	}
	if in, refused := s.loggedIn(cred, replyMap(done)); !in {
		return nil, cmp.Or(refused, errLogin)
	}
	for _, cmd := range append([]string{"FEAT"}, s.setup()...) {
		if _, err := run(cmd); err != nil {
			return nil, err
		}
	}
	m := replyMap(done)
	if !m["TYPE"].OK() {
		return nil, s.refusal("TYPE I", m["TYPE"])
	}
	return done, s.checkProtection(m)
}

// loggedIn judges the replies to USER, PASS and ACCT. Neither means that they make no sense together, or are not there.
func (s *Session) loggedIn(cred credentials, m map[string]wire.Reply) (in bool, refused error) {
	user, pass, acct := m["USER"], m["PASS"], m["ACCT"]
	last, cmd := user, "USER "+cred.user
	if user.Code == 331 || user.Code == 336 {
		if !cred.hasPassword {
			e := s.line.ReplyError(cmd, user)
			e.Advice = "server wants a password and none was given"
			return false, e
		}
		last, cmd = pass, "PASS"
	}
	if last.Code == 332 {
		if cred.account == "" {
			return false, s.refusal(cmd, last)
		}
		last, cmd = acct, "ACCT"
	}
	switch {
	case last.OK():
		return true, nil
	case last.Refused():
		return false, s.refusal(cmd, last)
	}
	return false, nil
}

// protected says whether data will be protected as asked for. On implicit TLS a server may not know PROT; our own
// handshake on each data channel enforces it then.
func (s *Session) protected(r wire.Reply) bool {
	implicit := s.cfg.TLS == TLSImplicit && !s.cfg.ProtClear
	return r.Code == 200 || implicit && (r.Code == 500 || r.Code == 502 || r.Code == 503)
}

// checkProtection judges PBSZ and PROT. A server that refuses PBSZ for a reason answers PROT with "bad sequence" only.
func (s *Session) checkProtection(m map[string]wire.Reply) error {
	if s.protected(m["PROT"]) {
		return nil
	}
	cmd, r := s.protCommand(), m["PROT"]
	if r.Code == 503 && m["PBSZ"].Refused() {
		cmd, r = "PBSZ 0", m["PBSZ"]
	}
	e := s.line.ReplyError(cmd, r)
	if e.Advice = s.advice(wire.Verb(cmd), r); e.Advice == "" && !s.cfg.ProtClear {
		e.Advice = "server refuses to protect data; prot=C would send it in clear"
	}
	return e
}

// attachLibrary lets the library believe that it logged in.
func (s *Session) attachLibrary(cred credentials, done []wire.Exchange) error {
	s.view = s.line.Library(wire.Reply{Code: 220, Lines: []string{"ready"}}, s.normalize)
	opts := []ftp.DialOption{
		ftp.DialWithDialFunc(func(string, string) (net.Conn, error) { return s.view, nil }),
	}
	if !s.cfg.ProtClear {
		// Not used by the library as the connection is ours; it makes it insist on PROT P.
		opts = append(opts, ftp.DialWithTLS(&tls.Config{ServerName: s.cfg.Host, MinVersion: tls.VersionTLS12}))
	}
	lib, err := ftp.Dial(net.JoinHostPort(s.cfg.Host, "21"), opts...)
	if err != nil {
		return fmt.Errorf("library: %w", err)
	}
	s.view.Ahead(foldAccount(done))
	if err := lib.Login(cred.user, cred.password); err != nil {
		return fmt.Errorf("library: %w", err)
	}
	s.view.Ahead(nil)
	s.lib = lib
	return nil
}

// foldAccount makes the reply to ACCT the one to PASS or USER, whichever asked for it, as the library knows no accounts. A
// PASS between a USER that asked and the ACCT was sent in vain.
func foldAccount(done []wire.Exchange) []wire.Exchange {
	out := make([]wire.Exchange, 0, len(done))
	asked := -1
	for _, x := range done {
		if wire.Verb(x.Cmd) == "ACCT" && asked >= 0 {
			out[asked].Reply = x.Reply
			out = out[:asked+1]
			continue
		}
		if x.Reply.Code == 332 && asked < 0 {
			asked = len(out)
		}
		out = append(out, x)
	}
	return out
}

// normalize is what the library gets to see.
func (s *Session) normalize(cmd string, r wire.Reply) wire.Reply {
	verb := wire.Verb(cmd)
	if verb == "PBSZ" || verb == "PROT" {
		return wire.Reply{Code: 200, Lines: []string{"ok"}} // judged by checkProtection already
	}
	return wire.Normalize(cmd, r, "PRET")
}

// noteGreeting recognises a server whose data channels break when a ClientHello arrives before the transfer command was
// handled.
func (s *Session) noteGreeting() {
	s.learn(func(i *Info) {
		if strings.Contains(strings.ToLower(i.Greeting), "pyftpdlib") {
			i.Quirks.LateClientHello = true
		}
	})
}
