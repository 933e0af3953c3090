package fs

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// The kernel holds a lock of a process while it runs execve(2), closing descriptors included, and whoever reads its
// /proc/PID/stat or /proc/PID/fd waits for that lock, uninterruptibly. A close of a file of ours at that moment waits for us: to
// look on the way to the answer would be a deadlock. So such looks are made aside, few at a time, and one that
// takes longer than lookBound proves nothing.
const lookBound = 20 * time.Millisecond

var looks = make(chan struct{}, 8) // a place for each look under way

func aside(look func() bool) bool {
	select {
	case looks <- struct{}{}:
	default:
		return false
	}
	answer := make(chan bool, 1)
	go func() {
		defer func() { <-looks }()
		answer <- look()
	}()
	bound := time.NewTimer(lookBound)
	defer bound.Stop()
	select {
	case yes := <-answer:
		return yes
	case <-bound.C:
		return false
	}
}

// callerKilled looks at a thread in /proc. What cannot be read proves nothing (hidepid, another PID namespace).
func callerKilled(tid uint32) bool {
	if tid == 0 {
		return false
	}
	return aside(func() bool {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid)); err == nil && deadlyPending(status) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
		return err == nil && killedBySignal(stat)
	})
}

// holdsOpen reports whether the process of a thread has a descriptor open on a file of ours: its path there ends in the
// path within the mount. The links are only read: to follow one would be a request to ourselves. A false alarm
// costs nothing but the moment at which an empty file reaches the server.
func holdsOpen(tid uint32, path string) bool {
	return tid != 0 && aside(func() bool { return linksTo(fmt.Sprintf("/proc/%d/fd", tid), path) })
}

func linksTo(dir, path string) bool {
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
