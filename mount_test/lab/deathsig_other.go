//go:build !linux

package lab

import "syscall"

// DieWithParent makes a program the leader of a group of its own. Only Linux can end it with its parent.
func DieWithParent(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
