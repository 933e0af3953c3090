package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

// envChannel tells the child which descriptor leads to the parent.
const envChannel = "_FTPSFS_PARENT"

// message is one line between parent and child; one field is set.
type message struct {
	Hello  json.RawMessage `json:"hello,omitempty"` // parent: what the child must know and nobody may see
	Answer *answer         `json:"answer,omitempty"`
	Ask    *question       `json:"ask,omitempty"`  // child
	Warn   string          `json:"warn,omitempty"` // child: a line for the terminal
	Ready  bool            `json:"ready,omitempty"`
	Fail   *failure        `json:"fail,omitempty"`
}

type question struct {
	Text   string `json:"text"`
	Secret bool   `json:"secret"`
}

type answer struct {
	Text string `json:"text"`
	Err  string `json:"err,omitempty"`
}

type failure struct {
	Line string `json:"line"`
	Code int    `json:"code"`
}

// Parent is the child's end of the way to the parent.
type Parent struct {
	conn net.Conn
	enc  *json.Encoder
	dec  *json.Decoder
	gone chan struct{} // closed when the parent has ended

	mu      sync.Mutex  // held from a question to its answer; guards enc
	answers chan answer // from the reader to Ask; holds one, so that the reader never waits for an asker that gave up
}

// FromParent gives the way to the parent, nil in a process that has none (the one the user started). It reads the parent's
// first message into hello.
func FromParent(hello any) (*Parent, error) {
	v := os.Getenv(envChannel)
	if v == "" {
		return nil, nil
	}
	os.Unsetenv(envChannel)
	fd, err := strconv.Atoi(v)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", envChannel, v, err)
	}
	syscall.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "parent")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	p := &Parent{conn: conn, enc: json.NewEncoder(conn), dec: json.NewDecoder(conn), gone: make(chan struct{}), answers: make(chan answer, 1)}
	var m message
	if err := p.dec.Decode(&m); err != nil {
		conn.Close()
		return nil, fmt.Errorf("from the parent process: %w", err)
	}
	if err := json.Unmarshal(m.Hello, hello); err != nil {
		conn.Close()
		return nil, fmt.Errorf("from the parent process: %w", err)
	}
	go p.read()
	return p, nil
}

// read ends when the parent does, or at Close.
func (p *Parent) read() {
	defer close(p.gone)
	for {
		var m message
		if p.dec.Decode(&m) != nil {
			return
		}
		if m.Answer == nil {
			continue
		}
		select {
		case <-p.answers: // of a question whose asker gave up
		default:
		}
		p.answers <- *m.Answer
	}
}

// Gone is closed when the parent gave up or ended, which it also does after Ready.
func (p *Parent) Gone() <-chan struct{} { return p.gone }

// Ask puts a question to the parent's terminal.
func (p *Parent) Ask(ctx context.Context, text string, secret bool) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.enc.Encode(message{Ask: &question{text, secret}}); err != nil {
		return "", errors.New("there is no terminal any more to ask on")
	}
	select {
	case a := <-p.answers:
		if a.Err != "" {
			return "", errors.New(a.Err)
		}
		return a.Text, nil
	case <-p.gone:
		return "", errors.New("there is no terminal any more to ask on")
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Warn shows a line on the parent's terminal.
func (p *Parent) Warn(line string) { p.send(message{Warn: exitcode.OneLine(line)}) }

// Ready tells the parent that the mount works, and ends the conversation.
func (p *Parent) Ready() {
	p.send(message{Ready: true})
	p.conn.Close()
}

// Fail tells the parent why there will be no mount and with which status to exit, and ends the conversation.
func (p *Parent) Fail(line string, code int) {
	p.send(message{Fail: &failure{exitcode.OneLine(line), code}})
	p.conn.Close()
}

// send leaves errors alone: a parent that is gone needs no message.
func (p *Parent) send(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.enc.Encode(m)
}
