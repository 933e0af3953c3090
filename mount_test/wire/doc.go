// Package wire is a network line with a round trip between this machine and a network namespace beside it, for tests of
// what no loopback connection shows: data that is on its way while the other end closes, windows that grow, handshakes
// that wait.
//
// Each end of the line is a TUN device, and goroutines of the test carry every IP packet from one to the other after a
// delay. Nothing is lost and the order stays, so what TCP does on it is the kernel's own doing. It needs root, ip(8),
// nsenter(1) and /dev/net/tun, and no modules for shaping of traffic. Linux only.
//
// It imports nothing of the project.
package wire
