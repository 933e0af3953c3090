package stage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Store needs.
type Config struct {
	Dir    string           // state_dir; made 0700 when missing, shared safely by several mounts of one user
	Server string           // identity of server, user and root; leftovers are looked for under the same identity
	Mount  string           // id of this mount as it appears in temporary names
	Limit  int64            // stage_size: most allocated bytes of all staging files together; 0: no limit
	Now    func() time.Time // nil: time.Now
	Log    *slog.Logger     // nil: silent
}

// Store makes staging files and journal entries for one mount. All methods may be called concurrently.
type Store struct {
	cfg       Config
	serverDir string
	recovery  string
	run       *run
	seq       atomic.Uint64 // number of the last file made in run

	mu      sync.Mutex
	alloc   int64  // bytes of all files that count against Limit; guarded by mu
	files   int    // guarded by mu
	entries int    // guarded by mu
	kept    int    // guarded by mu
	adopted []*run // dead runs whose leftovers are ours now; guarded by mu
	closed  bool   // guarded by mu
}

// run is the folder of one life of one mount, and its lock.
type run struct {
	dir   string
	mount string
	lock  *os.File
}

// Stats are the gauges of a Store.
type Stats struct {
	Files     int   `json:"files"`     // open staging files
	Allocated int64 `json:"allocated"` // bytes that count against Limit
	Limit     int64 `json:"limit"`     // 0: none
	Journal   int   `json:"journal"`   // journal entries not done
	Recovery  int   `json:"recovery"`  // files moved to the recovery folder by this run
}

// Open makes the folders, takes the lock of this run and gives the store.
func Open(cfg Config) (*Store, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Mount == "" || strings.ContainsAny(cfg.Mount, "/\x00") {
		return nil, fmt.Errorf("mount id %q cannot be part of a file name", cfg.Mount)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(cfg.Server))
	s := &Store{
		cfg:       cfg,
		serverDir: filepath.Join(dir, "stage", hex.EncodeToString(sum[:8])),
		recovery:  filepath.Join(dir, "recovery"),
	}
	for _, d := range []string{filepath.Dir(s.serverDir), s.serverDir, s.recovery} {
		if err := privateDir(d); err != nil {
			return nil, err
		}
	}
	if s.run, err = newRun(s.serverDir, cfg.Mount); err != nil {
		return nil, err
	}
	return s, nil
}

// newRun makes a folder nobody had and locks it. The server's lock keeps others from taking it for dead in between.
func newRun(serverDir, mount string) (*run, error) {
	server, err := lockServer(serverDir)
	if err != nil {
		return nil, err
	}
	defer server.Close()
	dir, err := os.MkdirTemp(serverDir, mount+".")
	if err != nil {
		return nil, err
	}
	lock, err := tryLock(filepath.Join(dir, "lock"))
	if err != nil || lock == nil {
		return nil, errors.Join(fmt.Errorf("lock of a new folder %s not to be had", dir), err)
	}
	return &run{dir: dir, mount: mount, lock: lock}, syncDir(serverDir)
}

// Close removes the run's folder if nothing is left in it and gives the locks up; what is left is a Leftover for the
// next run. Files and entries must not be used any more. Idempotent.
func (s *Store) Close() error {
	s.mu.Lock()
	runs := append(s.adopted, s.run)
	if s.closed {
		runs = nil
	}
	s.closed, s.adopted = true, nil
	s.mu.Unlock()
	if len(runs) == 0 {
		return nil
	}
	server, err := lockServer(s.serverDir)
	if err != nil {
		return err
	}
	defer server.Close()
	for _, r := range runs {
		err = errors.Join(err, r.end())
	}
	return err
}

// end gives the lock up and removes the folder when it is empty. The caller has the server's lock.
func (r *run) end() error {
	defer r.lock.Close()
	names, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	if len(names) > 1 { // more than the lock
		return nil
	}
	return os.RemoveAll(r.dir)
}

// Stats gives the gauges of this moment.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Files: s.files, Allocated: s.alloc, Limit: s.cfg.Limit, Journal: s.entries, Recovery: s.kept}
}

// RecoveryDir is the folder that content goes to which nobody could upload.
func (s *Store) RecoveryDir() string { return s.recovery }

// claim counts n more bytes (less, if negative) against the limit, and tells whether there is room. force counts anyway.
func (s *Store) claim(n int64, force bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && !force && s.cfg.Limit > 0 && s.alloc+n > s.cfg.Limit {
		return false
	}
	s.alloc += n
	return true
}

// nextName gives a new file name without its suffix; names sort in the order they were made.
func (s *Store) nextName() string {
	return filepath.Join(s.run.dir, fmt.Sprintf("%010d", s.seq.Add(1)))
}
