//go:build !race

package blocks

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mapMemory takes the memory of one chunk from the system.
func mapMemory() ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, ChunkSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for file data: %w", err)
	}
	return mem, nil
}

// unmapMemory gives it back. The only possible error is that mem is not what mapMemory gave.
func unmapMemory(mem []byte) { _ = unix.Munmap(mem) }
