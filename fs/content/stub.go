package content

import (
	"context"

	"github.com/ftpsfs/ftpsfs/pool"
)

// Store is all content of one mount that is open or not yet on the server. Its methods may be called concurrently.
type Store struct{ cfg Config }

// New makes a Store. It does not use the network.
func New(cfg Config) *Store { return &Store{cfg: cfg} }

// File gives the content of one inode. e is what the server told of it; created means that CREATE made it just now and
// the server knows nothing of it (e then holds the mode wanted, if HasMode, and nothing waits for the network). One File per inode in use; Close it when the
// inode has no handle left.
func (s *Store) File(n Name, e pool.Entry, created bool) *File { return nil }

// Pending lists the files with content that the server does not have yet.
func (s *Store) Pending() []Status { return nil }

// Sync returns nil when the server has all content that was written before the call, else the first error.
func (s *Store) Sync(ctx context.Context) error { return nil }

// Recover is called at mount, before the first File: it finishes, rolls back, or keeps in the recovery folder what an earlier run left.
// What it did is logged. An error means that the state folder could not be read; the mount may go on.
func (s *Store) Recover(ctx context.Context) error { return nil }

// IsTemp reports whether name (a last path element) is a temporary name of ftpsfs, of this mount or another: hidden from listings and lookups.
func (s *Store) IsTemp(name string) bool { return false }

// Rename is a rename under way, between BeforeRename and Done.
type Rename struct{}

// BeforeRename is called before the server is asked to rename from to to (a file, or a folder with everything below
// it). It puts what is open there into a state that survives the rename: a file that the server does not have yet is
// made there, streams are completed at their offset, an open file at to is kept readable. Until Done is called no
// operation of this package uses the names concerned. It may wait for the network. On an error nothing was changed, and
// Done must not be called.
func (s *Store) BeforeRename(ctx context.Context, from, to string) (*Rename, error) { return nil, nil }

// Done ends it: ok says whether the server did it. Names of files that moved must tell their new path by now, and the
// Name of an open file that was at to must tell that it is unlinked.
func (r *Rename) Done(ok bool) {}

// BeforeRmdir is called before the server is asked to remove the folder dir: hidden leftovers of files that were
// unlinked while open are moved out of it.
func (s *Store) BeforeRmdir(ctx context.Context, dir string) error { return nil }

// Stats gives gauges and counters.
func (s *Store) Stats() Stats { return Stats{} }

// Close is called once at unmount, when no handle is in use any more: it ends all transfers. Content that is not on the server by
// now (see Sync) goes to the recovery folder.
func (s *Store) Close(ctx context.Context) error { return nil }

// File is the content of one regular file that is open. Operations on one File happen in the order of the calls.
type File struct{}

// Open makes a handle. With Truncate the file is empty from here on (the server learns of it with the first flush or
// write). It waits for the network only if another handle's stream must be ended first.
func (f *File) Open(ctx context.Context, flags OpenFlags) (*Handle, error) { return nil, nil }

// Entry gives size, mtime and mode as applications must see them now. It never waits.
func (f *File) Entry() pool.Entry { return pool.Entry{} }

// Clean reports whether the server has everything, so that what it says (Revalidate) is the truth. It never waits.
func (f *File) Clean() bool { return true }

// Truncate is ftruncate(2) and truncate(2). Without an open handle for writing it returns when the server has the
// result; with one, the next flush of it brings it there.
func (f *File) Truncate(ctx context.Context, size int64) error { return nil }

// SetAttrs sets mode and mtime: on the server now, or together with the upload that is pending.
func (f *File) SetAttrs(ctx context.Context, a pool.Attrs) error { return nil }

// Revalidate takes what the server says of the path now (at open, from a listing). changed means that another host
// replaced the content: cached pages must go, and open streams give KindChanged. What the server says of a file with
// pending content is ignored.
func (f *File) Revalidate(e pool.Entry) (changed bool) { return false }

// Unlink is called before the server is asked to remove the file. handled means that it is done: the name is free on the
// server (content that open handles need is kept under a hidden name, or locally) and no request must be sent. Otherwise
// remove it as any file. The Name must tell that it is unlinked when Unlink was successful, from the moment it returns.
func (f *File) Unlink(ctx context.Context) (handled bool, err error) { return false, nil }

// Close ends the File; no handle may be in use. Pending content (none, unless an upload failed) goes to the recovery folder.
func (f *File) Close() {}

// Handle is one open file description. Its methods may be called concurrently.
type Handle struct{}

// ReadAt reads as io.ReaderAt: fewer bytes than asked for only together with io.EOF or another error.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, nil }

// WriteAt writes all of p, or fails. p is not kept. With Append, off is ignored. ctx ends only waits, never a transfer
// that others share.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, nil }

// Flush is one close(2) of a descriptor: nil means that the server has everything written so far, verified. Without new
// data it costs nothing. moreToCome is a hint that the caller holds another descriptor of this handle (a shell's
// redirection): then a file that is only created or truncated, and has no byte yet, is not sent for it.
func (h *Handle) Flush(ctx context.Context, moreToCome bool) error { return nil }

// Fsync is fsync(2) and fdatasync(2): as Flush, and a created or truncated file without a byte is always sent.
func (h *Handle) Fsync(ctx context.Context) error { return nil }

// Release ends the handle: data that came after the last Flush (mmap) is sent, or kept in the recovery folder and logged.
func (h *Handle) Release() {}
