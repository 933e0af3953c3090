package main

import (
	"errors"
	"strings"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/trust"
)

// explain makes the one line of a connection that did not come about: the URL, what happened, and what to do about it. Most
// advice comes from below, where more is known; here is what is left.
func explain(o options.Options, err error) error {
	var coded *exitcode.Error
	if errors.As(err, &coded) {
		return err
	}
	what := "cannot mount " + o.Target.String()
	var te *trust.Error
	if errors.As(err, &te) && te.Reason == trust.ReasonConfig {
		return exitcode.NewUsage(te.Error(), "")
	}
	var pe *pool.Error
	if !errors.As(err, &pe) {
		return exitcode.NewMount(what, err, "")
	}
	todo := pe.Advice
	if todo == "" && te == nil {
		todo = adviceFor(pe.Kind)
	}
	if strings.Contains(err.Error(), todo) {
		todo = ""
	}
	return exitcode.NewMount(what, err, todo)
}

// adviceFor says what a user can do about a kind of failure when nothing more is known.
func adviceFor(k pool.Kind) string {
	switch k {
	case pool.KindAuth:
		return "check the user name and the password; `ftpsfs help` says where passwords are looked for"
	case pool.KindTrust:
		return "run `ftpsfs check` on the URL to see the certificate"
	case pool.KindTLSPolicy:
		return "run `ftpsfs check` on the URL to see what the server offers"
	case pool.KindNetwork:
		return "check the host, the port and the network"
	case pool.KindTimeout:
		return "check the host, the port and the firewall, or raise connect_timeout"
	case pool.KindLimit:
		return "the server takes no more connections: end others, or try again later"
	case pool.KindNotFound, pool.KindNotDir:
		return "check the path in the URL; a path is relative to the login folder unless it begins with //"
	case pool.KindProtocol:
		return "check the port: what answers there does not speak FTP"
	}
	return ""
}

// mountAdvice is for what the kernel or fusermount3 said.
func mountAdvice(err error) string {
	s := err.Error()
	switch {
	case strings.Contains(s, "user_allow_other"):
		return "have root write user_allow_other into /etc/fuse.conf, or leave allow_other out"
	case strings.Contains(s, "executable file not found"), strings.Contains(s, "no FUSE mount utility"):
		return "install the package fuse3"
	case strings.Contains(s, "/dev/fuse"):
		return "load the kernel module fuse, or give the container access to /dev/fuse"
	}
	return ""
}
