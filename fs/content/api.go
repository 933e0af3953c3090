package content

import (
	"context"
	"log/slog"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/fs/reader"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Remote is what this package needs of the server. *pool.Pool is one.
type Remote interface {
	Stat(ctx context.Context, path string) (pool.Entry, error)
	Remove(ctx context.Context, path string) error
	Rename(ctx context.Context, from, to string) error
	SetAttrs(ctx context.Context, path string, isDir bool, a pool.Attrs) error
	Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error)
	Upload(ctx context.Context, path string, o pool.UploadOptions) (pool.Upload, error)
	Can(ctx context.Context, c pool.Capability, probeDir string) (bool, error)
	MaxConnections() int
}

// Meta is told of changes that this package made on the server. *cache.Cache is one. Its methods never wait for the
// network.
type Meta interface {
	Changed(path string, e pool.Entry)
	Removed(path string)
	Renamed(from, to string)
	Forget(path string)
}

// Name is the current place of a file; the node tree of fs is behind it. It may change between two calls. Path is
// called with locks of this package held and must not call back into it.
type Name interface {
	// Path gives the path within the mount, and false when the file was unlinked.
	Path() (path string, linked bool)
}

// Replace says how an existing file gets new content.
type Replace uint8

// The ways: beside it and renamed over when verified, or in place.
const (
	ReplaceRename Replace = iota
	ReplaceInPlace
)

// Config is what a Store is made of. Remote and Blocks are required, Stage too unless ReadOnly.
type Config struct {
	Remote  Remote
	Meta    Meta // nil: nobody is told
	Stage   *stage.Store
	Blocks  *blocks.Store
	Replace Replace
	Verify  pool.Verify // VerifyHash: the digest of every upload is computed while it is sent
	MountID string      // 8 lower-case hex digits, in the names of temporary files; "" makes one up
	// ReadOnly: nothing is ever written; writes give KindReadOnly.
	ReadOnly bool
	// ReplayBytes is what one stream keeps in memory of what it sent, 0: 16 MiB. The budget of Blocks bounds all together.
	ReplayBytes int64
	Log         *slog.Logger     // nil: slog.Default
	Now         func() time.Time // nil: time.Now
}

// OpenFlags are what an application asked for in open(2).
type OpenFlags struct {
	Read, Write, Append, Truncate bool
}

// Status of one file with content that the server does not have yet, for `ftpsfs status` and umount's messages.
type Status struct {
	Path    string    `json:"path"`
	State   string    `json:"state"`   // "streaming", "staged", "uploading"
	Pending int64     `json:"pending"` // bytes that the server has not confirmed
	Since   time.Time `json:"since"`
	Err     string    `json:"err,omitempty"`
}

// Stats are gauges and counters. All gauges are zero when no file is open and nothing is pending.
type Stats struct {
	Files     int64 `json:"files"`     // gauge: Files not yet closed
	Handles   int64 `json:"handles"`   // gauge: Handles not yet released
	Streams   int64 `json:"streams"`   // gauge: uploads that hold a connection
	Staged    int64 `json:"staged"`    // gauge: Files with a staging file
	Temps     int64 `json:"temps"`     // gauge: temporary and hidden names that exist on the server
	Uploads   int64 `json:"uploads"`   // uploads finished and verified
	Replaced  int64 `json:"replaced"`  // files whose content was renamed over
	Resumed   int64 `json:"resumed"`   // uploads that went on after a cut or a suspension
	Recovered int64 `json:"recovered"` // files put into the recovery folder
	BytesSent int64 `json:"bytes_sent"`

	Line reader.LineStats `json:"line"` // large files read by several flows
}
