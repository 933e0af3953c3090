// Package daemon is everything about being a process: going to the background and reporting readiness from there, keeping
// secrets out of arguments, environment and core dumps, telling systemd, and writing a log.
//
// A mount in the background is two processes. The parent holds the terminal: it finds the password, starts the child in a
// session of its own and waits. The child mounts, and reports over a socket pair that it works, or in one line why not.
// Until then it may put questions to the parent's terminal.
package daemon
