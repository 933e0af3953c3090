package content

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"path"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Temporary names are ".ftpsfs-MOUNTID-N", or "ftpsfs-MOUNTID-N.tmp" where a server refuses names with a leading dot.
// They are short because the folder's path is already in the command line, and carry no part of the file's own name,
// which may have the full 255 bytes.
var tempName = regexp.MustCompile(`^(\.ftpsfs-[0-9a-f]{8}-[0-9a-z]{1,13}|ftpsfs-[0-9a-f]{8}-[0-9a-z]{1,13}\.tmp)$`)

// IsTemp reports whether name (a last path element) is a temporary name of ftpsfs, of this mount or of another one. Such
// names are hidden from listings and lookups. What the pool makes to find out what the server can is one, too.
func (s *Store) IsTemp(name string) bool { return tempName.MatchString(name) || pool.IsProbe(name) }

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
}

// newTemp writes the journal and gives the name; nothing is sent to the server.
func (s *Store) newTemp(op stage.Op, target, dir string, base stage.Base) (*temp, error) {
	t := &temp{s: s, name: s.names.next(dir)}
	j, err := s.cfg.Stage.Begin(stage.Record{Op: op, Path: target, Temp: t.name, Base: base})
	if err != nil {
		return nil, err
	}
	t.journal = j
	s.mu.Lock()
	s.temps[t] = struct{}{}
	s.mu.Unlock()
	return t, nil
}

func (t *temp) path() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.name
}

// moved is told that the name, or a folder above it, was renamed.
func (t *temp) moved(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.name = name
	if t.journal == nil {
		return
	}
	r := t.journal.Record()
	r.Temp = name
	if err := t.journal.Amend(r); err != nil {
		t.s.log.Warn("journal not written", "temporary", name, "err", err)
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

// over says that the name does not exist on the server any more.
func (t *temp) over() {
	t.mu.Lock()
	j := t.journal
	t.journal = nil
	t.mu.Unlock()
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

// leave forgets the name here and leaves its journal record to the next mount.
func (t *temp) leave() {
	t.mu.Lock()
	t.journal = nil
	t.mu.Unlock()
	t.s.mu.Lock()
	delete(t.s.temps, t)
	t.s.mu.Unlock()
}

// remove deletes the name on the server. What cannot be deleted now stays in the journal for the next mount.
func (t *temp) remove(ctx context.Context) {
	name := t.path()
	err := t.s.cfg.Remote.Remove(ctx, name)
	if err != nil && pool.KindOf(err) != pool.KindNotFound {
		t.s.log.Warn("temporary file not removed, the next mount will", "temporary", name, "err", err)
		t.leave()
		return
	}
	t.over()
}

// below tells whether name is dir or lies below it.
func below(name, dir string) bool {
	return name == dir || dir == "/" || len(name) > len(dir) && name[:len(dir)] == dir && name[len(dir)] == '/'
}
