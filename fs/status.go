package fs

import (
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/fs/content"
)

// Status is what a mount is doing. All gauges but Nodes are zero when nothing is open and nothing pending.
type Status struct {
	Mountpoint string    `json:"mountpoint"`
	Source     string    `json:"source"`
	ReadOnly   bool      `json:"read_only"`
	Since      time.Time `json:"since"`

	OpenHandles int `json:"open_handles"`       // gauge: open file descriptions
	OpenFiles   int `json:"open_files"`         // gauge: files with at least one of them
	OpenDirs    int `json:"open_dirs"`          // gauge: open folders
	Nodes       int `json:"nodes"`              // gauge: names that the kernel remembers
	NotifyQueue int `json:"notify_queue"`       // gauge: notifications not yet sent
	InFlight    int `json:"requests_in_flight"` // gauge: requests being answered
	Abandoned   int `json:"abandoned"`          // gauge: operations that go on although their caller was killed

	Pending []content.Status `json:"pending"` // files with content that the server does not have
	Content content.Stats    `json:"content"`
}

// Status gives a snapshot. It never waits.
func (s *Server) Status() Status {
	pending := s.cfg.Content.Pending()
	if pending == nil {
		pending = []content.Status{}
	}
	return Status{
		Mountpoint: s.mountpoint, Source: s.cfg.Source, ReadOnly: s.cfg.ReadOnly, Since: s.since,
		OpenHandles: s.handles.len(), OpenFiles: s.open.len(), OpenDirs: int(s.openDirs.Load()), Nodes: s.names.size(),
		NotifyQueue: int(s.notify.length.Load()), InFlight: int(s.inFlight.Load()), Abandoned: int(s.abandoned.Load()),
		Pending: pending, Content: s.cfg.Content.Stats(),
	}
}

// set is a set that may be used concurrently.
type set[T comparable] struct {
	mu      sync.Mutex
	members map[T]struct{} // guarded by mu
}

func (s *set[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.members == nil {
		s.members = make(map[T]struct{})
	}
	s.members[v] = struct{}{}
}

func (s *set[T]) remove(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.members, v)
}

func (s *set[T]) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.members)
}

// all gives the members, in no order.
func (s *set[T]) all() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]T, 0, len(s.members))
	for v := range s.members {
		out = append(out, v)
	}
	return out
}
