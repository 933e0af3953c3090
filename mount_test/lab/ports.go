package lab

import (
	bytesOf "encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Ports are handed out in blocks below the range from which the kernel takes ports for outgoing connections. The
// first port of a block is the control port, the others are for data.
const (
	firstPort = 10000
	lastPort  = 32000
	blockSize = 200
)

// claimPorts takes a block that no other process on this machine has, until the test ends. The claim is a file lock,
// so it ends with the process however it dies.
func claimPorts(tb testing.TB, bind string) (control, low, high int) {
	tb.Helper()
	dir := filepath.Join(os.TempDir(), "ftpsfs-lab-ports")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatalf("lab: %v", err)
	}
	const blocks = (lastPort - firstPort) / blockSize
	for i := range blocks {
		base := firstPort + (os.Getpid()*7+i)%blocks*blockSize // processes start their search at different blocks
		lock, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(base)), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			tb.Fatalf("lab: %v", err)
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil || !allFree(bind, base) {
			lock.Close()
			continue
		}
		tb.Cleanup(func() { lock.Close() })
		return base, base + 1, base + blockSize - 1
	}
	tb.Fatalf("lab: all %d blocks of ports are taken", blocks)
	return 0, 0, 0
}

// allFree finds out whether programs that know nothing of our locks use a port of the block.
func allFree(bind string, base int) bool {
	for p := base; p < base+blockSize; p++ {
		l, err := net.Listen("tcp", net.JoinHostPort(bind, fmt.Sprint(p)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

// listening says whether a socket of this machine listens on a TCP port of host, by the kernel's tables: relays listen on the
// same port of other addresses.
func listening(host string, port int) bool {
	for table, addresses := range map[string][]string{
		"/proc/net/tcp":  {tableAddress(host), "00000000"},
		"/proc/net/tcp6": {""},
	} {
		sockets, _ := os.ReadFile(table) // no IPv6, no table
		for line := range strings.Lines(string(sockets)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != "0A" { // TCP_LISTEN
				continue
			}
			for _, a := range addresses {
				if strings.HasPrefix(f[1], a) && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
					return true
				}
			}
		}
	}
	return false
}

// tableAddress writes an IPv4 address as the kernel's table does: its bytes as a number of this machine.
func tableAddress(host string) string {
	ip := net.ParseIP(host).To4()
	if ip == nil {
		return "-" // only in the other table
	}
	return fmt.Sprintf("%08X", bytesOf.NativeEndian.Uint32(ip))
}
