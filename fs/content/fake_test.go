package content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// quirks are what servers do differently, and what goes wrong with them.
type quirks struct {
	noAppend       bool // APPE on an existing file refused
	noRest         bool // REST + STOR refused
	restTruncates  bool // REST + STOR cuts the file behind what was sent (Pure-FTPd)
	noOverwrite    bool // STOR and RNTO over an existing file refused (ProFTPD AllowOverwrite off)
	noDot          bool // names with a leading dot refused
	noChmod        bool
	fixedFolder    string // no names can be made, removed or renamed in this folder
	noRenameAtAll  bool
	stickyRename   bool // RNTO over an existing file refused with a permission, though the server can
	conns          int  // connections, 0: no limit
	disk           int64
	cutAt          int64 // the next upload is cut after so many bytes
	cutKeeps       int64 // so many bytes of it less reach the file
	cuts           int   // how many uploads are cut
	cutFinish      int   // so many uploads: everything arrived, the connection is gone before the 226
	failFinish     error // the next Finish fails so, nothing of the upload is kept
	renameCut      int   // so many renames happen, and their reply is lost
	broken         bool  // nothing at all works
	replaced       int   // so many continuations find a new file in the place of the old one, and begin at its end
	silentTruncate int64 // the next upload: so many bytes at the end are lost with a 226
}

type fakeFile struct {
	data  []byte
	mtime time.Time
	mode  uint32
	id    int // unique
	up    int // open uploads
	down  int // open downloads
}

// fakeServer is a server in memory. It notices what real servers do not forgive: a RETR of a file with an open STOR, and
// the other way round.
type fakeServer struct {
	t testing.TB

	mu     sync.Mutex
	q      quirks
	files  map[string]*fakeFile
	clock  time.Time
	busy   map[int]func() // connections in use and whom to ask for them
	nextID int
	freed  chan struct{}
	sent   int64 // bytes of uploads
	read   int64 // bytes of downloads
	hashed int
	log    []string
	faults []string // what must never happen
}

func newFake(t testing.TB, q quirks) *fakeServer {
	return &fakeServer{
		t: t, q: q, files: map[string]*fakeFile{}, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		busy: map[int]func(){}, freed: make(chan struct{}, 1),
	}
}

func (s *fakeServer) set(f func(*quirks)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.q)
}

func (s *fakeServer) put(name, data string) pool.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(time.Second)
	s.files[name] = &fakeFile{data: []byte(data), mtime: s.clock, mode: 0o644}
	return s.entry(name)
}

func (s *fakeServer) entry(name string) pool.Entry {
	f := s.files[name]
	return pool.Entry{Name: path.Base(name), Type: pool.TypeFile, Size: int64(len(f.data)), ModTime: f.mtime, Exact: true, Mode: f.mode, HasMode: true, Unique: fmt.Sprint("u", f.id)}
}

// traffic gives the bytes of all uploads and downloads so far.
func (s *fakeServer) traffic() (sent, read int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.read
}

// content gives a file's bytes, or "absent".
func (s *fakeServer) content(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[name]; f != nil {
		return string(f.data)
	}
	return "absent"
}

func (s *fakeServer) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.files))
}

// calls gives the operations since the last call.
func (s *fakeServer) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.log
	s.log = nil
	return l
}

func (s *fakeServer) note(format string, a ...any) { s.log = append(s.log, fmt.Sprintf(format, a...)) }

func (s *fakeServer) fault(format string, a ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, a...))
}

