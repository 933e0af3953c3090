package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs/content"
)

// Mount is the running mount that the socket speaks for. Its methods may be called concurrently.
type Mount interface {
	// Status is encoded as JSON. It must not wait for the server.
	Status() any
	// Pending lists what the server does not have yet.
	Pending() []content.Status
	// Sync returns when the server has everything.
	Sync(ctx context.Context) error
	// Unmount takes the mount away; the process ends by itself after that.
	Unmount(ctx context.Context, lazy bool) error
}

// progress is one line of the answer to /sync and /umount.
type progress struct {
	Waiting []content.Status `json:"waiting,omitempty"`
	Done    bool             `json:"done,omitempty"`
	Error   string           `json:"error,omitempty"`
	Code    int              `json:"code,omitempty"`
}

// reportEvery is how often a waiting client hears what it waits for.
const reportEvery = time.Second

// Server listens for one mount.
type Server struct {
	name  string
	mount Mount
	http  http.Server
	ended chan struct{}
	log   *slog.Logger

	mu      sync.Mutex
	closing bool           // guarded by mu
	reports sync.WaitGroup // answers under way; Add only with mu held and closing false
}

// Listen makes the socket for a mount on mountpoint and serves it until Close.
func Listen(mountpoint string, m Mount, log *slog.Logger) (*Server, error) {
	dir, err := state.MakeRuntimeDir()
	if err != nil {
		return nil, err
	}
	// A second process for the same mount point is possible: the first one may still be sending what was written before
	// it was unmounted. So each has a name of its own.
	name := filepath.Join(dir, state.Digest(mountpoint)+"."+strings.ToLower(rand.Text()[:8]))
	s := &Server{name: name + ".sock", mount: m, ended: make(chan struct{}), log: log}
	l, err := listenAs(s.name, name+".new")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("POST /sync", s.sync)
	mux.HandleFunc("POST /umount", s.umount)
	s.http = http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	go func() { // ends at Close
		if err := s.http.Serve(ownersOnly{l, log}); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control socket", "err", err)
		}
	}()
	return s, nil
}

// listenAs makes the socket under a name that no client looks for, and gives it its own name when it listens: between bind(2) and
// listen(2) it refuses clients, who would take it for one left behind and remove it.
func listenAs(name, temporary string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(temporary, 0o600); err == nil {
		err = os.Rename(temporary, name)
	}
	if err != nil {
		l.Close()
		os.Remove(temporary)
		return nil, err
	}
	return l, nil
}

// lastWords is how long Close waits for clients to be told the outcome.
const lastWords = 5 * time.Second

// Close removes the socket and cuts all clients off, once those that wait for an outcome have been told it. It is the last
// thing that a mount does: clients take the end of the connection for the end of the process.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	told := make(chan struct{})
	go func() {
		s.reports.Wait()
		close(told)
	}()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	}
	close(s.ended)
	os.Remove(s.name)
	return s.http.Close()
}

// begin counts an answer that Close waits for; false when it is too late.
func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.reports.Add(1)
	}
	return !s.closing
}

// ownersOnly accepts clients of the same user, and root.
type ownersOnly struct {
	*net.UnixListener
	log *slog.Logger
}

// Accept drops everybody else.
func (l ownersOnly) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		uid, err := peerUID(conn)
		if err == nil && allowed(uid) {
			return conn, nil
		}
		l.log.Warn("control socket: refused", "uid", uid, "err", err)
		conn.Close()
	}
}

// allowed: the folder's mode keeps others away already; this holds when somebody changes it.
func allowed(uid int) bool { return uid == 0 || uid == os.Geteuid() }

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	b, err := json.Marshal(s.mount.Status())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b) // a client that went away
}

func (s *Server) sync(w http.ResponseWriter, r *http.Request) {
	_ = s.report(w, r, func(ctx context.Context) error { return s.mount.Sync(ctx) }) // the caller was told
}

func (s *Server) umount(w http.ResponseWriter, r *http.Request) {
	lazy := r.FormValue("lazy") != ""
	err := s.report(w, r, func(ctx context.Context) error { return s.mount.Unmount(ctx, lazy) })
	if err != nil {
		return
	}
	select { // what is left is tidying up; the client waits for the end of the process
	case <-s.ended:
	case <-r.Context().Done():
	}
}

// report runs fn and tells the client what it waits for until fn has ended.
func (s *Server) report(w http.ResponseWriter, r *http.Request, fn func(context.Context) error) error {
	if !s.begin() {
		http.Error(w, "the mount is ending", http.StatusServiceUnavailable)
		return errors.New("ending")
	}
	defer s.reports.Done()
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	enc, flush := json.NewEncoder(w), http.NewResponseController(w).Flush
	send := func(p progress) {
		if enc.Encode(p) != nil || flush() != nil {
			cancel() // the client gave up
		}
	}
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	if waiting := s.mount.Pending(); len(waiting) > 0 {
		send(progress{Waiting: waiting})
	}
	for {
		select {
		case err := <-done:
			if err != nil {
				send(progress{Error: exitcode.OneLine(err.Error()), Code: exitcode.Of(err)})
				return err
			}
			send(progress{Done: true})
			return nil
		case <-tick.C:
			if waiting := s.mount.Pending(); len(waiting) > 0 {
				send(progress{Waiting: waiting})
			}
		}
	}
}
