// Package content is what an open regular file holds: which bytes are on the server, in a stream or in a staging
// file, and how they get there. It knows no FUSE.
//
// A [File] is in one of three states:
//
//   - clean: the server has everything. Reads go through package reader.
//   - linear: the application writes in sequence. The last bytes are in a window in memory. A sender brings them to the
//     server behind the application's back, in one STOR or APPE, and sends some of them again after a cut. Up to
//     one chunk is collected before anything is sent, so a small file is one upload at its close, and may be changed
//     anywhere until then.
//   - staged: the application writes anywhere. A sparse local file holds what it wrote, over what the server has. The
//     upload appends the tail, writes ranges in place, or sends the whole; what is missing is fetched once, on the way.
//
// New content of an existing file is complete and verified under a temporary name before it is renamed over the old
// one. Where that cannot be, the old content is kept on the local disk while the new one is written over it. Temporary
// names are in the journal of package stage from before they exist until they are gone, so the next mount finishes or
// undoes what was broken off.
//
// Success of [Handle.Flush] and [Handle.Fsync] means that the server answered 226 and that its copy was verified. There
// is one exception: a Flush with more to come on a server that can continue no file (neither APPE nor REST + STOR)
// may put the upload off, because all would have to be sent for each of many flushes.
//
// An upload that failed leaves the content as it is, and the next flush tries again. What cannot be saved that way
// (bytes that were streamed, and are neither on the server nor in the window any more) is lost: every flush says so
// until the file is emptied or let go. What nobody can be told of any more goes to the recovery folder.
package content
