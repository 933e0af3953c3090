package listing

import "time"

// Type is what a name stands for.
type Type uint8

// The types. TypeUnknown is an entry whose kind the server did not tell; callers ask with MLST or SIZE.
const (
	TypeUnknown Type = iota
	TypeFile
	TypeDir
	TypeSymlink
	TypeOther // fifo, device, socket: shown, never opened
)

// Entry is what a server told about one name. Fields that it did not tell hold the value named in their comment.
type Entry struct {
	Name    string // last path element, raw bytes, never "." or ".."
	Type    Type
	Size    int64     // bytes; -1 unknown
	ModTime time.Time // UTC, whole seconds; zero unknown
	// Exact is false when ModTime came from a LIST line: minutes (or days) in a zone that may be guessed.
	Exact    bool
	Mode     uint32 // permission bits 07777, valid if HasMode
	HasMode  bool
	UID, GID int32 // -1 unknown
	Owner    string
	Group    string
	Perm     string // the perm fact of RFC 3659 section 7.5.5, "" unknown
	Target   string // where a symlink points, "" unknown
	Unique   string // the unique fact, "" unknown
}

// Listing is one folder as the server told it.
type Listing struct {
	Entries []Entry // sorted by Name (bytes), no duplicates
	// Truncated: the server cut the listing short (Pure-FTPd at 10,000 entries): no absence may be concluded from it.
	Truncated bool
	// Unparsed holds lines that could not be understood and could not be resolved otherwise, for the log.
	Unparsed []string
	Bytes    int64 // that it took on the line; 0: not known
}
