package fs

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inherited reports whether the process of the thread tid only closes what it got from its parent: the parent's thread writer
// was the last one that wrote or opened the file to write, and the parent still has the open file. That is what every program does that is started while
// another one writes (execve(2) closes descriptors): it says nothing about what was written.
func inherited(tid, writer uint32, d description) bool {
	return tid != 0 && writer != 0 && tid != writer && aside(parentBound, func() bool { return leftToParent(tid, writer, d) })
}

func leftToParent(tid, writer uint32, d description) bool {
	writing, closing := statusOf(writer)["Tgid"], statusOf(tid)
	return writing != 0 && closing["Tgid"] != writing && closing["PPid"] == writing &&
		listsOpen(fmt.Sprintf("/proc/%d", writing), d)
}

// statusOf gives the numbers that the kernel tells of a thread; what cannot be read is 0.
func statusOf(tid uint32) map[string]int {
	numbers := map[string]int{}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return numbers
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil {
			numbers[name] = n
		}
	}
	return numbers
}
