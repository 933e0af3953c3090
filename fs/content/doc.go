// Package content is what an open regular file holds: which bytes are on the server, in a stream or in a staging
// file, and how they get there. It knows no FUSE.
package content
