package lab

import "syscall"

// DieWithParent makes a program the leader of a group of its own, to which the kernel sends sig when the thread that
// started it ends: whoever starts the program keeps that thread.
func DieWithParent(sig syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: sig}
}
