package lab

import (
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a server may take to end by itself.
const stopTimeout = 3 * time.Second

// process is a running server program with its session processes.
type process struct {
	cmd  *exec.Cmd
	stop io.Closer     // what the program waits for to be closed, nil: it ends at SIGTERM
	done chan struct{} // closed when the program has ended; then err is set
	err  error
}

// run starts c with its output appended to logFile. The program dies with this process, however that ends.
func run(c *command, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(c.path, c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stderr = log
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	return launch(cmd, log)
}

// launch starts cmd and waits for it in a goroutine of its own. The kernel ties Pdeathsig to the thread that started
// the program, so that goroutine keeps its thread until the program has ended.
func launch(cmd *exec.Cmd, log *os.File) (*process, error) {
	cmd.SysProcAttr = DieWithParent(syscall.SIGKILL)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		defer log.Close()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// terminate asks the program to end, then makes it, and ends its sessions too.
func (p *process) terminate() {
	sessions := descendants(p.pid())
	if p.stop != nil {
		p.stop.Close()
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
	}
	signalAll(sessions, syscall.SIGKILL)
	p.kill()
}

// kill ends the program and its sessions at once. The program is stopped first, so that it starts no session meanwhile.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	signalAll(descendants(p.pid()), syscall.SIGKILL)
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) killChildren() { signalAll(descendants(p.pid()), syscall.SIGKILL) }

func signalAll(pids []int, sig syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, sig)
	}
}

// descendants lists the living processes below pid. Sessions may have left the process group of their server.
func descendants(pid int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, alive := parentOf(child); alive {
			children[parent] = append(children[parent], child)
		}
	}
	var all []int
	for todo := []int{pid}; len(todo) > 0; {
		next := children[todo[0]]
		all = append(all, next...)
		todo = append(slices.Clone(todo[1:]), next...)
	}
	return all
}

// parentOf reads the parent of a process; a zombie is not alive.
func parentOf(pid int) (parent int, alive bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	line := string(b) // pid (name) state ppid ...: the name may have spaces and parentheses in it
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 2 || fields[0] == "Z" {
		return 0, false
	}
	parent, err = strconv.Atoi(fields[1])
	return parent, err == nil
}
