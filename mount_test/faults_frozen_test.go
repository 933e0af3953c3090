//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// TestFrozenServer: while nothing is answered every call ends in time, and what was open goes on afterwards.
func TestFrozenServer(t *testing.T) {
	t.Parallel()
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
	for _, name := range []string{"stat", "read", "unlink", "rename", "truncate", "chmod", "times", "open-read"} {
		serve(t, s, name, randomBytes(31, 3<<20))
	}
	makeServed(t, s, "list")
	timeout := pick(faultTimeout, 20*time.Second)
	f := mountFaulty(t, s, relayHosts[0], "attr_ttl=0s", "dir_ttl=0s", "neg_ttl=0s", "timeout="+timeout.String())
	f.keeps = true
	long := randomBytes(32, 30<<20)
	serve(t, s, "open-read", long)
	r, err := os.Open(f.path("open-read"))
	must(t, err)
	defer r.Close()
	got := make([]byte, len(long))
	_, err = io.ReadFull(r, got[:1<<20])
	must(t, err)
	w, err := os.Create(f.path("open-write"))
	must(t, err)
	defer w.Close()
	_, err = w.Write(long[:5<<20])
	must(t, err)
	f.line.FreezeAll(relay.Any)
	calls := map[string]func() error{
		"stat":     func() error { _, err := os.Stat(f.path("stat")); return err },
		"statfs":   func() error { return syscall.Statfs(f.dir, new(syscall.Statfs_t)) },
		"list":     func() error { _, err := os.ReadDir(f.path("list")); return err },
		"read":     func() error { _, err := os.ReadFile(f.path("read")); return err },
		"write":    func() error { return os.WriteFile(f.path("new"), long[:4<<20], 0o644) },
		"mkdir":    func() error { return os.Mkdir(f.path("folder"), 0o755) },
		"unlink":   func() error { return syscall.Unlink(f.path("unlink")) },
		"rmdir":    func() error { return syscall.Rmdir(f.path("list")) },
		"rename":   func() error { return syscall.Rename(f.path("rename"), f.path("renamed")) },
		"truncate": func() error { return os.Truncate(f.path("truncate"), 5) },
		"chmod":    func() error { return os.Chmod(f.path("chmod"), 0o600) },
		"times":    func() error { return os.Chtimes(f.path("times"), someday, someday) },
		"fsync":    w.Sync,
	}
	var all sync.WaitGroup
	for name, call := range calls {
		all.Go(func() {
			t.Run(name, func(t *testing.T) {
				if err := within(t, name, timeout+grace, call); err != nil && !told(err) {
					t.Errorf("the program was told %v, want EIO or ETIMEDOUT", err)
				}
			})
		})
	}
	all.Wait()
	f.line.ResumeAll()
	f.recovers(t)
	_, err = r.ReadAt(got[1<<20:], 1<<20)
	if err != nil || !bytes.Equal(got, long) {
		t.Errorf("the file that was open for reading: %v, same bytes %v", err, bytes.Equal(got, long))
	}
	_, err = w.Write(long[5<<20:])
	must(t, err)
	must(t, w.Close())
	onServer(t, s, "open-write", long)
}

// TestKilledReader: a program that waits for a frozen server is gone within a second of SIGKILL, SIGTERM or Ctrl-C.
func TestKilledReader(t *testing.T) {
	s := lab.Start(t, lab.Options{Kind: lab.VSFTPD})
	for i := range 3 {
		serve(t, s, fmt.Sprint("big", i), randomBytes(33, 1<<20))
	}
	f := mountFaulty(t, s, relayHosts[0], "timeout=25s")
	for i, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			a := f.line.Arm(relay.Rule{Kind: relay.Data, Dir: relay.Down, After: 100_000, Do: relay.Freeze})
			cat := exec.Command("cat", f.path(fmt.Sprint("big", i)))
			must(t, cat.Start())
			<-a.Happened()
			f.line.FreezeAll(relay.Any)
			time.Sleep(300 * time.Millisecond) // it waits now
			must(t, cat.Process.Signal(sig))
			_ = within(t, "the end of cat", time.Second, cat.Wait)
			f.line.Disarm()
			f.line.ResumeAll()
			f.recovers(t)
		})
	}
}

