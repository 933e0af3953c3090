package pool

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/session"
	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// fail makes the *Error that leaves the pool, and counts it. ctx is the operation's: what ended it explains what it ended.
// An *Error in err keeps its kind and gets the operation and the path it lacks.
func (p *Pool) fail(ctx context.Context, op, path string, err error) *Error {
	e := p.classify(ctx, op, path, err, judge)
	if e.Kind == KindTimeout && (!errors.Is(e, errBusy) || errors.Is(e, errDeaf)) {
		p.silence.begin(p.now())
	}
	if !errors.Is(e, errNoSpare) { // nobody asked for it
		p.counters.failed(e.Kind)
	}
	return e
}

// classify is fail for errors that may still turn out to be none; judgeReply reads refusals.
func (p *Pool) classify(ctx context.Context, op, path string, err error, judgeReply func(wire.Reply) verdict) *Error {
	var e *Error
	if errors.As(err, &e) {
		named := *e
		if named.Op == "" {
			named.Op, named.Path = op, path
		}
		return &named
	}
	e = &Error{Op: op, Path: path, Err: err}
	var refused *wire.ReplyError
	switch {
	case errors.As(err, &refused):
		v := judgeReply(refused.Original())
		e.Kind, e.unsure = v.kind, !v.sure
		e.Code, e.Reply = refused.Reply.Code, p.redact(oneLine(refused.Reply))
		e.Advice = cmp.Or(refused.Advice, session.Advice(&p.cfg.Session, wire.Verb(refused.Cmd), refused.Reply))
		e.Err = nil
	case p.ctx.Err() != nil, errors.Is(err, session.ErrClosed) && p.ctx.Err() != nil:
		e.Kind = KindClosed
	case ctx != nil && ctx.Err() != nil:
		e.Kind = KindCanceled
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			e.Kind, e.Err = KindTimeout, wire.ErrTimeout
		}
	default:
		e.Kind = transportKind(err)
	}
	var t *trust.Error
	var greeting *session.GreetingError
	switch {
	case errors.As(err, &t):
		e.Advice = t.Advice
	case errors.As(err, &greeting):
		e.Advice = greeting.Advice
	}
	return e
}

// redact hides the password where a server repeats it.
func (p *Pool) redact(text string) string {
	if secret := p.password.Load(); secret != nil {
		return wire.Redact(text, *secret, p.cfg.Session.Account)
	}
	return text
}

// oneLine gives the text of a reply without its code.
func oneLine(r wire.Reply) string {
	_, text, _ := strings.Cut(r.String(), " ")
	return text
}

// transportKind classifies what is not a reply.
func transportKind(err error) Kind {
	var t *trust.Error
	var cert *tls.CertificateVerificationError
	var ne net.Error
	switch {
	case errors.Is(err, wire.ErrName):
		return KindInvalidName
	case errors.Is(err, wire.ErrTooLong):
		return KindNameTooLong
	case errors.As(err, &t):
		return trustKind(t.Reason)
	case errors.As(err, &cert):
		return KindTrust
	case errors.Is(err, wire.ErrClear):
		return KindTLSPolicy
	case errors.Is(err, wire.ErrInjected):
		return KindTrust
	case errors.Is(err, wire.ErrGarbage), errors.Is(err, wire.ErrUnsolicited):
		return KindProtocol
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return KindTimeout
	case errors.Is(err, context.Canceled):
		return KindCanceled
	}
	return KindNetwork
}

func trustKind(r trust.Reason) Kind {
	switch r {
	case trust.ReasonVersion, trust.ReasonHandshake, trust.ReasonNotTLS:
		return KindTLSPolicy
	case trust.ReasonClientCert:
		return KindAuth
	}
	return KindTrust
}

