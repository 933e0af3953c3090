package wire

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Line is a line from here to a network namespace. It belongs to one test.
type Line struct {
	Here, There string // IPv4 addresses of the two ends

	namespace string
	ends      [2]*os.File // TUN devices: here, there
	carriers  sync.WaitGroup
	carried   atomic.Int64
}

var lines atomic.Int32

// Start makes the namespace and a line whose round trip takes twice delay. Both go when the test ends. The error says
// what the machine lacks.
func Start(tb testing.TB, delay time.Duration) (*Line, error) {
	tb.Helper()
	id := fmt.Sprintf("%dx%d", os.Getpid(), lines.Add(1))
	l := &Line{namespace: "ftpsfs-" + id}
	l.Here, l.There = addresses(os.Getpid()*64 + int(lines.Load()))
	if err := run("ip", "netns", "add", l.namespace); err != nil {
		return nil, err
	}
	tb.Cleanup(func() {
		if err := run("ip", "netns", "del", l.namespace); err != nil {
			tb.Errorf("wire: %v", err)
		}
	})
	names := [2]string{"wh" + id, "wt" + id}
	for i, name := range names {
		f, err := openTUN(name)
		if err != nil {
			l.close()
			return nil, err
		}
		l.ends[i] = f
	}
	if err := l.configure(names); err != nil {
		l.close()
		return nil, err
	}
	l.carriers.Go(func() { l.carry(l.ends[0], l.ends[1], delay) })
	l.carriers.Go(func() { l.carry(l.ends[1], l.ends[0], delay) })
	tb.Cleanup(l.close)
	return l, nil
}

// addresses gives the two ends of a line a network of four addresses of their own, among those for tests (RFC 2544).
func addresses(n int) (here, there string) {
	n = n % (1 << 14) * 4
	return fmt.Sprintf("198.19.%d.%d", n>>8, n&255+1), fmt.Sprintf("198.19.%d.%d", n>>8, n&255+2)
}

// Inside is the program that runs another one at the far end, with its arguments.
func (l *Line) Inside() []string { return []string{"nsenter", "--net=/run/netns/" + l.namespace} }

// Carried is the number of packets that arrived so far, both ways together.
func (l *Line) Carried() int64 { return l.carried.Load() }

// close ends the line. A device goes with its last descriptor.
func (l *Line) close() {
	for _, end := range l.ends {
		if end != nil {
			end.Close()
		}
	}
	l.carriers.Wait()
}

// openTUN makes a device of this name and gives its far side: what the kernel sends there is read from the file, a packet a
// call, and what is written arrives there.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// configure moves the second device into the namespace and gives both their addresses. Their queues are long, so that nothing
// is lost when this process does not run for a while.
func (l *Line) configure(devices [2]string) error {
	here, there := []string{"ip"}, []string{"ip", "-n", l.namespace}
	for _, step := range [][]string{
		append(here, "link", "set", devices[1], "netns", l.namespace),
		append(here, "addr", "add", l.Here+"/30", "dev", devices[0]),
		append(here, "link", "set", devices[0], "txqueuelen", "10000", "up"),
		append(there, "link", "set", "lo", "up"),
		append(there, "addr", "add", l.There+"/30", "dev", devices[1]),
		append(there, "link", "set", devices[1], "txqueuelen", "10000", "up"),
	} {
		if err := run(step[0], step[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// packet is one that is on its way.
type packet struct {
	due  time.Time
	data []byte
}

// mostUnderWay is how many packets of 1,500 bytes a direction holds. More stay in the queue of the device.
const mostUnderWay = 8192

// carry hands packets on when they are due, in order, until from is closed.
func (l *Line) carry(from, to *os.File, delay time.Duration) {
	under := make(chan packet, mostUnderWay)
	l.carriers.Go(func() {
		for p := range under {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err == nil { // else the line ends, or the far end is not up yet
				l.carried.Add(1)
			}
		}
	})
	defer close(under)
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		under <- packet{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}
	}
}

func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
