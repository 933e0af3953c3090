//go:build !linux

package fs

// callerKilled cannot tell without /proc: the caller waits, within the bounds that every operation has.
func callerKilled(uint32) bool { return false }

// holdsOpen cannot tell without /proc.
func holdsOpen(uint32, description) bool { return false }

// inherited cannot tell without /proc.
func inherited(uint32, uint32, description) bool { return false }
