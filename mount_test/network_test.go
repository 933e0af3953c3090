//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// Addresses of a network for tests (RFC 2544), and the name of its server.
const (
	serverSide  = "198.18.77.1"
	clientSide  = "198.18.77.2"
	clientMoved = "198.18.77.3" // where the client is in another network
	serverMoved = "198.18.77.4"
	serverName  = "ftps.test"
)

// wires is a network namespace that a mount runs in, with a real link between it and the server.
type wires struct {
	t           *testing.T
	ns, in, out string // namespace, and the two ends of the link
	hosts       string // file with the names that the mount resolves
}

var networks atomic.Int32

// newWires makes the namespace and the link. Only the long run does: it needs CAP_SYS_ADMIN over the network and nftables.
func newWires(t *testing.T) *wires {
	t.Helper()
	if !long {
		t.Skip("a network of its own: in the long run")
	}
	for _, program := range []string{"ip", "nft", "unshare", "nsenter"} {
		tool(t, program)
	}
	clearWires(t)
	id := fmt.Sprintf("%dx%d", os.Getpid(), networks.Add(1))
	w := &wires{t: t, ns: "ftpsfs" + id, in: "fi" + id, out: "fo" + id}
	w.run("ip", "netns", "add", w.ns)
	t.Cleanup(func() { w.run("ip", "netns", "del", w.ns) })
	w.run("ip", "link", "add", w.out, "type", "veth", "peer", "name", w.in, "netns", w.ns)
	t.Cleanup(func() { w.run("ip", "link", "del", w.out) }) // the namespace goes when the last process in it has ended
	w.run("ip", "addr", "add", serverSide+"/24", "dev", w.out)
	// Packets as a real line has them: without this, one that is lost would be 64 KiB.
	w.run("ip", "link", "set", w.out, "gso_max_size", "1500", "gso_max_segs", "1", "up")
	w.inside("ip", "link", "set", "lo", "up")
	w.inside("ip", "link", "set", w.in, "gso_max_size", "1500", "gso_max_segs", "1", "up")
	w.inside("ip", "addr", "add", clientSide+"/24", "dev", w.in)
	dir := lab.Folder(t, "ftpsfs-names-")
	w.hosts = filepath.Join(dir, "hosts")
	w.named(serverSide)
	return w
}

// clearWires removes the links of runs that were killed: their addresses are ours.
func clearWires(t *testing.T) {
	links, err := net.Interfaces()
	must(t, err)
	for _, l := range links {
		var pid, n int
		if _, err := fmt.Sscanf(l.Name, "fo%dx%d", &pid, &n); err == nil && absent(fmt.Sprintf("/proc/%d", pid)) {
			runTool(t, "/", "ip", "link", "del", l.Name)
		}
	}
}

func (w *wires) run(name string, args ...string) { runTool(w.t, "/", name, args...) }

// inside runs a program in the namespace.
func (w *wires) inside(args ...string) {
	w.run("nsenter", append([]string{"--net=/run/netns/" + w.ns}, args...)...)
}

// named says which address the server's name has from now on.
func (w *wires) named(address string) {
	must(w.t, os.WriteFile(w.hosts, []byte(address+" "+serverName+"\n"), 0o644))
}

// loses drops so many of a thousand packets, each way.
func (w *wires) loses(perMille int) {
	w.rules(fmt.Sprintf(`
chain in {
	type filter hook input priority 0
	numgen random mod 1000 <= %[1]d drop
}
chain out {
	type filter hook output priority 0
	numgen random mod 1000 <= %[1]d drop
}`, perMille-1))
}

// silent loses everything.
func (w *wires) silent() { w.loses(1000) }

// whole ends the losses.
func (w *wires) whole() { w.rules("") }

func (w *wires) rules(chains string) {
	w.inside("nft", "add table inet lossy\ndelete table inet lossy\ntable inet lossy {"+chains+"\n}")
}

// mount mounts the server by its name, in the namespace, where the host's name is looked up in a file of the test's.
func (w *wires) mount(s *lab.Server, options ...string) *mnt {
	w.t.Helper()
	// The mount point must be seen by the test too, and the file of names by the mount alone: so only the mount of the root
	// folder becomes private, and the folder of mount points is one of its own that stays shared.
	shared := lab.Folder(w.t, "ftpsfs-shared-")
	w.run("mount", "--bind", shared, shared)
	w.t.Cleanup(func() { w.run("umount", shared) })
	w.run("mount", "--make-shared", shared)
	dir := filepath.Join(shared, "mnt")
	must(w.t, os.Mkdir(dir, 0o755))
	script := `mount --make-private / && mount --bind "$0" /etc/hosts && exec "$@"`
	by := []string{"nsenter", "--net=/run/netns/" + w.ns, "unshare", "-m", "--propagation", "unchanged", "sh", "-c", script, w.hosts}
	m := mountBy(w.t, by, dir, s, s.URLVia(serverName), options...)
	m.ghosts = true
	return m
}