// take takes a connection, asking those who hold one when none is left.
func (s *fakeServer) take(ctx context.Context, onPressure func()) (id int, err error) {
	deadline := time.After(20 * time.Second)
	for {
		s.mu.Lock()
		if s.q.broken {
			s.mu.Unlock()
			return 0, cut("connect", "")
		}
		if s.q.conns == 0 || len(s.busy) < s.q.conns {
			s.nextID++
			id = s.nextID
			s.busy[id] = onPressure
			s.mu.Unlock()
			return id, nil
		}
		for id, ask := range s.busy {
			if ask != nil {
				s.busy[id] = nil
				go ask()
			}
		}
		s.mu.Unlock()
		select {
		case <-s.freed:
		case <-ctx.Done():
			return 0, &pool.Error{Op: "connect", Kind: pool.KindCanceled, Err: ctx.Err()}
		case <-deadline:
			s.mu.Lock()
			s.fault("nobody gave a connection up")
			s.mu.Unlock()
			return 0, &pool.Error{Op: "connect", Kind: pool.KindTimeout}
		}
	}
}

func (s *fakeServer) give(id int) {
	s.mu.Lock()
	delete(s.busy, id)
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// short runs an operation without data.
func (s *fakeServer) short(ctx context.Context, fn func() error) error {
	id, err := s.take(ctx, nil)
	if err != nil {
		return err
	}
	defer s.give(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn()
}

func fail(k pool.Kind, op, name string) error {
	return &pool.Error{Op: op, Path: name, Kind: k, Code: 550}
}

func cut(op, name string) error {
	return &pool.Error{Op: op, Path: name, Kind: pool.KindNetwork, Err: errors.New("cut")}
}

func (s *fakeServer) Stat(ctx context.Context, name string) (e pool.Entry, err error) {
	err = s.short(ctx, func() error {
		s.note("stat %s", name)
		if s.files[name] == nil {
			return fail(pool.KindNotFound, "stat", name)
		}
		e = s.entry(name)
		return nil
	})
	return e, err
}

func (s *fakeServer) Remove(ctx context.Context, name string) error {
	return s.short(ctx, func() error {
		s.note("remove %s", name)
		switch {
		case s.files[name] == nil:
			return fail(pool.KindNotFound, "remove", name)
		case s.fixed(name):
			return fail(pool.KindPermission, "remove", name)
		}
		delete(s.files, name)
		return nil
	})
}

func (s *fakeServer) fixed(name string) bool {
	return s.q.fixedFolder != "" && path.Dir(name) == s.q.fixedFolder
}

// forbidden tells why a new name cannot be made.
func (s *fakeServer) forbidden(name string) error {
	if s.q.noDot && strings.HasPrefix(path.Base(name), ".") || s.fixed(name) {
		return fail(pool.KindPermission, "store", name)
	}
	return nil
}

func (s *fakeServer) Rename(ctx context.Context, from, to string) error {
	return s.short(ctx, func() error {
		s.note("rename %s %s", from, to)
		f := s.files[from]
		switch {
		case f == nil:
			return fail(pool.KindNotFound, "rename", from)
		case s.fixed(from) || s.fixed(to) || s.q.noRenameAtAll:
			return fail(pool.KindPermission, "rename", from)
		case s.files[to] != nil && (s.q.noOverwrite || s.q.stickyRename && !(&Store{}).IsTemp(path.Base(to))):
			return fail(pool.KindPermission, "rename", to)
		case s.forbidden(to) != nil:
			return s.forbidden(to)
		}
		delete(s.files, from)
		s.files[to] = f
		if s.q.renameCut > 0 {
			s.q.renameCut--
			return cut("rename", to)
		}
		return nil
	})
}

// renameDir renames a folder.
func (s *fakeServer) renameDir(from, to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, f := range maps.Clone(s.files) {
		if strings.HasPrefix(name, from+"/") {
			delete(s.files, name)
			s.files[to+name[len(from):]] = f
		}
	}
}

func (s *fakeServer) SetAttrs(ctx context.Context, name string, _ bool, a pool.Attrs) error {
	return s.short(ctx, func() error {
		s.note("setattrs %s", name)
		return s.setLocked(name, a)
	})
}

func (s *fakeServer) setLocked(name string, a pool.Attrs) error {
	f := s.files[name]
	if f == nil {
		return fail(pool.KindNotFound, "setattrs", name)
	}
	if a.ModTime != nil {
		f.mtime = a.ModTime.UTC().Truncate(time.Second)
	}
	if a.Mode != nil {
		if s.q.noChmod {
			return fail(pool.KindUnsupported, "setattrs", name)
		}
		f.mode = *a.Mode
	}
	return nil
}

func (s *fakeServer) MaxConnections() int { return 8 }

func (s *fakeServer) Can(ctx context.Context, c pool.Capability, _ string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c {
	case pool.CapAppend:
		return !s.q.noAppend, nil
	case pool.CapResumeStore:
		return !s.q.noRest, nil
	case pool.CapKeepsTail:
		return !s.q.noRest && !s.q.restTruncates, nil
	case pool.CapRenameReplace:
		return !s.q.noOverwrite, nil
	case pool.CapChmod:
		return !s.q.noChmod, nil
	}
	return true, nil
}

type fakeDownload struct {
	s    *fakeServer
	f    *fakeFile
	name string
	id   int
	off  int64
	end  int64
	done bool
}

func (s *fakeServer) Download(ctx context.Context, name string, o pool.DownloadOptions) (pool.Download, error) {
	id, err := s.take(ctx, o.OnPressure)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("download %s %d", name, o.Offset)
	f := s.files[name]
	if f == nil {
		go s.give(id)
		return nil, fail(pool.KindNotFound, "download", name)
	}
	if f.up > 0 {
		s.fault("download of %s while it is uploaded", name)
	}
	f.down++
	end := int64(len(f.data))
	if o.Length >= 0 {
		end = min(end, o.Offset+o.Length)
	}
	return &fakeDownload{s: s, f: f, name: name, id: id, off: o.Offset, end: end}, nil
}

func (d *fakeDownload) Read(p []byte) (int, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.off >= d.end {
		return 0, io.EOF
	}
	if d.end > int64(len(d.f.data)) {
		return 0, fail(pool.KindIncomplete, "download", d.name)
	}
	n := copy(p, d.f.data[d.off:d.end])
	d.off += int64(n)
	d.s.read += int64(n)
	return n, nil
}

func (d *fakeDownload) Close() error {
	d.s.mu.Lock()
	if d.done {
		d.s.mu.Unlock()
		return nil
	}
	d.done = true
	d.f.down--
	d.s.mu.Unlock()
	d.s.give(d.id)
	return nil
}

type fakeUpload struct {
	s     *fakeServer
	f     *fakeFile
	name  string
	id    int
	mode  pool.UploadMode
	pos   int64
	sent  int64
	cutAt int64 // -1: never
	done  bool
}

func (s *fakeServer) Upload(ctx context.Context, name string, o pool.UploadOptions) (pool.Upload, error) {
	id, err := s.take(ctx, o.OnPressure)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note("upload %s %d %d", name, o.Mode, o.Offset)
	u := &fakeUpload{s: s, name: name, id: id, mode: o.Mode, cutAt: -1}
	if err := s.openUpload(u, o); err != nil {
		go s.give(id)
		return nil, err
	}
	return u, nil
}

func (s *fakeServer) openUpload(u *fakeUpload, o pool.UploadOptions) error {
	f := s.files[u.name]
	switch {
	case f == nil && s.forbidden(u.name) != nil:
		return s.forbidden(u.name)
	case f != nil && o.Mode == pool.UploadStore && s.q.noOverwrite,
		f != nil && o.Mode == pool.UploadAppend && s.q.noAppend,
		o.Mode == pool.UploadAt && s.q.noRest:
		return fail(pool.KindPermission, "store", u.name)
	}
	if f == nil {
		f = &fakeFile{mode: 0o644}
		s.files[u.name] = f
	}
	if f.down > 0 {
		s.fault("upload of %s while it is downloaded", u.name)
	}
	if f.up > 0 {
		s.fault("two uploads of %s", u.name)
	}
	switch o.Mode {
	case pool.UploadStore:
		f.data = nil
	case pool.UploadAppend:
		u.pos = int64(len(f.data))
	case pool.UploadAt:
		if s.q.replaced > 0 {
			s.q.replaced--
			f = &fakeFile{mode: 0o644, id: f.id + 1}
			s.files[u.name] = f
			break
		}
		u.pos = o.Offset
		if o.Offset > int64(len(f.data)) {
			return fail(pool.KindOther, "store", u.name)
		}
		if s.q.restTruncates {
			f.data = f.data[:o.Offset]
		}
	}
	if s.q.cuts > 0 {
		s.q.cuts--
		u.cutAt = s.q.cutAt
	}
	f.up++
	u.f = f
	s.touch(f)
	return nil
}

func (s *fakeServer) touch(f *fakeFile) {
	s.clock = s.clock.Add(time.Second)
	f.mtime = s.clock
}

func (s *fakeServer) used() (n int64) {
	for _, f := range s.files {
		n += int64(len(f.data))
	}
	return n
}

func (u *fakeUpload) Write(p []byte) (int, error) {
	s := u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.done {
		s.fault("write to a finished upload")
	}
	n := len(p)
	if u.cutAt >= 0 && u.sent+int64(n) > u.cutAt {
		u.store(p[:u.cutAt-u.sent])
		u.f.data = u.f.data[:int64(len(u.f.data))-min(s.q.cutKeeps, u.sent)]
		return n, cut("store", u.name)
	}
	if s.q.disk > 0 && s.used()+int64(n) > s.q.disk {
		return 0, &pool.Error{Op: "store", Path: u.name, Kind: pool.KindNoSpace, Code: 452}
	}
	u.store(p)
	return n, nil
}

func (u *fakeUpload) store(p []byte) {
	u.s.sent += int64(len(p))
	u.sent += int64(len(p))
	n := copy(u.f.data[min(u.pos, int64(len(u.f.data))):], p)
	u.f.data = append(u.f.data, p[n:]...)
	u.pos += int64(len(p))
	u.s.touch(u.f)
}

func (u *fakeUpload) end() bool {
	if u.done {
		return false
	}
	u.done = true
	u.f.up--
	go u.s.give(u.id)
	return true
}

func (u *fakeUpload) Finish(_ context.Context, fin pool.Finish) (res pool.FinishResult, err error) {
	s := u.s
	s.mu.Lock()
	defer s.mu.Unlock()
	u.end()
	s.note("finish %s %d", u.name, fin.Size)
	switch {
	case s.q.failFinish != nil:
		err, s.q.failFinish = s.q.failFinish, nil
		if u.mode != pool.UploadAt {
			u.f.data = u.f.data[:max(0, int64(len(u.f.data))-u.sent)]
		}
		return res, err
	case s.q.cutFinish > 0:
		s.q.cutFinish--
		return res, cut("store", u.name)
	case s.q.silentTruncate > 0:
		u.f.data = u.f.data[:int64(len(u.f.data))-min(u.sent, s.q.silentTruncate)]
		s.q.silentTruncate = 0
	}
	if s.files[u.name] != u.f {
		return res, fail(pool.KindIncomplete, "store", u.name)
	}
	if fin.Size >= 0 && fin.Size != int64(len(u.f.data)) {
		return res, fail(pool.KindIncomplete, "store", u.name)
	}
	if fin.Sum != nil {
		s.hashed++
		if sum := sha256.Sum256(u.f.data); !bytes.Equal(sum[:], fin.Sum) {
			s.fault("wrong digest of %s", u.name)
		}
	}
	res.AttrsErr = s.setLocked(u.name, fin.Attrs)
	res.Entry, res.Verified = s.entry(u.name), true
	return res, nil
}

func (u *fakeUpload) Abort() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.end()
}

func (u *fakeUpload) Sent() int64 { return u.sent }

// same compares long contents without printing them.
func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	t.Fatalf("%s: %d bytes, want %d, first difference at %d", what, len(got), len(want), i)
}
