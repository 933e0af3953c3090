//go:build !linux

package session

import (
	"net"
	"time"
)

// setUserTimeout has no counterpart here; our own bounds and TCP keep-alive remain.
func setUserTimeout(*net.TCPConn, time.Duration) {}

// unsent is not known here.
func unsent(net.Conn) int { return 0 }

// flown is not known here.
func flown(net.Conn) bool { return false }