// start runs a server that knows several addresses.
func (w *wires) start(kind lab.Kind) *lab.Server {
	return lab.Start(w.t, lab.Options{Kind: kind, Bind: "0.0.0.0"})
}

// works writes and reads until it succeeds, and checks that this comes in time.
func works(t *testing.T, m *mnt, n int, bound time.Duration) {
	t.Helper()
	name, content := fmt.Sprint("again-", n), randomBytes(uint64(n), 50_000)
	start := time.Now()
	for tries := 1; ; tries++ {
		err := os.WriteFile(m.path(name), content, 0o644)
		if err == nil {
			t.Logf("works after %v, %d tries", time.Since(start).Round(10*time.Millisecond), tries)
			onServer(t, m.server, name, content)
			return
		}
		if !told(err) || time.Since(start) > bound {
			t.Fatalf("after %v and %d tries: %v", time.Since(start), tries, err)
		}
	}
}

// goesOn uses a file that was open when the network changed. A connection that died without a word is noticed by the time-out of
// its use: the program may be told then, and goes on where it was a moment later.
func goesOn(t *testing.T, what string, bound time.Duration, p []byte, use func([]byte) (int, error)) {
	t.Helper()
	start, first := time.Now(), time.Time{}
	for {
		n, err := use(p)
		if p = p[n:]; err == nil {
			return
		}
		switch {
		case first.IsZero() && told(err) && time.Since(start) < bound:
			first = time.Now()
			t.Logf("%s: %v after %v", what, err, time.Since(start).Round(time.Millisecond))
		case !told(err) || time.Since(first) > grace:
			t.Fatalf("%s: %v after %v", what, err, time.Since(start).Round(time.Millisecond))
		}
		time.Sleep(20 * time.Millisecond) // as somebody would who tries again
	}
}

const lossySize = 12 << 20

// TestPacketLoss: a line that loses one packet in a hundred, and five, is slow and nothing else.
func TestPacketLoss(t *testing.T) {
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			w := newWires(t)
			s := w.start(kind)
			for i := range 2 {
				serve(t, s, fmt.Sprint("served", i), randomBytes(uint64(i), lossySize))
				makeServed(t, s, fmt.Sprint("many", i))
				for j := range 2000 { // more than the first flight of a connection
					serve(t, s, fmt.Sprintf("many%d/a-name-of-some-length-%d", i, j), nil)
				}
			}
			m := w.mount(s)
			for i, perMille := range []int{10, 50} {
				t.Run(fmt.Sprintf("%d per mille", perMille), func(t *testing.T) {
					w.loses(perMille)
					defer w.whole()
					start := time.Now()
					mixed(t, m, uint64(i))
					if names, err := os.ReadDir(m.path(fmt.Sprint("many", i))); err != nil || len(names) != 2000 {
						t.Errorf("%d names of 2000, %v", len(names), err)
					}
					t.Logf("took %v", time.Since(start).Round(time.Millisecond))
				})
			}
		})
	}
}

// mixed does what programs do, and wants all of it to succeed and to be right.
func mixed(t *testing.T, m *mnt, seed uint64) {
	t.Helper()
	dir := fmt.Sprint("d", seed)
	must(t, os.Mkdir(m.path(dir), 0o755))
	large := randomBytes(seed, lossySize)
	must(t, os.WriteFile(m.path(dir, "large"), large, 0o644))
	onServer(t, m.server, dir+"/large", large)
	got, err := os.ReadFile(m.path(fmt.Sprint("served", seed)))
	if err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes read, %v", len(got), err)
	}
	for i := range 60 {
		name := fmt.Sprint(dir, "/f", i)
		content := randomBytes(seed+uint64(i), rand.IntN(30_000))
		must(t, os.WriteFile(m.path(name), content, 0o644))
		must(t, os.Rename(m.path(name), m.path(name+"x")))
		onServer(t, m.server, name+"x", content)
	}
	names, err := os.ReadDir(m.path(dir))
	if err != nil || len(names) != 61 {
		t.Errorf("%d names, %v", len(names), err)
	}
	must(t, os.RemoveAll(m.path(dir)))
}

