package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/mountpoint"
	"github.com/ftpsfs/ftpsfs/fs/content"
)

// umountCommand is `ftpsfs umount [-l] MOUNTPOINT`: it returns when everything is on the server, the mount is gone and its
// process has ended.
func (p *program) umountCommand(args []string) error {
	flags := newFlags("umount")
	lazy := flags.BoolP("lazy", "l", false, "")
	args, err := parseFlags(flags, args, 1, 1, "ftpsfs umount [-l] MOUNTPOINT")
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	c, real, err := find(args[0])
	if err != nil {
		if real == "" {
			return err
		}
		return p.removeDead(args[0], real, *lazy)
	}
	if err := os.Chdir("/"); err != nil { // so as not to be what uses it
		return exitcode.NewSystem("leaving the working folder", err, "")
	}
	err = c.Unmount(ctx, *lazy, p.waiting())
	if ctx.Err() != nil {
		return exitcode.NewMount("interrupted, "+args[0]+" stays mounted", nil, "")
	}
	return err
}

// removeDead unmounts what no process of ours answers for.
func (p *program) removeDead(dir, real string, lazy bool) error {
	dead := errors.Is(mountpoint.Alive(real), syscall.ENOTCONN)
	err := mountpoint.Unmount(real, lazy || dead)
	if errors.Is(err, syscall.EBUSY) {
		return inUse(dir, real)
	}
	if err != nil {
		return exitcode.NewMount(dir+" cannot be unmounted", err, "")
	}
	return nil
}

// syncCommand is `ftpsfs sync MOUNTPOINT`.
func (p *program) syncCommand(args []string) error {
	args, err := parseFlags(newFlags("sync"), args, 1, 1, "ftpsfs sync MOUNTPOINT")
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	c, _, err := find(args[0])
	if err != nil {
		return err
	}
	err = c.Sync(ctx, p.waiting())
	if ctx.Err() != nil {
		return exitcode.NewMount("interrupted", nil, "")
	}
	return err
}

// waiting says what is waited for, when it changes.
func (p *program) waiting() func([]content.Status) {
	last := ""
	return func(list []content.Status) {
		if text := describe(list); text != last {
			last = text
			fmt.Fprintln(p.stderr, "ftpsfs: waiting for "+text)
		}
	}
}
