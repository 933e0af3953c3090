package pool

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/pool/session"
)

// memory is what was learned of the server, of this mount and of earlier ones. Safe for concurrent use; its lock is a leaf.
type memory struct {
	file string // "" keeps nothing
	addr string
	log  *slog.Logger

	mu       sync.Mutex
	identity string   // of the server that learned is about. guarded by mu
	learned  learned  // guarded by mu
	dirty    bool     // guarded by mu
	stored   *library // as read from the file at the start. guarded by mu
}

// learned is what is kept of one server. Zero values mean "not known yet".
type learned struct {
	Seen   time.Time           `json:"seen"`
	Quirks session.Quirks      `json:"quirks"`
	Can    map[Capability]bool `json:"can,omitempty"`
	// Names says which traits of names are kept.
	Names map[nameTrait]bool `json:"names,omitempty"`
	MTime timeMethod         `json:"mtime,omitempty"` // how a file's time is set
	Chmod modeMethod         `json:"chmod,omitempty"`
	Zone  *int               `json:"list_zone_minutes,omitempty"` // of the times in LIST, east of UTC
	Dots  bool               `json:"list_dots,omitempty"`         // a listing of any folder has "."
	Stat  *bool              `json:"stat_lists,omitempty"`        // STAT -a lists the current folder
	Hash  string             `json:"hash,omitempty"`              // the command that gives SHA-256, "-": none
	Ends  bool               `json:"close_notify,omitempty"`      // data channels end with close_notify
	Clock *int64             `json:"clock_ahead,omitempty"`       // seconds, when a file was written
}

// library is the file: servers by identity.
type library struct {
	Version int                `json:"version"`
	Servers map[string]learned `json:"servers"`
}

const (
	libraryVersion = 1
	maxServers     = 200 // the oldest are forgotten
)

func openMemory(file, addr string, log *slog.Logger) *memory {
	m := &memory{file: file, addr: addr, log: log, stored: readLibrary(file, log)}
	m.learned.Can, m.learned.Names = map[Capability]bool{}, map[nameTrait]bool{}
	// How to log in must be known before the server told who it is: the quirks of the last server at this address.
	var latest time.Time
	for id, l := range m.stored.Servers {
		if addressOf(id) == addr && l.Seen.After(latest) {
			latest, m.learned.Quirks = l.Seen, l.Quirks
		}
	}
	return m
}

// addressOf cuts an identity down to host:port.
func addressOf(identity string) string {
	for i := range len(identity) {
		if identity[i] == ' ' {
			return identity[:i]
		}
	}
	return identity
}

func readLibrary(file string, log *slog.Logger) *library {
	empty := &library{Version: libraryVersion, Servers: map[string]learned{}}
	if file == "" {
		return empty
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return empty
	}
	lib := *empty
	if err == nil {
		err = json.Unmarshal(data, &lib)
	}
	if err != nil || lib.Version != libraryVersion || lib.Servers == nil {
		log.Warn("what was learned of servers earlier is not readable and will be learned again", "file", file, "err", err)
		return empty
	}
	return &lib
}

// quirks gives what the next login needs to know.
func (m *memory) quirks() session.Quirks {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.learned.Quirks
}

// learnServer is called after each login. Another identity than before (an upgrade, another machine behind the name)
// forgets what was learned of the first. It reports whether a quirk is new.
func (m *memory) learnServer(identity string, before, after session.Quirks) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if identity != m.identity {
		m.identity = identity
		m.learned = m.stored.Servers[identity]
		if m.learned.Can == nil {
			m.learned.Can = map[Capability]bool{}
		}
		if m.learned.Names == nil {
			m.learned.Names = map[nameTrait]bool{}
		}
	}
	return m.learnQuirksLocked(before, after)
}

// learnQuirks notes what a session found out behind its login. It reports whether that was new.
func (m *memory) learnQuirks(before, after session.Quirks) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.learnQuirksLocked(before, after)
}

func (m *memory) learnQuirksLocked(before, after session.Quirks) bool {
	q := m.learned.Quirks.With(before, after)
	if q == m.learned.Quirks {
		return false
	}
	m.learned.Quirks, m.dirty = q, true
	return true
}

// get gives a copy without the maps.
func (m *memory) get() learned {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.learned
	l.Can, l.Names = nil, nil
	return l
}

// set changes what is learned.
func (m *memory) set(change func(*learned)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.learned)
	m.dirty = true
}

// can gives what is known of a capability.
func (m *memory) can(c Capability) (can, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	can, known = m.learned.Can[c]
	return can, known
}

// setCan remembers a capability.
func (m *memory) setCan(c Capability, can bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if was, known := m.learned.Can[c]; known && was == can {
		return
	}
	m.learned.Can[c], m.dirty = can, true
}

// keeps gives what is known of a trait of names.
func (m *memory) keeps(t nameTrait) (kept, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, known = m.learned.Names[t]
	return kept, known
}

// setKeeps remembers a trait of names.
func (m *memory) setKeeps(t nameTrait, kept bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.learned.Names[t], m.dirty = kept, true
}

// names gives what is known of names, for reports.
func (m *memory) names() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]bool, len(m.learned.Names))
	for t, kept := range m.learned.Names {
		all[string(t)] = kept
	}
	return all
}

// save writes the file if something was learned, merged with what other mounts wrote meanwhile.
func (m *memory) save() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == "" || !m.dirty || m.identity == "" {
		return
	}
	lib := readLibrary(m.file, m.log)
	m.learned.Seen = time.Now().UTC().Truncate(time.Second)
	lib.Servers[m.identity] = m.learned
	lib.forgetOldest()
	if err := writeAtomically(m.file, lib); err != nil {
		m.log.Warn("what was learned of the server could not be kept", "err", err)
		return
	}
	m.dirty = false
}

func (l *library) forgetOldest() {
	for len(l.Servers) > maxServers {
		var oldest string
		for id, s := range l.Servers {
			if oldest == "" || s.Seen.Before(l.Servers[oldest].Seen) {
				oldest = id
			}
		}
		delete(l.Servers, oldest)
	}
}

// writeAtomically replaces file in one step; a reader sees the old or the new content.
func writeAtomically(file string, lib *library) error {
	data, err := json.MarshalIndent(lib, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the rename, as it should
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
