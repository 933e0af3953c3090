//go:build linux

package wire_test

import (
	"bytes"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/wire"
)

// TestLine: what goes over the line arrives whole, and takes its time.
func TestLine(t *testing.T) {
	const delay = 15 * time.Millisecond
	l, err := wire.Start(t, delay)
	if err != nil {
		lab.Unavailable(t, "%v", err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(l.Here, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = c.Write(content) // what is missing is seen at the other end
			c.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	cmd := exec.Command(l.Inside()[0], append(l.Inside()[1:], "bash", "-c", `exec cat <"/dev/tcp/$0/$1"`, l.Here, port)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	got, rerr := io.ReadAll(out)
	if err := cmd.Wait(); err != nil || rerr != nil {
		t.Fatal(err, rerr)
	}
	if !bytes.Equal(got, content) {
		t.Errorf("%d bytes arrived, not those %d that were sent", len(got), len(content))
	}
	if took := time.Since(start); took < 6*delay { // connect, the first window, the next
		t.Errorf("a connection and a MiB took %v: there is no delay of %v", took, delay)
	}
	if n := l.Carried(); n < int64(len(content)/1500) {
		t.Errorf("%d packets for %d bytes: they went another way", n, len(content))
	}
}
