package pool

import (
	"strings"

	"github.com/ftpsfs/ftpsfs/pool/wire"
)

// verdict is what a reply says. A verdict that is not sure is a guess from a code that stands for many things; the
// operation looks at the server before it believes it.
type verdict struct {
	kind Kind
	sure bool
}

// strerrors are the texts of strerror(3), with which ProFTPD, Pure-FTPd, pyftpdlib and others end a refusal. Those that are
// not sure are used for more than one cause: ProFTPD says "Operation not permitted" when a file is renamed onto a folder,
// Pure-FTPd "Invalid argument" when a folder is to be deleted as a file.
var strerrors = map[string]verdict{
	"no such file or directory":         {KindNotFound, true},
	"file exists":                       {KindExists, true},
	"directory not empty":               {KindNotEmpty, true},
	"is a directory":                    {KindIsDir, true},
	"not a directory":                   {KindNotDir, true},
	"permission denied":                 {KindPermission, true},
	"operation not permitted":           {KindPermission, false},
	"invalid argument":                  {KindRefused, false},
	"device or resource busy":           {KindRefused, false},
	"no space left on device":           {KindNoSpace, true},
	"disk quota exceeded":               {KindQuota, true},
	"read-only file system":             {KindReadOnly, true},
	"file name too long":                {KindNameTooLong, true},
	"file too large":                    {KindTooLarge, true},
	"function not implemented":          {KindUnsupported, true},
	"operation not supported":           {KindUnsupported, true},
	"invalid cross-device link":         {KindUnsupported, true},
	"too many levels of symbolic links": {KindRefused, true},
	"not a regular file":                {KindIsDir, false},
	"not a plain file":                  {KindIsDir, false},
}

// phrases are found anywhere in a reply, in lower case; the first that fits counts.
var phrases = []struct {
	text string
	verdict
}{
	{"quota", verdict{KindQuota, true}},
	{"storage limit", verdict{KindQuota, true}},
	{"exceeded storage", verdict{KindQuota, true}},
	{"no space", verdict{KindNoSpace, true}},
	{"disk full", verdict{KindNoSpace, true}},
	{"insufficient storage", verdict{KindNoSpace, true}},
	{"insufficient disk", verdict{KindNoSpace, true}},
	{"restart not permitted", verdict{KindUnsupported, true}}, // ProFTPD, AllowStoreRestart off
	{"overwrite permission denied", verdict{KindExists, true}},
	{"i can only retrieve regular files", verdict{KindIsDir, false}},
	{"is not retrievable", verdict{KindIsDir, false}},
	{"is a directory", verdict{KindIsDir, true}},
	{"read-only", verdict{KindReadOnly, false}},
	{"tls is required", verdict{KindTLSPolicy, true}},     // ftpserverlib, with 421
	{"issue during transfer", verdict{KindNetwork, true}}, // ftpserverlib
}

// judge says what a refusal means, from its text if that tells, else from its code (RFC 959 section 4.2).
func judge(r wire.Reply) verdict {
	text := strings.ToLower(r.Text())
	if v, ok := strerror(text); ok && ofTheFile(r.Code, v.kind) {
		return v
	}
	for _, p := range phrases {
		if strings.Contains(text, p.text) {
			return p.verdict
		}
	}
	switch r.Code {
	case 421, 425, 426:
		return verdict{KindNetwork, true}
	case 431, 521, 522, 533, 534, 536:
		return verdict{KindTLSPolicy, true}
	case 452:
		return verdict{KindNoSpace, true}
	case 552:
		return verdict{KindQuota, true}
	case 500, 501, 502, 504:
		return verdict{KindUnsupported, false}
	case 503:
		return verdict{KindProtocol, true}
	case 530:
		return verdict{KindAuth, true}
	case 532:
		return verdict{KindPermission, true}
	case 554:
		return verdict{KindChanged, false} // an offset beyond the end
	}
	return verdict{KindRefused, false}
}

// ofTheFile says whether a system error behind that code is one of the file. Who hangs up speaks of himself (Pure-FTPd's "421 chdir: No such
// file"), who has no data connection of that (ProFTPD's "425 Unable to build data connection: Operation not permitted"); one that
// broke may have done so because the disk takes no more.
func ofTheFile(code int, kind Kind) bool {
	switch code {
	case 421, 425:
		return false
	case 426:
		return kind == KindNoSpace || kind == KindQuota || kind == KindTooLarge
	}
	return true
}

// strerror looks for a system error at the end of text, which is in lower case.
func strerror(text string) (verdict, bool) {
	text = strings.TrimRight(text, ". \n")
	if i := strings.LastIndexAny(text, ":\n"); i >= 0 {
		if v, ok := strerrors[strings.TrimSpace(text[i+1:])]; ok {
			return v, true
		}
	}
	v, ok := strerrors[text]
	return v, ok
}

// failedWrite are texts of a server that could not write to its disk: ENOSPC in all but name, as a broken disk is rare.
var failedWrite = []string{"failure writing to local file", "error during write to file", "input/output error"}

// judgeStore is judge for the final reply of an upload.
func judgeStore(r wire.Reply) verdict {
	v := judge(r)
	if v.kind != KindRefused && v.kind != KindOther {
		return v
	}
	text := strings.ToLower(r.Text())
	for _, s := range failedWrite {
		if r.Code/100 == 4 && strings.Contains(text, s) {
			return verdict{KindNoSpace, true}
		}
	}
	return v
}

// tooMany are parts of what servers say, with 421 or 530, when they take no more connections.
var tooMany = []string{
	"too many", "maximum number", "max number", "more than", "maximum login", "maximum connections", "connection limit",
	"connections per", "user limit", "limit reached", "users are logged", "already logged in", "server is full", "number of clients",
	"number of users", "number of connections",
}

// isTooMany says that a refusal is about the number of connections.
func isTooMany(r wire.Reply) bool {
	if r.Code != 421 && r.Code != 530 && r.Code != 450 && r.Code != 550 {
		return false
	}
	text := strings.ToLower(r.Text())
	for _, s := range tooMany {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// isReuse says that a refusal is about a data channel that did not resume the control connection's TLS session.
func isReuse(r wire.Reply) bool {
	text := strings.ToLower(r.Text())
	switch r.Code {
	case 522:
		// "522 Data connections must be encrypted", "... PROT P required": it was not asked for
		return !strings.Contains(text, "prot") && !strings.Contains(text, "encrypt")
	case 425, 450, 534:
		return strings.Contains(text, "reus") || strings.Contains(text, "resum") || strings.Contains(text, "operation not permitted")
	}
	return false
}
