package daemon

import (
	"net"
	"os"
	"strings"
)

// Notify tells systemd a state of this service, if systemd asked to be told (sd_notify(3)). Errors are left alone: there is
// nothing that a mount could do about them.
func Notify(lines ...string) {
	addr := os.Getenv("NOTIFY_SOCKET")
	if addr == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(strings.Join(lines, "\n")))
}