// loginError classifies a failed dial.
func (p *Pool) loginError(err error) *Error {
	e := p.classify(p.ctx, "login", "", err, judgeLogin)
	var refused *wire.ReplyError
	switch {
	case errors.As(err, &refused) && protects(refused.Cmd):
		e.Kind = KindTLSPolicy
	case e.Kind == KindRefused, e.Kind == KindTLSPolicy && e.Code != 421 && refused != nil && identifies(refused.Cmd):
		e.Kind = KindAuth // also where it is a policy that refuses: the password is not sent again soon
	case errors.As(err, &refused) && e.Kind == KindUnsupported:
		e.Kind = KindNetwork // no server lacks the login: it is broken at the moment (vsftpd's "500 OOPS")
	}
	return e
}

// protects tells the commands that protect a connection (RFC 2228, RFC 4217).
func protects(cmd string) bool {
	switch wire.Verb(cmd) {
	case "AUTH", "PBSZ", "PROT", "CCC":
		return true
	}
	return false
}

// identifies tells the commands that say who we are.
func identifies(cmd string) bool {
	switch wire.Verb(cmd) {
	case "USER", "PASS", "ACCT":
		return true
	}
	return false
}

// judgeLogin reads a refusal between the greeting and the first command.
func judgeLogin(r wire.Reply) verdict {
	switch {
	case isTooMany(r):
		return verdict{KindLimit, true}
	case r.Code == 530 || r.Code == 535 || r.Code == 430 || r.Code == 332:
		return verdict{KindAuth, true}
	case r.Code == 421 && judge(r).kind != KindTLSPolicy:
		return verdict{KindLimit, true} // "not available": by far most often there are too many
	}
	return judge(r)
}

// hungUp says that the server closed a new connection without a word: what ProFTPD does beyond MaxInstances. An end in the
// middle of a TLS handshake that the server itself agreed to is a broken network's.
func (p *Pool) hungUp(e *Error) bool {
	implicit := p.cfg.Session.TLS == session.TLSImplicit
	return e.Kind == KindNetwork && (errors.Is(e.Err, wire.ErrEOF) || implicit && errors.Is(e.Err, io.EOF))
}

// sessionReuse says that err is a server's complaint about a data channel that did not resume the control session. One in
// clear resumes nothing.
func (p *Pool) sessionReuse(err error) bool {
	var refused *wire.ReplyError
	return !p.cfg.Session.ProtClear && errors.As(err, &refused) && isReuse(refused.Original())
}

// brokenData marks a data channel that failed while it was read.
type brokenData struct{ err error }

func (e *brokenData) Error() string { return "data channel: " + e.err.Error() }
func (e *brokenData) Unwrap() error { return e.err }

// dataFailed says that the data connection could not be opened, or was lost; the control connection may live.
func dataFailed(err error) bool {
	var refused *wire.ReplyError
	if errors.As(err, &refused) {
		return refused.Reply.Code == 425 || refused.Reply.Code == 426
	}
	var broken *brokenData
	var data *session.DataError
	return errors.As(err, &broken) || errors.As(err, &data)
}

// carried says that content came through a data channel: this server takes our way to resume sessions. Then its complaint is
// about a channel that broke in its handshake (ProFTPD says the same of both), or about old tickets.
func (p *Pool) carried() bool { return p.counters.bytesIn.Load() > 0 }

// reuseError says in words what could not be cured with a fresh connection.
func (p *Pool) reuseError(err error) *Error {
	try := "try -o tls_max=1.2"
	if p.server().tlsVersion == tls.VersionTLS12 {
		try = "with TLS 1.2 that takes session tickets, which the server does not give: have them turned on (ProFTPD: TLSSessionTickets on), or TLS 1.3"
	}
	e := &Error{Kind: KindTLSPolicy, Err: err,
		Advice: "the server demands that data connections resume the TLS session of the control connection and does not accept how; " + try +
			"; or have the demand turned off (ProFTPD: TLSOptions NoSessionReuseRequired, vsftpd: require_ssl_reuse=NO)"}
	if p.carried() {
		e.Kind = KindNetwork
	}
	var refused *wire.ReplyError
	if errors.As(err, &refused) {
		e.Code, e.Reply, e.Err = refused.Reply.Code, p.redact(oneLine(refused.Reply)), nil
	}
	return e
}