// TestUnmountFrozen: umount comes back although the server does not answer and content is under way.
func TestUnmountFrozen(t *testing.T) {
	t.Parallel()
	s := lab.Start(t, lab.Options{Kind: lab.PureFTPd})
	content := randomBytes(34, 6<<20)
	for _, busy := range []bool{false, true} {
		t.Run(fmt.Sprintf("written=%v", busy), func(t *testing.T) {
			f := mountFaulty(t, s, relayHosts[0])
			f.lenient = true // the server never heard the end
			if busy {
				w, err := os.Create(f.path(f.folder(t), "f"))
				must(t, err)
				_, err = w.Write(content)
				must(t, err)
				f.line.FreezeAll(relay.Any)
				if err := within(t, "close", faultTimeout+grace, w.Close); !told(err) {
					t.Errorf("close was told %v, want EIO or ETIMEDOUT", err)
				}
			}
			f.line.FreezeAll(relay.Any)
			_ = within(t, "umount", faultTimeout+grace, func() error { f.unmount(); return nil })
			kept, err := filepath.Glob(filepath.Join(f.stateDir, "recovery", "*-f"))
			must(t, err)
			if busy && len(kept) != 1 || !busy && kept != nil {
				t.Fatalf("in the recovery folder: %q", kept)
			}
			if busy {
				got, err := os.ReadFile(kept[0])
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%d bytes kept of %d, %v", len(got), len(content), err)
				}
			}
		})
		clean, err := filepath.Glob(s.Disk("127*"))
		must(t, err)
		for _, dir := range clean {
			must(t, os.RemoveAll(dir))
		}
	}
}

// TestServerRestart: the server is killed and started again under open files, one read and one written.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	for _, kind := range lab.Real {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := lab.Start(t, lab.Options{Kind: kind})
			content := randomBytes(35, 24<<20)
			serve(t, s, "read", content)
			f := mountFaulty(t, s, relayHosts[0])
			r, err := os.Open(f.path("read"))
			must(t, err)
			defer r.Close()
			got := make([]byte, len(content))
			_, err = io.ReadFull(r, got[:1<<20])
			must(t, err)
			w, err := os.Create(f.path("written"))
			must(t, err)
			defer w.Close()
			_, err = w.Write(content[:10<<20])
			must(t, err)
			s.Kill()
			if _, err := os.ReadFile(f.path(f.folder(t), "none")); err == nil {
				t.Error("a file of a dead server was read")
			}
			s.Restart()
			f.recovers(t)
			if _, err := r.ReadAt(got[1<<20:], 1<<20); err != nil || !bytes.Equal(got, content) {
				t.Errorf("the file that was open for reading: %v, same bytes %v", err, bytes.Equal(got, content))
			}
			_, err = w.Write(content[10<<20:])
			must(t, err)
			must(t, w.Close())
			onServer(t, s, "written", content)
		})
	}
}

// TestFewConnections: a server that allows one, two or three connections serves copies within the mount, many readers at
// once and rsync.
func TestFewConnections(t *testing.T) {
	tool(t, "rsync")
	var all sync.WaitGroup
	for i, kind := range lab.Real {
		for most := 1; most <= 3; most++ {
			if !few(i, most) {
				continue
			}
			all.Go(func() {
				t.Run(fmt.Sprintf("%s-%d", kind, most), func(t *testing.T) {
					s := lab.Start(t, lab.Options{Kind: kind, MaxClients: most})
					content := randomBytes(36, 8<<20)
					for i := range 8 {
						serve(t, s, fmt.Sprint("r", i), content)
					}
					m := mountServer(t, s)
					runTool(t, "/", "cp", m.path("r0"), m.path("copy"))
					onServer(t, s, "copy", content)
					var readers sync.WaitGroup
					for i := range 8 {
						readers.Go(func() {
							if got, err := os.ReadFile(m.path(fmt.Sprint("r", i))); err != nil || !bytes.Equal(got, content) {
								t.Errorf("reader %d: %d bytes, %v", i, len(got), err)
							}
						})
					}
					readers.Wait()
					local := lab.Folder(t, "ftpsfs-local-")
					for i := range 20 {
						must(t, os.WriteFile(filepath.Join(local, fmt.Sprint("f", i)), randomBytes(uint64(i), 100_000), 0o644))
					}
					runTool(t, "/", "rsync", "-r", local+"/", m.path("rsync"))
					for i := range 20 {
						onServer(t, s, fmt.Sprintf("rsync/f%d", i), randomBytes(uint64(i), 100_000))
					}
				})
			})
		}
	}
	all.Wait()
}

// few chooses the cells of TestFewConnections: one connection on every server, more on one each.
func few(server, most int) bool { return long || most == 1 || most == server+1 }
