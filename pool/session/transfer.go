package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/trust"
	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// TransferRequest says what to transfer.
type TransferRequest struct {
	// Verb is the whole command: "RETR x", "STOR x", "APPE x", "MLSD x", "LIST -a". STOR, APPE and STOU are uploads.
	Verb string
	Rest int64 // offset for REST; 0: no REST
	// Before are commands that go out ahead of REST and Verb ("CWD x", "RANG a b"). If the server refuses one of them
	// the transfer is ended and the refusal is returned as *wire.ReplyError. For downloads all is one flight; an
	// upload waits for REST and Before to be accepted, as a STOR behind a refused REST would truncate the file.
	Before []string
	// Look, if not nil, judges the replies to Before of an upload, refusals among them, before Verb is sent; its error ends the
	// transfer. REST may be pending then, so the session must not be used for another.
	Look func(told []wire.Reply) error
	// EarlyEnd sends our close_notify on the data channel of a download as soon as TLS is there (RFC 8446 section 6.1: each
	// side ends its own direction). A server that waits for it before its final reply then sends that behind the data, and
	// no round trip lies between the two. It has no effect before TLS 1.3, where a close_notify ends both directions.
	EarlyEnd bool
	// EarlyFIN sends TCP's FIN of a download's data channel as soon as TLS is there: for a server that waits for the end of the
	// connection before its final reply (ProFTPD's lingering close). No close_notify goes ahead of it: such a server does not read
	// that, and a socket closed with something unread is reset, together with the data still on their way.
	EarlyFIN bool
	// NextAfter, with Next and EarlyFIN, asks for the next data channel this long after the FIN, while the content is on its way, if that is
	// not over by then: for a server that reads commands during a transfer, and is through with a short one then. 0: behind its end.
	NextAfter time.Duration
	// Next makes a spare data channel for the following transfer as soon as this one allows: Finish leaves it on its way
	// and costs nothing more.
	Next bool

	late bool // the ClientHello waits for the 1xx
}

func (r TransferRequest) upload() bool {
	switch wire.Verb(r.Verb) {
	case "STOR", "APPE", "STOU":
		return true
	}
	return false
}

// prelude gives the commands ahead of the verb.
func (r TransferRequest) prelude() []string {
	cmds := append([]string(nil), r.Before...)
	if r.Rest > 0 {
		cmds = append(cmds, fmt.Sprintf("REST %d", r.Rest))
	}
	return cmds
}

// Transfer starts a transfer: it returns when the server has answered with a 1yz and TLS on the data channel is there.
// Where a data channel was prepared, that is one round trip.
//
// A *wire.ReplyError is a refusal, and the session goes on if Poisoned says so; *trust.Error is a data channel that
// cannot be believed. After wire.ErrName and wire.ErrTooLong nothing was sent.
func (s *Session) Transfer(ctx context.Context, r TransferRequest) (*Data, error) {
	if err := s.idle(); err != nil {
		return nil, err
	}
	const tries = 3 // a stale spare and a ClientHello that came too early may meet
	for n := 1; ; n++ {
		d, err := s.transfer(ctx, r)
		if err == nil && r.late {
			s.learn(func(i *Info) { i.Quirks.LateClientHello = true })
		}
		var again *againError
		if !errors.As(err, &again) {
			return d, err
		}
		r.late = r.late || again.late
		if n == tries || s.line.Err() != nil || ctx.Err() != nil {
			return nil, again.err
		}
	}
}

// againError marks a failure whose cause is known and removed: the transfer did not begin and may be tried again.
type againError struct {
	err  error
	late bool // the ClientHello may have come too early: if it succeeds behind the 1xx, that is what this server needs
}

func (e *againError) Error() string { return e.err.Error() }
func (e *againError) Unwrap() error { return e.err }

