package pool

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// explore finds out what a mount would only find out in time. Nothing of it decides whether a mount works, so what cannot
// be found out stays unknown.
func (r *Report) explore(ctx context.Context, p *Pool, o CheckOptions) {
	if _, err := p.Can(ctx, CapSymlink, "/"); err != nil {
		p.log.Debug("symlinks: not found out", "err", err)
	}
	if o.Try && !p.cfg.ReadOnly {
		if err := p.tryOut(ctx); err != nil {
			r.note("a temporary file could not be written: "+err.Error(), "mount with -o ro, or another folder")
		}
	}
	if p.server().mlst && p.memory.get().Zone == nil {
		p.compareZone(ctx, "/")
	}
	r.ConnectionsTried = p.cfg.MaxConns
	r.Connections, r.ConnectionsRefused = p.countConnections(ctx)
	if !p.cfg.Session.ProtClear {
		r.ResumptionDemanded = p.demandsResumption(ctx)
	}
	p.memory.save()
}

// tryOut writes a file of ours, which shows the server's clock and the zone of its listings, and tries everything that Can
// knows of.
func (p *Pool) tryOut(ctx context.Context) error {
	pr := &probe{p: p, name: "/" + probeName()}
	defer pr.clean(ctx, pr.name)
	if err := pr.store(ctx, pr.name, UploadOptions{}, probeContent); err != nil {
		return err
	}
	p.compareZone(ctx, "/")
	for c := range capabilityNames {
		if _, err := p.Can(ctx, c, "/"); err != nil {
			p.log.Debug("capability not found out", "capability", c, "err", err)
		}
	}
	names := &probe{p: p, name: "/" + probeName()}
	if err := names.names(ctx, usualTraits()); err != nil {
		p.log.Debug("characters in names: not found out", "err", err)
	}
	return nil
}

// compareZone learns in which zone LIST tells times, also on a server with MLSD, where a mount never needs it.
func (p *Pool) compareZone(ctx context.Context, dir string) {
	b := p.newBudget(ctx)
	defer b.end()
	c, err := p.borrow(b, call{op: "list", path: dir}, func(_ context.Context, c *conn) error {
		col, _, err := p.readLines(b, c, dir)
		if err != nil {
			return err
		}
		return p.learnZone(b, c, dir, col.Listing())
	})
	if err != nil {
		p.log.Debug("zone of listings: not found out", "err", err)
		return
	}
	p.release(c)
}

// dialingPause is between two looks at connections that are being made; ConnectTimeout ends those.
const dialingPause = 10 * time.Millisecond

// countConnections opens as many connections as a mount may use and closes them again. It gives how many there were, those of
// the pool among them, and whether the server refused one for their number. They are opened one after the other: several
// at once slip in beyond the limit of servers that count those who have logged in.
func (p *Pool) countConnections(ctx context.Context) (n int, refused bool) {
	cfg := p.cfg.Session
	cfg.Quirks = p.memory.quirks()
	for p.Stats().Connections.Dialing > 0 && pause(ctx, dialingPause) { // one that the pool wanted a moment ago
	}
	for opened := 0; ; opened++ {
		if opened+p.Stats().Connections.Open >= p.cfg.MaxConns {
			return p.cfg.MaxConns, false
		}
		s, err := session.Dial(wire.Background(ctx), cfg)
		if err != nil {
			return opened + p.Stats().Connections.Open, p.full(err)
		}
		defer s.Close()
	}
}

// full says that a connection was refused for the number of others: the same credentials worked a moment ago.
func (p *Pool) full(err error) bool {
	e := p.loginError(err)
	return e.Kind == KindLimit || e.Kind == KindAuth || p.hungUp(e)
}

// Tries of a connection that a server may not take before it has noticed the end of another.
const (
	freshTries = 20
	freshPause = 250 * time.Millisecond
)

// demandsResumption lists the root through a data channel with a TLS session of its own. nil: not found out.
func (p *Pool) demandsResumption(ctx context.Context) *bool {
	cfg := p.cfg.Session
	cfg.Quirks, cfg.FreshData = p.memory.quirks(), true
	s, err := session.Dial(wire.Background(ctx), cfg)
	for try := 1; err != nil && try < freshTries && p.full(err); try++ {
		p.retireAll() // where the server takes one connection only, it is this one
		if !pause(ctx, freshPause) {
			return nil
		}
		s, err = session.Dial(wire.Background(ctx), cfg)
	}
	if err != nil {
		return nil
	}
	defer s.Close()
	req := session.TransferRequest{Before: []string{"CWD " + p.absDir("/")}, Verb: "LIST -a"}
	d, err := s.Transfer(ctx, req)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(d, maxListing)) // what broke, and why, is what Finish tells
		_, err = d.Finish(ctx)
	}
	demanded := p.sessionReuse(err)
	if err != nil && !demanded {
		return nil
	}
	return &demanded
}

