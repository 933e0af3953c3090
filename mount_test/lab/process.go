package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// descendants lists the living processes below pid. Sessions may have left the process group of their server. It asks
// only processes of the server: /proc/PID/stat of a process that runs execve(2) can take as long as a file system that
// is under test takes to close its descriptors.
func descendants(pid int) []int {
	var all []int
	for todo := []int{pid}; len(todo) > 0; {
		next := children(todo[0])
		all = append(all, next...)
		todo = append(slices.Clone(todo[1:]), next...)
	}
	return all
}

// children reads proc_pid_task_children(5) of all threads, and leaves zombies out.
func children(pid int) []int {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(field); err == nil && alive(child) {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	line := string(b) // pid (name) state ...: the name may have spaces and parentheses in it
	state := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	return len(state) > 0 && state[0] != "Z"
}
