package fs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel holds a lock of a process while it runs execve(2), closing descriptors included, and whoever reads its
// /proc/PID/stat or /proc/PID/fd waits for that lock, uninterruptibly. A close of a file of ours at that moment waits for us: to
// look on the way to the answer would be a deadlock. So such looks are made aside, few at a time, and one that
// is not over within its bound, the wait for its turn included, proves nothing.
const (
	// lookBound is for looks at who makes the call.
	lookBound = 100 * time.Millisecond
	// parentBound is for looks at the descriptors of another process than the one that closes. That one is hardly ever in
	// execve(2) itself, so that a look is only as slow as the machine is busy.
	parentBound = time.Second
)

var looks = make(chan struct{}, 8) // a place for each look under way

func aside(within time.Duration, look func() bool) bool {
	bound := time.NewTimer(within)
	defer bound.Stop()
	select {
	case looks <- struct{}{}:
	case <-bound.C:
		return false
	}
	answer := make(chan bool, 1)
	go func() {
		defer func() { <-looks }()
		answer <- look()
	}()
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
	return aside(lookBound, func() bool {
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid)); err == nil && deadlyPending(status) {
			return true
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", tid))
		return err == nil && killedBySignal(stat)
	})
}

// holdsOpen reports whether the process of a thread has another descriptor of an open file of ours. The links in /proc
// are only read: to follow one would be a request to ourselves.
func holdsOpen(tid uint32, d description) bool {
	return tid != 0 && aside(lookBound, func() bool { return listsOpen(fmt.Sprintf("/proc/%d", tid), d) })
}

func listsOpen(proc string, d description) bool {
	fds, err := os.Open(proc + "/fd")
	if err != nil {
		return false
	}
	defer fds.Close()
	names, err := fds.Readdirnames(maxDescriptors)
	if err != nil {
		return false
	}
	for _, name := range names {
		target, err := os.Readlink(proc + "/fd/" + name)
		if err != nil || target != d.path {
			continue
		}
		if info, err := os.ReadFile(proc + "/fdinfo/" + name); err == nil && d.describes(info) {
			return true
		}
	}
	return false
}

// describes compares what the kernel says in fdinfo. The inode number is told since Linux 5.14.
func (d description) describes(fdinfo []byte) bool {
	same := false
	for line := range strings.Lines(string(fdinfo)) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch name {
		case "flags":
			flags, err := strconv.ParseUint(value, 8, 32)
			same = err == nil && flags&unix.O_PATH == 0 && access(openFlags(uint32(flags))) == d.as
		case "ino":
			if ino, err := strconv.ParseUint(value, 10, 64); err != nil || ino != d.ino {
				return false
			}
		}
	}
	return same
}

// maxDescriptors bounds the look at a process's descriptors: some tens of milliseconds.
const maxDescriptors = 1 << 14
