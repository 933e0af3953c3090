package fs

import (
	"sync"
	"sync/atomic"
	"syscall"
)

// notifier tells the kernel what it should not believe any more. The kernel may wait for pages that a READ has locked
// before it takes a notification, so they all go through one goroutine that holds no lock and that no handler waits for.
type notifier struct {
	mu     sync.Mutex
	queue  []notification // guarded by mu
	closed bool           // guarded by mu
	wake   chan struct{}  // holds one token when there is something to do
	done   chan struct{}  // closed when the goroutine has ended
	length atomic.Int64
}

// notification is about the content of n (name empty), or about a name in the folder n.
type notification struct {
	n    *node
	name string
}

// maxNotifications bounds the queue. What is dropped beyond it the kernel stops believing by itself, soon after.
const maxNotifications = 4096

func newNotifier() *notifier {
	q := &notifier{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.loop()
	return q
}

// content says that the pages of a file are not its content any more.
func (q *notifier) content(n *node) { q.add(notification{n: n}) }

// entry says that a name in a folder has changed.
func (q *notifier) entry(dir *node, name string) { q.add(notification{n: dir, name: name}) }

func (q *notifier) add(m notification) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.queue) >= maxNotifications {
		return
	}
	q.queue = append(q.queue, m)
	q.length.Store(int64(len(q.queue)))
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *notifier) loop() {
	defer close(q.done)
	for range q.wake {
		for {
			m, ok := q.next()
			if !ok {
				break
			}
			_ = m.send() // ENOENT: the kernel does not know the name or the pages
		}
	}
}

func (q *notifier) next() (notification, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		return notification{}, false
	}
	m := q.queue[0]
	q.queue = q.queue[1:]
	q.length.Store(int64(len(q.queue)))
	return m, true
}

// send gives the kernel's answer to nobody: ENOENT means that it does not know the object, which is as good.
func (m notification) send() syscall.Errno {
	if m.name == "" {
		return m.n.NotifyContent(0, 0)
	}
	return m.n.NotifyEntry(m.name)
}

// close ends the goroutine; what is queued is dropped, since the mount is gone.
func (q *notifier) close() {
	q.mu.Lock()
	if !q.closed {
		q.closed, q.queue = true, nil
		q.length.Store(0)
		close(q.wake)
	}
	q.mu.Unlock()
	<-q.done
}
