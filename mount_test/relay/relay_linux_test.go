package relay_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// A reset is one, whoever has copies of the relay's descriptors: a program that is being started has, until it runs.
func TestResetThatCopiesOutlive(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, server := e.dial(t)
	send(t, client, "here")
	expect(t, server, "here")
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	copies := 0
	for _, d := range open {
		fd, err := strconv.Atoi(d.Name())
		if to, lerr := os.Readlink(filepath.Join("/proc/self/fd", d.Name())); err != nil || lerr != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		twin, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		copies++
		t.Cleanup(func() { unix.Close(twin) })
	}
	if copies < 5 { // both ends, the relay's two between, and who listens
		t.Fatalf("%d sockets found", copies)
	}
	e.relay.ResetAll(relay.Any)
	for _, end := range []*net.TCPConn{client, server} {
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v, want a reset", err)
		}
	}
}
