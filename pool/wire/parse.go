package wire

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// Limits of what a peer may send as one reply. A directory of some ten thousand entries comes as one reply to STAT.
const (
	maxLine      = 32 << 10
	maxReply     = 8 << 20
	lineOverhead = 32 // what keeping one line costs besides its bytes
	maxExcerpt   = 80
)

// readReply reads one complete reply. The error is what r gave, or a *GarbageError.
func readReply(r *bufio.Reader) (Reply, error) {
	line, err := readLine(r)
	if err != nil {
		return Reply{}, err
	}
	code, more, text, ok := splitReply(line)
	if !ok {
		return Reply{}, garbage("no reply code", line)
	}
	reply := Reply{Code: code, Lines: []string{text}}
	prefix := line[:3]
	for size := len(line); more; {
		line, err = readLine(r)
		if err != nil {
			return Reply{}, noEOF(err)
		}
		if size += len(line) + lineOverhead; size > maxReply {
			return Reply{}, garbage("reply does not end", prefix+"-"+reply.Lines[0])
		}
		// Only the first reply's code with a space (or nothing) behind it ends a multi-line reply.
		if strings.HasPrefix(line, prefix) && (len(line) == 3 || line[3] == ' ') {
			more = false
			line = strings.TrimPrefix(line[3:], " ")
		}
		reply.Lines = append(reply.Lines, line)
	}
	return reply, nil
}

// readLine gives one line without its end (LF, optionally CR before it).
func readLine(r *bufio.Reader) (string, error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil {
			return trimEOL(part), nil
		}
		long = append(long, part...)
		switch {
		case len(long) > maxLine:
			return "", garbage("line does not end", string(long))
		case err == nil:
			return trimEOL(long), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case len(long) > 0:
			return "", noEOF(err)
		default:
			return "", err
		}
	}
}

func trimEOL(b []byte) string {
	b = b[:len(b)-1]
	if n := len(b); n > 0 && b[n-1] == '\r' {
		b = b[:n-1]
	}
	return string(b)
}

// splitReply takes the first line of a reply apart. Codes up to 6yz exist (RFC 2228 section 3).
func splitReply(line string) (code int, more bool, text string, ok bool) {
	if len(line) < 3 {
		return 0, false, "", false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, "", false
		}
		code = code*10 + int(line[i]-'0')
	}
	if code < 100 || code > 699 {
		return 0, false, "", false
	}
	if len(line) == 3 {
		return code, false, "", true
	}
	switch line[3] {
	case ' ':
		return code, false, line[4:], true
	case '-':
		return code, true, line[4:], true
	}
	return 0, false, "", false
}

func garbage(reason, line string) error {
	if len(line) > maxExcerpt {
		line = line[:maxExcerpt]
	}
	return &GarbageError{Line: line, Reason: reason}
}

// noEOF keeps an end in the middle of a reply apart from one between replies.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
