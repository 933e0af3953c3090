package fs

import (
	"fmt"
	"os"
	"strings"
)

// callerKilled looks at a thread in /proc. What cannot be read proves nothing (hidepid, another PID namespace).
func callerKilled(tid uint32) bool {
	if tid == 0 {
		return false
	}
	if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid)); err == nil && deadlyPending(status) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
	return err == nil && killedBySignal(stat)
}

// holdsOpen reports whether the process of a thread has a descriptor open on a file of ours: its path there ends in the
// path within the mount. The links are only read: to follow one would be a request to ourselves. A false alarm
// costs nothing but the moment at which an empty file reaches the server.
func holdsOpen(tid uint32, path string) bool {
	if tid == 0 {
		return false
	}
	dir := fmt.Sprintf("/proc/%d/fd", tid)
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer d.Close()
	names, err := d.Readdirnames(maxDescriptors)
	if err != nil {
		return false
	}
	for _, name := range names {
		if target, err := os.Readlink(dir + "/" + name); err == nil && strings.HasSuffix(target, path) {
			return true
		}
	}
	return false
}

// maxDescriptors bounds the look at a caller's descriptors.
const maxDescriptors = 1024