func (s *Session) transfer(ctx context.Context, r TransferRequest) (*Data, error) {
	cmds := append(r.prelude(), r.Verb)
	if r.upload() && len(cmds) > 1 {
		if err := s.accepted(ctx, r); err != nil {
			return nil, err
		}
		cmds = cmds[len(cmds)-1:]
	}
	ch := s.takeSpare(ctx)
	if ch == nil && s.pipelines() {
		return s.transferCold(ctx, r, cmds)
	}
	if ch == nil {
		var err error
		if ch, err = s.openChannel(ctx); err != nil {
			return nil, err
		}
	}
	pending, err := s.line.Send(ctx, cmds...)
	if err != nil {
		s.keepSpare(ch)
		return nil, s.explain(err)
	}
	return s.begin(ctx, r, ch, pending)
}

// accepted sends the commands ahead of an upload, which must all succeed but for those that r looks at itself.
func (s *Session) accepted(ctx context.Context, r TransferRequest) error {
	cmds := r.prelude()
	replies, err := s.line.Flight(ctx, cmds...)
	if err != nil {
		return s.explain(err)
	}
	if r.Look != nil {
		if err := r.Look(replies[:len(r.Before)]); err != nil {
			return err
		}
		cmds, replies = cmds[len(r.Before):], replies[len(r.Before):]
	}
	for i, r := range replies {
		if r.Refused() {
			return s.refusal(cmds[i], r)
		}
	}
	return nil
}

// pipelines says whether EPSV and the transfer command may leave together: where EPSV is what we use, once it is known to
// work here.
func (s *Session) pipelines() bool {
	if s.cfg.Active || s.passiveCommand() != "EPSV" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epsv
}