// oddities tells in words what is unusual about the server and lived with.
func (p *Pool) oddities() []string {
	all := []string{}
	add := func(is bool, text string) {
		if is {
			all = append(all, text)
		}
	}
	q, srv := p.memory.quirks(), p.server()
	add(q.SerialLogin, "takes the login commands one by one only")
	add(q.NoEPSV, "refuses EPSV: data connections by PASV")
	add(q.LateClientHello, "TLS on data connections must wait for the answer to the transfer command")
	add(q.MLSTFacts != "", "sends all it knows of a file only when asked (OPTS MLST)")
	add(srv.linksLie, "MLST of a symlink tells the target's type and the link's own size")
	add(srv.pureFTPd, "Pure-FTPd stores some names under others: names with a backslash, control characters or a trailing space are refused")
	add(srv.rang, "sends ranges of files (RANG)")
	add(p.memory.get().Dots, `listings have "."`)
	return all
}

// note adds a problem: what does not work, and what to do about it.
func (r *Report) note(what, todo string) {
	r.Problems = append(r.Problems, Problem{What: what, Todo: todo})
}

// judge names what a user should know.
func (r *Report) judge(p *Pool) {
	r.judgeProtection()
	cannot := func(c Capability) bool { can, known := r.Capabilities[c]; return known && !can }
	for _, c := range []struct {
		Capability
		what, todo string
	}{
		{CapSymlink, "symlinks cannot be created", "rsync -L and tar -h store what they lead to"},
		{CapSetModTime, "times of files cannot be set", "rsync --size-only, tar -m and cp without -p live with that"},
		{CapSetDirModTime, "times of folders cannot be set", "rsync -O leaves them out"},
		{CapChmod, "modes cannot be set", "rsync --no-perms leaves them out; umask= says what is shown"},
		{CapAppend, "nothing can be appended to a file: it is sent whole", ""},
		{CapKeepsTail, "a file that is changed in the middle is sent whole", ""},
		{CapRenameReplace, "a file is not replaced in one step: the old one is put aside for a moment", ""},
		{CapRenameOverDir, "a folder is not renamed over an empty one in one step: the empty one is removed first", ""},
		{CapVerify, "the server does not tell sizes, so nothing shows that a file is complete", "verify=none takes the server's word"},
		{CapExactTimes, "the server has no MLSD: times in listings are to the minute, and exact ones are asked for with MDTM", ""},
	} {
		if cannot(c.Capability) {
			r.note(c.what, c.todo)
		}
	}
	if can, known := r.Capabilities[CapFoldsCase]; known && can {
		r.note("names that differ in the case of letters alone are one name to the server", "programs that keep such names side by side, as git and tar may, cannot on this server")
	}
	if lost := r.lostTraits(); len(lost) > 0 {
		r.note("names are not kept as they are, and refused, with: "+strings.Join(lost, ", "), "")
	}
	if p.server().pureFTPd {
		r.note("folders of more than 10,000 names are cut short by Pure-FTPd: ls ends in an error, names can still be opened", "have the server's administrator raise LimitRecursion")
	}
	if r.ConnectionsRefused {
		todo := "a mount makes do with them; max_conns= keeps some free for others"
		if r.Connections < 2 {
			todo = "transfers wait for each other; have the server's administrator allow two at least"
		}
		r.note(fmt.Sprintf("the server took no more than %d connections", r.Connections), todo)
	}
	r.judgeClock()
	r.judgeLeftovers()
}

// lostTraits gives what in names the server is known not to keep, sorted.
func (r *Report) lostTraits() []string {
	var lost []string
	for t, kept := range r.Names {
		if !kept {
			lost = append(lost, t)
		}
	}
	slices.Sort(lost)
	return lost
}

// judgeProtection is the part of judge that concerns secrets.
func (r *Report) judgeProtection() {
	if r.Insecure {
		r.note("the certificate was not checked (insecure_skip_verify): anybody on the way can read and change everything", "use pin= or cacert= instead")
	}
	if len(r.Certificates) > 0 && time.Until(r.Certificates[0].NotAfter) < expiresSoon {
		r.note("the certificate ends on "+r.Certificates[0].NotAfter.Format(time.DateOnly), "have the server's administrator renew it")
	}
	if !r.ControlProtected {
		r.note("the control connection goes on in clear after login (ccc): names of files can be read on the way", "leave ccc out")
	}
	if r.DataPort != 0 && !r.DataProtected {
		r.note("data goes in clear (prot=C): contents can be read and changed on the way", "leave prot=C out")
	}
	if r.DataProtected && !r.DataResumed {
		r.note("data connections do not resume the control connection's TLS session: nothing shows that both lead to the same client, and each costs a full handshake",
			"session tickets are the server's to give; Pure-FTPd gives them with tls_max=1.2")
	}
}