// TestNetworkSwitch: the link goes down and up, the client gets another address, the machine sleeps, the server's name gets
// another address. Open files go on where they were; the mount works within seconds.
func TestNetworkSwitch(t *testing.T) {
	const timeout = 10 * time.Second
	w := newWires(t)
	s := w.start(lab.ProFTPD)
	content := randomBytes(61, 24<<20)
	for i := range 6 {
		serve(t, s, fmt.Sprint("served", i), content)
	}
	m := w.mount(s, "timeout="+timeout.String())
	m.keeps = true
	m.limit(10 * time.Minute)
	address := clientSide
	moveTo := func(to string) { // the old connections hear nothing more
		w.inside("ip", "addr", "del", address+"/24", "dev", w.in)
		w.inside("ip", "addr", "add", to+"/24", "dev", w.in)
		address = to
	}
	for i, scene := range []struct {
		name   string
		happen func()
		bound  time.Duration // until the mount works
	}{
		{"link down and up", func() {
			w.inside("ip", "link", "set", w.in, "down")
			time.Sleep(7 * time.Second)
			w.inside("ip", "link", "set", w.in, "up")
		}, grace},
		{"everything lost for longer than timeout", func() {
			w.silent()
			time.Sleep(timeout + 4*time.Second)
			w.whole()
		}, grace},
		{"another address of the client", func() { moveTo(clientMoved) }, timeout + grace},
		{"a sleep, and another network", func() {
			moveTo(clientSide)
			// Nothing may be started meanwhile: a new process first closes its copies of the test's files, and waits for that.
			must(t, m.cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(45 * time.Second)
			must(t, m.cmd.Process.Signal(syscall.SIGCONT))
		}, timeout + grace},
		{"another address of the server", func() {
			w.named(serverMoved)
			w.run("ip", "addr", "del", serverSide+"/24", "dev", w.out)
			w.run("ip", "addr", "add", serverMoved+"/24", "dev", w.out)
		}, timeout + grace},
	} {
		t.Run(scene.name, func(t *testing.T) {
			r, err := os.Open(m.path(fmt.Sprint("served", i)))
			must(t, err)
			defer r.Close()
			got := make([]byte, len(content))
			_, err = io.ReadFull(r, got[:1<<20])
			must(t, err)
			out, err := os.Create(m.path(fmt.Sprint("written", i)))
			must(t, err)
			defer out.Close()
			_, err = out.Write(content[:3<<20])
			must(t, err)
			scene.happen()
			works(t, m, i, scene.bound)
			goesOn(t, "read", timeout+grace, got[1<<20:], func(p []byte) (int, error) { return io.ReadFull(r, p) })
			if !bytes.Equal(got, content) {
				t.Error("other bytes were read")
			}
			goesOn(t, "write", timeout+grace, content[3<<20:], out.Write)
			must(t, out.Close())
			onServer(t, s, fmt.Sprint("written", i), content)
		})
	}
}

// TestNothingComesLate: a command whose outcome the program was told is not known must not arrive later, when the network is
// back and the program has gone on: it would undo what was acknowledged since.
func TestNothingComesLate(t *testing.T) {
	w := newWires(t)
	s := w.start(lab.ProFTPD)
	const files = 6
	for i := range files {
		serve(t, s, fmt.Sprint("f", i), randomBytes(uint64(i), 10_000))
	}
	m := w.mount(s, "timeout=8s")
	m.keeps = true
	var all sync.WaitGroup
	for i := range files { // so that there are connections to lose
		all.Go(func() { _, _ = os.ReadFile(m.path(fmt.Sprint("f", i))) })
	}
	all.Wait()
	for round := range files {
		w.silent()
		for i := range 1 + round { // the first waits for timeout, those behind it less: theirs are the commands still under way
			if err := os.Remove(m.path(fmt.Sprint("f", i))); !told(err) {
				t.Errorf("remove without a network: %v", err)
			}
		}
		w.whole()
		content := randomBytes(uint64(100+round), 10_000)
		for i := range files {
			name := fmt.Sprint("f", i)
			var err error
			for start := time.Now(); time.Since(start) < grace; {
				if err = os.WriteFile(m.path(name), content, 0o644); !told(err) {
					break
				}
			}
			must(t, err)
		}
		time.Sleep(8 * time.Second) // what still comes has come
		for i := range files {
			onServer(t, s, fmt.Sprint("f", i), content)
		}
	}
}
