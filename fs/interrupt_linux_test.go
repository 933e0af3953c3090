package fs

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ftpsfs/ftpsfs/fs/content"
)

func TestListsOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	write := content.OpenFlags{Write: true}
	for _, tc := range []struct {
		what string
		d    description
		want bool
	}{
		{"as it was opened", description{name, st.Ino, write}, true},
		{"another mount", description{"/mnt" + name, st.Ino, write}, false},
		{"another name", description{"/other", st.Ino, write}, false},
		{"another file of that name", description{name, st.Ino + 1, write}, false},
		{"a reader's", description{name, st.Ino, content.OpenFlags{Read: true}}, false},
		{"one for both", description{name, st.Ino, content.OpenFlags{Read: true, Write: true}}, false},
		{"appending", description{name, st.Ino, content.OpenFlags{Write: true, Append: true}}, false},
	} {
		if got := listsOpen("/proc/self", tc.d); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
	handle, err := unix.Open(name, unix.O_PATH|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(handle)
	if listsOpen("/proc/self", description{name, st.Ino, content.OpenFlags{Read: true}}) {
		t.Error("a place is taken for an open file")
	}
}

func TestLeftToParent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), child.Wait() }()
	pid, own := uint32(child.Process.Pid), uint32(os.Getpid())
	d := description{name, st.Ino, content.OpenFlags{Write: true}}
	for _, tc := range []struct {
		what        string
		tid, writer uint32
		d           description
		want        bool
	}{
		{"a child, of what the parent has open", pid, own, d, true},
		{"another thread of the one who wrote", uint32(unix.Gettid()), own, d, false},
		{"the parent, of what the child wrote", own, pid, d, false},
		{"somebody else's child", 1, own, d, false},
		{"a writer that ended", pid, 1 << 30, d, false},
		{"a file that the parent has not open", pid, own, description{name + "x", st.Ino, d.as}, false},
	} {
		if got := leftToParent(tc.tid, tc.writer, tc.d); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}

// More programs may be started at once than there are looks at a time: those behind wait for their turn, as long as they may.
func TestLooksTakeTurns(t *testing.T) {
	looking, enough := make(chan struct{}), make(chan struct{})
	answers := make(chan bool)
	for range cap(looks) {
		go func() {
			answers <- aside(time.Hour, func() bool {
				looking <- struct{}{}
				<-enough
				return true
			})
		}()
	}
	for range cap(looks) {
		<-looking
	}
	if aside(10*time.Millisecond, func() bool { return true }) {
		t.Error("a look was made out of turn")
	}
	go func() { answers <- aside(time.Hour, func() bool { return true }) }()
	close(enough)
	for range cap(looks) + 1 {
		if !<-answers {
			t.Error("a look was not made")
		}
	}
}
