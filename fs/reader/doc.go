// Package reader turns positioned reads into few downloads: one sequential stream with a window filled ahead, ranged
// reads after seeks. It knows no FUSE.
package reader
