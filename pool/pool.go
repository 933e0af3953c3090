package pool

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/listing"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// Entry, Listing and the types of entries are the ones of package listing, under the name that the rooms above use.
type (
	Entry   = listing.Entry
	Listing = listing.Listing
	Type    = listing.Type
)

// The types of entries.
const (
	TypeUnknown = listing.TypeUnknown
	TypeFile    = listing.TypeFile
	TypeDir     = listing.TypeDir
	TypeSymlink = listing.TypeSymlink
	TypeOther   = listing.TypeOther
)

// Config is what a pool needs to know.
type Config struct {
	Session  session.Config // host, port, TLS, credentials, time-outs: how one connection is made
	Root     string         // path of the URL; "" or relative: below the folder that the server logs us in to
	MaxConns int            // most connections at a time, at least 1; the server may teach less
	Timeout  time.Duration  // no progress for this long, retries included, ends an operation
	Verify   Verify         // what Finish compares after an upload
	ReadOnly bool           // never try anything that writes, probes included
	// RawTargets leaves the targets of symlinks as the server tells them.
	RawTargets bool
	// LearnedFile keeps what was found out about this server between mounts; "" keeps it in memory.
	LearnedFile string
	Log         *slog.Logger
}

// Verify says what is compared with the server's copy before an upload counts.
type Verify uint8

// The ways to verify.
const (
	VerifySize Verify = iota
	VerifyHash
	VerifyNone
)

// Attrs are attributes to set; nil fields are left alone.
type Attrs struct {
	Mode    *uint32    // permission bits 0777
	ModTime *time.Time // whole seconds go to the server, fractions are cut
}

// StatResult is one answer of StatMany.
type StatResult struct {
	Entry Entry
	Err   error
}

// DownloadOptions says which bytes of a file are wanted.
type DownloadOptions struct {
	Offset int64
	Length int64 // -1: to the end
	// Size is the size of the file as the caller knows it, -1 unknown. With it a transfer that ends early is
	// known to be incomplete even where TLS was not closed properly.
	Size int64
	// OnPressure is called at most once, from a goroutine of the pool, when somebody waits for a connection and
	// none is left: close the download as soon as nobody pulls it and come back with an offset. May be nil.
	OnPressure func()
	// OnBegin is called, if not nil, each time that the download has got a connection, before anything is sent on it.
	OnBegin func()
	// Expect, if not nil, is what the file was when it was opened. Its size and time are asked in the flight of the RETR, which
	// costs no round trip (before it, where the server has neither MDTM and SIZE nor MLST); another answer is KindChanged.
	Expect *Entry
	// Background marks speculation (what nobody asked for yet): it waits until a connection can be spared, and is the first to be put
	// under pressure.
	Background bool
	// Ahead says of a Background download how many bytes the reader has to go until Offset: of those that wait the nearest goes first.
	Ahead int64
}

// Download is one RETR under way. It belongs to one goroutine, only Close may be called from another: it ends a Read.
type Download interface {
	// Read gives io.EOF only when the range is complete: length reached, or close_notify and a final 226. A transfer
	// that ended early gives a *Error of KindIncomplete or KindNetwork.
	io.Reader
	// Close gives the connection back: in step when the range was read to its end, otherwise the transfer is cut off
	// (the data channel is reset, the final reply read under a short deadline in the background). Idempotent.
	io.Closer
}

// UploadMode says where the bytes go.
type UploadMode uint8

// The modes.
const (
	UploadStore  UploadMode = iota // STOR: creates, or truncates and replaces in place
	UploadAppend                   // APPE
	UploadAt                       // REST Offset + STOR: goes on at Offset and keeps what is before (and, on servers seen to do so, after)
)

// UploadOptions says how an upload starts.
type UploadOptions struct {
	Mode       UploadMode
	Offset     int64  // for UploadAt; for UploadAppend the size that the file has, 0: not known
	OnPressure func() // as in DownloadOptions: finish at your offset and come back
}

// Finish says what Upload.Finish does after the server's 226, all of it in one flight.
type Finish struct {
	Size  int64  // size that the whole file must now have on the server; -1 unknown
	Attrs Attrs  // applied after the content; failures come back in FinishResult.AttrsErr, not as the upload's failure
	Sum   []byte // SHA-256 of the whole file for VerifyHash, nil when it is not known
	// KeepConn hints that another transfer follows at once.
	KeepConn bool
}

// FinishResult is what is on the server after a finished upload.
type FinishResult struct {
	Entry    Entry // size and mtime as the server tells them
	Verified bool  // false with VerifyNone, or when the server could not tell
	AttrsErr error // the attributes could not be set (KindUnsupported: it cannot at all)
}

// Upload is one STOR or APPE under way. It belongs to one goroutine, only Abort may be called from another.
type Upload interface {
	io.Writer // blocks at the speed of the line; an error is final
	// Finish ends the data (TLS close_notify, FIN, drain), reads the final reply, verifies, sets attributes and gives the
	// connection back. nil means: the server has every byte. Must be called once, unless Abort was.
	Finish(ctx context.Context, f Finish) (FinishResult, error)
	// Abort cuts the transfer off and gives up the connection; what the server keeps of it is unknown. Idempotent, no-op after Finish.
	Abort()
	// Sent is the number of bytes handed to the transport so far.
	Sent() int64
}

// Capability is something that servers differ in and do not all announce.
type Capability uint8

// The capabilities that rooms above ask for. The answer is learned when it is first needed, remembered per server.
const (
	CapAppend        Capability = iota // APPE on an existing file
	CapResumeStore                     // REST n + STOR goes on at n of an existing file (tail: see CapKeepsTail)
	CapKeepsTail                       // REST n + STOR leaves the bytes after what was sent
	CapRenameReplace                   // RNTO over an existing file replaces it
	CapSetModTime                      // file mtime can be set
	CapSetDirModTime                   // folder mtime can be set
	CapChmod                           // SITE CHMOD or MFF
	CapSymlink                         // SITE SYMLINK
	CapExactTimes                      // listings carry exact times (MLSD)
	CapVerify                          // SIZE or MLST tells what is there
	CapRenameOverDir                   // RNTO of a folder over an empty folder replaces it
	CapFoldsCase                       // names that differ in the case of letters alone are one name
)
