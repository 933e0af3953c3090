// Package fs is the file system as the kernel sees it: the go-fuse node tree, handles, and the one table from
// pool.Kind to errno. Only this package knows go-fuse.
package fs
