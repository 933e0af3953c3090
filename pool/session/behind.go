package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// Behind are commands that the Finish of an upload sends ahead of the server's final reply, where that saves a round trip. They may be
// repeated: whatever is answered ahead of the final reply is not believed.
type Behind struct {
	Cmds []string
	// Early, if it is not 0, is how long after the last byte they are sent: for a server that reads commands during a transfer, and
	// is through with it then. Where the end of the upload is known sooner, or bytes have not left by then, they are not sent.
	// 0: when the server has ended the data channel, for one that says 226 only when its own end was acknowledged, a round trip
	// later, and reads no command before.
	Early time.Duration
}

// answerBound is how long the answers are waited for once the final reply is there.
const answerBound = 5 * time.Second

// Behind sets the commands. It is called before Finish; Answers gives the replies.
func (d *Data) Behind(b Behind) { d.behind = b }

// Answers gives the replies to the commands of Behind, nil when none were sent or not all were answered behind the final
// reply. It is called after Finish.
func (d *Data) Answers() []wire.Reply { return d.answers }

// Asked says that commands were sent ahead of the final reply. It is called after Finish.
func (d *Data) Asked() bool { return len(d.asked) > 0 || d.port != nil }

// OutOfTurn says that the server answered a command of Behind ahead of the final reply, or not at all.
func (d *Data) OutOfTurn() bool { return d.outOfTurn }

// askEarly sends what Behind named when all data are on their way.
func (d *Data) askEarly(ctx context.Context) {
	if flown(d.conn.Conn) {
		d.ask(ctx)
	}
}

// askAtEnd sends it if it was the server itself that ended the channel: see endedByServer.
func (d *Data) askAtEnd(ctx context.Context) {
	if d.behind.Early == 0 && d.ioErr == nil && d.ch.tls != nil && !d.conn.fin.Load() {
		d.ask(ctx)
		d.joined = len(d.asked) == 0
	}
}

// ask sends the commands, and the one for the next data channel.
func (d *Data) ask(ctx context.Context) {
	if len(d.behind.Cmds) == 0 {
		return
	}
	cmds := d.behind.Cmds
	if d.next {
		cmds = append(slices.Clone(cmds), d.s.passiveCommand())
	}
	d.asked, _ = d.s.line.Send(ctx, cmds...) // what goes wrong with the line, the final reply tells
}

// ErrNoEnd says that a server answered everything that was asked behind an upload and not the upload. The session is poisoned.
var ErrNoEnd = errors.New("no reply tells how the upload ended")

// sortOut reads the replies to what was asked behind the upload and gives the upload's own; first is the first of all. A server that
// reads commands during a transfer may have answered some ahead of it, and the line hands out replies in the order of the commands.
func (d *Data) sortOut(ctx context.Context, first wire.Reply) (wire.Reply, error) {
	ctx = wire.WithBound(ctx, min(answerBound, d.s.cfg.Timeout))
	all := []wire.Reply{first}
	for _, p := range d.asked {
		r, err := p.JoinFinal(ctx)
		if err != nil {
			d.outOfTurn = true
			if ends(first) || first.Refused() {
				return first, nil // the session is lost, the server's word is not
			}
			return first, err
		}
		all = append(all, r)
	}
	at := endOf(all)
	if at < 0 {
		err := fmt.Errorf("%w: %s", ErrNoEnd, first)
		d.s.line.Poison(err)
		return first, err
	}
	if at == 0 {
		d.answers = all[1 : 1+len(d.behind.Cmds)]
	}
	d.outOfTurn = at > 0
	if last := len(all) - 1; len(d.asked) > len(d.behind.Cmds) && at < last {
		_ = d.s.makeSpare(d.s.passiveCommand(), func(context.Context) (wire.Reply, error) { return all[last], nil })
	}
	return all[at], nil
}

// ends says that a reply is that to an upload: what is asked behind is answered with other codes. A 250 is also that to MLST,
// which is never the first command.
func ends(r wire.Reply) bool { return r.Code == 226 }

// endOf finds the reply to the upload, -1 if there is none. Where the upload was refused it is the first refusal, rather one that tells
// of a transfer than one that tells of a file or a command.
func endOf(all []wire.Reply) int {
	if at := slices.IndexFunc(all, ends); at >= 0 {
		return at
	}
	if all[0].Code == 250 {
		return 0
	}
	at := slices.IndexFunc(all, func(r wire.Reply) bool {
		return r.Refused() && r.Code != 450 && r.Code != 550 && (r.Code < 500 || r.Code > 504)
	})
	if at >= 0 {
		return at
	}
	return slices.IndexFunc(all, wire.Reply.Refused)
}

// askNext asks for the next data channel in the middle of a download.
func (d *Data) askNext() {
	d.asking.Lock()
	defer d.asking.Unlock()
	if d.ended {
		return
	}
	if pending, err := d.s.line.Send(wire.Background(context.Background()), d.s.passiveCommand()); err == nil {
		d.port = pending[0]
	}
}

// endAsking ends the use of the line by askNext, and gives what was asked.
func (d *Data) endAsking() *wire.Pending {
	d.asking.Lock()
	defer d.asking.Unlock()
	d.ended = true
	if d.timer != nil {
		d.timer.Stop()
	}
	return d.port
}

// busyCode is what is said, in the middle of a transfer, to the request for another data channel.
const busyCode = 450

// sortNext finds out which reply is the download's own, and makes the next data channel where there is a port for it. first is the first
// reply: a refusal may be that of the port, ahead of the end.
func (d *Data) sortNext(ctx context.Context, first wire.Reply, port *wire.Pending) (wire.Reply, error) {
	cmd := d.s.passiveCommand()
	if isPort(first) { // answered in the middle of the download, whose own reply stands where the port's was to come
		d.outOfTurn = true
		second, err := port.JoinFinal(wire.WithBound(ctx, min(answerBound, d.s.cfg.Timeout)))
		if err != nil {
			return second, err
		}
		return second, d.s.makeSpare(cmd, func(context.Context) (wire.Reply, error) { return first, nil })
	}
	if !first.Refused() {
		return first, d.s.makeSpare(cmd, port.WaitFinal)
	}
	second, err := port.JoinFinal(wire.WithBound(ctx, min(answerBound, d.s.cfg.Timeout)))
	switch {
	case err != nil:
		return first, err
	case isPort(second):
		return first, d.s.makeSpare(cmd, func(context.Context) (wire.Reply, error) { return second, nil })
	case second.OK(), first.Code == busyCode:
		d.outOfTurn = true
		return second, nil
	}
	return first, nil
}

// inStep checks, for a transfer that was cut off, that last and the reply to the request for a port are all that is owed: servers
// were seen to answer such a transfer twice.
func (d *Data) inStep(last wire.Reply, port *wire.Pending) error {
	ctx, cancel := context.WithTimeout(wire.Background(context.Background()), abortTimeout)
	defer cancel()
	second, err := port.JoinFinal(ctx)
	if err == nil && !isPort(second) && last.Code != busyCode {
		err = fmt.Errorf("%w: %s", wire.ErrUnsolicited, second)
	}
	return err
}

// isPort says that a reply tells a port: nothing else is answered so.
func isPort(r wire.Reply) bool { return r.Code == 229 || r.Code == 227 }
