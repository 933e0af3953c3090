package ahead

import (
	"context"
	"io"
	"time"

	"github.com/ftpsfs/ftpsfs/pool"
)

// file is one that was fetched, or is being fetched, and that nobody has asked for yet. It leaves Files.files when it is
// used or dropped.
type file struct {
	path   string
	entry  pool.Entry // what the cache knew of it
	at     time.Time  // when the fetch began
	dir    *folder
	cancel context.CancelFunc
	over   chan struct{} // closed when the fetch has ended

	begun   bool   // it has a connection; guarded by Files.mu
	ended   bool   // over is closed; guarded by Files.mu
	dropped bool   // guarded by Files.mu
	data    []byte // all of it, nil before the end and after a failure; guarded by Files.mu
}

// launchLocked starts a fetch.
func (f *Files) launchLocked(d *folder, path string, e pool.Entry) {
	x := &file{path: path, entry: e, at: f.cfg.Now(), dir: d, over: make(chan struct{})}
	var ctx context.Context
	ctx, x.cancel = context.WithCancel(f.ctx)
	f.files[path] = x
	f.under++
	f.waiting++
	f.stats.Held += e.Size
	if f.stop == nil {
		f.stop = f.cfg.AfterFunc(f.cfg.TTL, f.expire)
	}
	f.wg.Add(1)
	go f.fetch(ctx, x)
}

// fetch is the goroutine of one fetch.
func (f *Files) fetch(ctx context.Context, x *file) {
	defer f.wg.Done()
	data, n, err := f.load(ctx, x)
	failed := err != nil && ctx.Err() == nil && pool.KindOf(err) != pool.KindLimit
	x.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.under--
	if !x.begun {
		f.waiting--
	}
	x.ended = true
	close(x.over)
	if x.dropped {
		f.stats.Held -= x.entry.Size
	}
	switch {
	case err == nil && !x.dropped:
		x.data = data
		f.stats.Files++
		f.stats.Bytes += n
		f.fillLocked(x.dir)
		return
	case n > 0:
		f.stats.Bytes += n
		f.stats.BytesInVain += n
	}
	f.dropLocked(x)
	if failed {
		x.dir.skip[x.entry.Name] = struct{}{}
	}
}

// load downloads one file whole. It gives the number of bytes that came, also with an error.
func (f *Files) load(ctx context.Context, x *file) (data []byte, n int64, err error) {
	o := pool.DownloadOptions{
		Length: -1, Size: x.entry.Size, Expect: &x.entry, Background: true, OnPressure: x.cancel,
		OnBegin: func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !x.begun { // it may have to begin again
				x.begun = true
				f.waiting--
				f.fillLocked(x.dir)
			}
		},
	}
	d, err := f.Remote.Download(ctx, x.path, o)
	if err != nil {
		return nil, 0, err
	}
	stop := context.AfterFunc(ctx, func() { d.Close() })
	defer stop()
	defer d.Close()
	data = make([]byte, x.entry.Size)
	got, err := io.ReadFull(d, data)
	if err == nil {
		var more [1]byte
		_, _ = d.Read(more[:]) // the end of the transfer frees the connection
	}
	return data, int64(got), err
}

// take gives the content of path if it was fetched, or is just being fetched. One that still waits for a connection is
// given up: its caller is as fast.
func (f *Files) take(ctx context.Context, path string, size int64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.files[path]
	if x == nil {
		return nil
	}
	if !x.ended && x.begun && f.usableLocked(x, size) {
		f.mu.Unlock()
		select {
		case <-x.over:
		case <-ctx.Done():
		}
		f.mu.Lock()
	}
	if x.dropped {
		return nil
	}
	if x.data == nil || !f.usableLocked(x, size) {
		f.dropLocked(x)
		return nil
	}
	data := x.data
	x.data = nil // used, not dropped in vain
	f.dropLocked(x)
	f.stats.Used++
	return data
}

// usableLocked tells whether x is what a reader would get who asked now and believed what the cache believes.
func (f *Files) usableLocked(x *file, size int64) bool {
	now, fresh := f.cfg.Meta.Peek(x.path)
	return fresh && f.cfg.Now().Sub(x.at) < f.cfg.TTL && size == x.entry.Size && same(now, x.entry)
}

func same(a, b pool.Entry) bool {
	return a.Type == b.Type && a.Size == b.Size && a.Exact && b.Exact && a.ModTime.Equal(b.ModTime) && a.Unique == b.Unique
}

// dropLocked forgets x, and ends its fetch. Until that has ended it has its memory, and counts.
func (f *Files) dropLocked(x *file) {
	if x.dropped {
		return
	}
	x.dropped = true
	x.cancel()
	f.stats.BytesInVain += int64(len(x.data))
	x.data = nil
	if x.ended {
		f.stats.Held -= x.entry.Size
	}
	delete(f.files, x.path)
}

// expire drops what is too old to be used.
func (f *Files) expire() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stop = nil
	if f.closed {
		return
	}
	left := f.cfg.TTL
	for _, x := range f.files {
		age := f.cfg.Now().Sub(x.at)
		if age >= f.cfg.TTL {
			f.dropLocked(x)
			continue
		}
		left = min(left, f.cfg.TTL-age)
	}
	if len(f.files) > 0 {
		f.stop = f.cfg.AfterFunc(left, f.expire)
	}
}

// fetched is a download out of memory.
type fetched struct {
	data []byte
	at   int
}

func (d *fetched) Read(p []byte) (int, error) {
	if d.at == len(d.data) && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, d.data[d.at:])
	d.at += n
	return n, nil
}

func (d *fetched) Close() error { return nil }

var _ pool.Download = (*fetched)(nil)
