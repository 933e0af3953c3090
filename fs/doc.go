// Package fs is the file system as the kernel sees it: the go-fuse node tree, handles, and the one table from
// pool.Kind to errno. Only this package knows go-fuse.
//
// It owns names (which node is where, across renames and unlinks), the answers about attributes, the order of changes in
// one folder, kernel notifications, and the decision when a waiting caller may be let go. What is in a file belongs
// to fs/content, what the server said of names to cache, how it is asked to pool.
//
// Locks, outermost first: moves (no folder is renamed while a path is in use, held across the network), dirState.changes (one
// change of names per folder, held across the network), fileState.mu (whether the content of one file is in use), names.mu
// (leaf: content asks for names with its own locks held).
// go-fuse's own locks are never held when it calls us, and its notifications are sent from one goroutine without any lock.
package fs
