package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// FTP knows no free space. The figures are made up, large enough for no program to refuse to begin, and never change; a full
// disk is told by the write that meets it.
const (
	statfsBlock  = 4096
	statfsBlocks = 1 << 38 // 1 PiB
	statfsFiles  = 1 << 30
)

// Statfs implements statfs(2).
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	*out = fuse.StatfsOut{
		Bsize: statfsBlock, Frsize: statfsBlock, NameLen: maxName,
		Blocks: statfsBlocks, Bfree: statfsBlocks, Bavail: statfsBlocks,
		Files: statfsFiles, Ffree: statfsFiles,
	}
	return 0
}

var _ fusefs.NodeStatfser = (*node)(nil)