// transferCold asks for the port in the same flight as the transfer and connects while the server waits for that: a
// round trip less than one after the other.
func (s *Session) transferCold(ctx context.Context, r TransferRequest, cmds []string) (*Data, error) {
	const cmd = "EPSV"
	pending, err := s.line.Send(ctx, append([]string{cmd}, cmds...)...)
	if err != nil {
		return nil, s.explain(err)
	}
	reply, err := pending[0].WaitFinal(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	rest := pending[1:]
	if !reply.OK() {
		cause := s.refusal(cmd, reply)
		if reply.Code >= 500 && s.remote.IP.To4() != nil { // announced and not known: PASV it is
			s.learn(func(i *Info) { i.Quirks.NoEPSV = true })
			cause = &againError{err: cause}
		}
		return nil, s.unconnected(ctx, r, rest, cause)
	}
	address, err := s.passiveAddress(cmd, reply)
	if err != nil {
		return nil, s.unconnected(ctx, r, rest, err)
	}
	ch, err := s.connect(ctx, address)
	if err != nil {
		return nil, s.unconnected(ctx, r, rest, err)
	}
	return s.begin(ctx, r, ch, rest)
}

// unconnected reads the replies to commands that went out together with the request for a data channel that did not come
// about. A server that refuses the transfer may close its port at once: then that refusal is the answer. One that
// accepts the transfer waits for a connection that never comes: the session is given up.
func (s *Session) unconnected(ctx context.Context, r TransferRequest, pending []*wire.Pending, cause error) error {
	verb := pending[len(pending)-1]
	told, reply, err := wire.Begin(ctx, pending)
	refused := s.firstRefusal(r, told)
	switch {
	case err != nil:
		return s.explain(err)
	case reply.Refused() && reply.Code != 425 && reply.Code != 426:
		return cmp.Or(refused, s.refusal(r.Verb, reply))
	case !verb.Done():
		s.line.Poison(fmt.Errorf("transfer without a data channel: %s", reply))
	}
	return cause
}

// begin goes on once the channel is there and the commands are written.
func (s *Session) begin(ctx context.Context, r TransferRequest, ch *channel, pending []*wire.Pending) (*Data, error) {
	ch.late = r.late || s.Quirks().LateClientHello
	if !ch.late {
		ch.start()
	}
	verb := pending[len(pending)-1]
	d := &Data{s: s, ch: ch, verb: verb, cmd: r.Verb, upload: r.upload(), next: r.Next, early: r.EarlyEnd && !r.upload(), earlyFIN: r.EarlyFIN && !r.upload(), nextAfter: r.NextAfter, background: wire.IsBackground(ctx)}
	told, reply, err := wire.Begin(ctx, pending)
	if err != nil {
		ch.discard()
		return nil, s.explain(err)
	}
	refused := s.firstRefusal(r, told)
	d.preliminary, d.told = reply, told
	switch {
	case reply.Refused():
		return nil, s.refused(d, cmp.Or(refused, s.refusal(r.Verb, reply)), reply)
	case refused != nil:
		s.runOut(ctx, d)
		return nil, refused
	case verb.Done():
		d.final = &reply // no preliminary reply: the data is there already
	}
	return s.secured(ctx, d)
}

// runOut ends a transfer that began although a command ahead of it was refused. Cutting it off costs the session on some
// servers, so what is short is read away.
func (s *Session) runOut(ctx context.Context, d *Data) {
	if d.verb.Done() {
		d.cutOff()
		return
	}
	if _, err := s.secured(ctx, d); err == nil {
		_, _ = d.Finish(ctx) // the refusal is the answer
	}
}

// firstRefusal gives the first refusal among the replies to the commands ahead of the verb, nil if there is none.
func (s *Session) firstRefusal(r TransferRequest, told []wire.Reply) error {
	cmds := r.prelude()
	for i, reply := range told {
		if reply.Refused() {
			return s.refusal(cmds[i], reply)
		}
	}
	return nil
}

// refused keeps the channel of a refused transfer. A refusal for want of a data connection, on a channel that was made
// ahead, means that the server has given it up: again, with a fresh one.
func (s *Session) refused(d *Data, err error, r wire.Reply) error {
	if r.Code == 425 || r.Code == 426 {
		d.ch.discard()
		if d.ch.old {
			return &againError{err: err}
		}
		return err
	}
	s.keepSpare(d.ch)
	return err
}

// secured waits for TLS on the data channel, looking at the control connection meanwhile: a server that gives up says so
// there.
func (s *Session) secured(ctx context.Context, d *Data) (*Data, error) {
	if d.ch.late {
		s.line.CountWait(ctx)
	}
	d.ch.start()
	patience := s.cfg.Timeout
	if !d.ch.late {
		patience /= 2 // there is another way to try
	}
	bound := time.NewTimer(patience)
	defer bound.Stop()
	select {
	case <-d.ch.secured:
	case <-d.verb.Notify():
		select { // a short transfer may be over before we have looked
		case <-d.ch.secured:
		case <-bound.C:
		case <-ctx.Done():
		}
	case <-s.line.Dead():
	case <-bound.C:
	case <-ctx.Done():
	}
	select {
	case <-d.ch.secured:
	default:
		return nil, s.unsecured(d, cmp.Or(ctx.Err(), s.line.Err(), wire.ErrTimeout))
	}
	if err := d.ch.tlsErr; err != nil {
		return nil, s.unsecured(d, err)
	}
	s.observe(d.ch)
	d.open()
	s.mu.Lock()
	s.busy = d
	s.mu.Unlock()
	return d, nil
}

// unsecured ends a transfer whose data channel did not come about, and finds out why.
func (s *Session) unsecured(d *Data, cause error) error {
	early := !d.ch.late && d.ch.silent()
	d.ch.discard()
	reply, err := d.lastReply()
	cause = trust.Explain(cause)
	var untrusted *trust.Error
	switch {
	case errors.As(cause, &untrusted):
		return cause
	case err != nil && reply.Code == 0:
		return s.explain(cmp.Or(s.line.Err(), cause))
	case early && d.ch.old:
		return &againError{err: cause}
	case early && reply.Code != 522:
		return &againError{err: cause, late: true}
	case reply.Refused():
		return s.refusal(d.cmd, reply)
	}
	return fmt.Errorf("data channel: %w", cause)
}

// observe notes what protects the data.
func (s *Session) observe(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info.DataSeen = true
	s.info.Prot.Data = ch.tls != nil
	if ch.tls != nil {
		s.info.Data = ch.tls.ConnectionState()
		s.info.DataResumed = s.info.Data.DidResume
	}
}
