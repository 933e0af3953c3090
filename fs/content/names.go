package content

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Temporary names are ".ftpsfs-MOUNTID-N", or "ftpsfs-MOUNTID-N.tmp" where a server refuses names with a leading dot.
// They are short because the folder's path is already in the command line, and carry no part of the file's own name,
// which may have the full 255 bytes.
var tempName = regexp.MustCompile(`^(\.ftpsfs-[0-9a-f]{8}-[0-9a-z]{1,13}|ftpsfs-[0-9a-f]{8}-[0-9a-z]{1,13}\.tmp)$`)

// IsTemp reports whether name (a last path element) is a temporary name of ftpsfs, of this mount or of another one. Such
// names are hidden from listings and lookups. What the pool makes to find out what the server can is one, too.
func (s *Store) IsTemp(name string) bool { return IsTemp(name) }

// IsTemp is Store.IsTemp where there is no mount.
func IsTemp(name string) bool { return tempName.MatchString(name) || pool.IsProbe(name) }

// TempMount gives the id of the mount that a temporary name is of; "" for a name that is none, or of no mount.
func TempMount(name string) string {
	if !tempName.MatchString(name) {
		return ""
	}
	_, rest, _ := strings.Cut(name, "ftpsfs-")
	id, _, _ := strings.Cut(rest, "-")
	return id
}

// newMountID makes up 8 hex digits.
func newMountID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// namer gives names that no other mount and no earlier call gave.
type namer struct {
	mount string
	n     atomic.Uint64
	plain atomic.Bool // this server refuses names with a leading dot
}

func (n *namer) next(dir string) string {
	num := strconv.FormatUint(n.n.Add(1), 36)
	if n.plain.Load() {
		return path.Join(dir, "ftpsfs-"+n.mount+"-"+num+".tmp")
	}
	return path.Join(dir, ".ftpsfs-"+n.mount+"-"+num)
}

// temp is one temporary name on the server, from before it is made until it is renamed over or removed. The journal
// knows it all that time, so that the next mount can clean up.
type temp struct {
	s *Store

	mu      sync.Mutex
	name    string       // guarded by mu
	journal *stage.Entry // guarded by mu; nil when it is over
	left    bool         // nobody uses it any more, see leave; guarded by mu
	cut     bool         // an upload to it was cut, see mayCome; guarded by mu
}

// newTemp writes the journal and gives the name; nothing is sent to the server.
func (s *Store) newTemp(op stage.Op, target, dir string, base stage.Base) (*temp, error) {
	return s.beginTemp(stage.Record{Op: op, Path: target, Temp: s.names.next(dir), Base: base})
}

func (s *Store) beginTemp(r stage.Record) (*temp, error) {
	j, err := s.cfg.Stage.Begin(r)
	if err != nil {
		return nil, err
	}
	return s.adoptTemp(j), nil
}

// adoptTemp is the temporary name of a record that is in the journal.
func (s *Store) adoptTemp(j *stage.Entry) *temp {
	t := &temp{s: s, name: j.Record().Temp, journal: j}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.temps[t] = struct{}{}
	return t
}

func (t *temp) path() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.name
}

// renamed is told that from is to now: the name itself, a folder above it, or another name in its record.
func (t *temp) renamed(from, to string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	move := func(name *string) bool {
		if *name == "" || !below(*name, from) {
			return false
		}
		*name = to + (*name)[len(from):]
		return true
	}
	move(&t.name)
	if t.journal == nil {
		return
	}
	r := t.journal.Record()
	path, temp, aside := move(&r.Path), move(&r.Temp), move(&r.Aside)
	if !path && !temp && !aside {
		return
	}
	if err := t.journal.Amend(r); err != nil {
		t.s.log.Warn("journal not written", "temporary", t.name, "err", err)
	}
}

// amend changes the journal record.
func (t *temp) amend(change func(*stage.Record)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.journal == nil {
		return nil
	}
	r := t.journal.Record()
	change(&r)
	return t.journal.Amend(r)
}

// mayCome says that an upload to the name was cut: what the server has of its command it may carry out late, and make the file when
// nobody needs it any more.
func (t *temp) mayCome() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = true
}

// over says that the name does not exist on the server any more. Where it may come again it is looked for once more, later.
func (t *temp) over() {
	t.mu.Lock()
	j, again := t.journal, t.cut
	t.cut = false
	if j == nil || !again {
		t.journal = nil
	}
	t.mu.Unlock()
	if j != nil && again {
		t.lookAgain()
		return
	}
	if j == nil {
		return
	}
	if err := j.Done(); err != nil {
		t.s.log.Warn("journal not cleared", "temporary", t.path(), "err", err)
	}
	t.s.mu.Lock()
	delete(t.s.temps, t)
	t.s.mu.Unlock()
}

// lookAgain has the name, and nothing else, removed later.
func (t *temp) lookAgain() {
	err := t.amend(func(r *stage.Record) { *r = stage.Record{Op: tempOp, Path: r.Path, Temp: t.name} }) // amend holds mu
	if err != nil {
		t.s.log.Warn("journal not written", "temporary", t.path(), "err", err)
	}
	t.leave()
}

// leave gives the name up for now, after an operation whose outcome is not known or that failed: sweep, or the next
// mount, looks at what is there.
func (t *temp) leave() {
	t.mu.Lock()
	t.left = true
	t.mu.Unlock()
	t.s.sweepLater(firstSweep)
}

// Pauses before the names that were left are looked at again: what kept them from being settled has to pass first.
const (
	firstSweep = 5 * time.Second
	lastSweep  = time.Minute
)

// sweepLater sweeps after the pause, and again after longer ones as long as names are left.
func (s *Store) sweepLater(pause time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.sweeping {
		return
	}
	s.sweeping = true
	time.AfterFunc(pause, func() {
		s.goes(func() { // not after Close, which sweeps itself
			s.sweep(s.ctx)
			s.mu.Lock()
			s.sweeping = false
			s.mu.Unlock()
			if s.anyLeft() {
				s.sweepLater(min(2*pause, lastSweep))
			}
		})
	})
}

// anyLeft says whether there are names that nobody uses.
func (s *Store) anyLeft() bool {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.temps))
	s.mu.Unlock()
	return slices.ContainsFunc(all, func(t *temp) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.left && t.journal != nil
	})
}

// remove deletes the name on the server.
func (t *temp) remove(ctx context.Context) {
	name := t.path()
	err := t.s.cfg.Remote.Remove(ctx, name)
	if err != nil && pool.KindOf(err) != pool.KindNotFound {
		t.s.log.Warn("temporary file not removed yet", "temporary", name, "err", err)
		t.leave()
		return
	}
	t.over()
}

// sweep settles the names that were left: what remains after it is the next mount's business.
func (s *Store) sweep(ctx context.Context) {
	s.mu.Lock()
	left := slices.Collect(maps.Keys(s.temps))
	s.mu.Unlock()
	for _, t := range left {
		t.mu.Lock()
		j, mine := t.journal, t.left
		t.left = false // one sweep at a time takes it
		t.mu.Unlock()
		if !mine || j == nil {
			continue
		}
		if err := s.settleRecord(ctx, j.Record()); err != nil {
			s.log.Debug("temporary file not settled yet", "temporary", t.path(), "err", err)
			t.leave()
			continue
		}
		t.over()
	}
}

// below tells whether name is dir or lies below it.
func below(name, dir string) bool {
	return name == dir || dir == "/" || len(name) > len(dir) && name[:len(dir)] == dir && name[len(dir)] == '/'
}
