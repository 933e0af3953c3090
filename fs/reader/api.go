package reader

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/pool"
)

// Downloader starts downloads. *pool.Pool is one.
type Downloader interface {
	Download(ctx context.Context, path string, o pool.DownloadOptions) (pool.Download, error)
}

// Config is what a Reader needs.
type Config struct {
	Downloader Downloader
	Blocks     *blocks.Store
	Path       func() string // where the file is now, asked at every re-open; called without locks of the reader held
	Key        blocks.Key    // the content, for blocks shared by all handles of the file
	Size       int64         // size of the content
	// Revalidate is asked before a download is re-opened after a failure or a pause: an error (KindChanged) ends all
	// reads that need the server. nil: not checked.
	Revalidate func(ctx context.Context) error

	// AfterFunc replaces time.AfterFunc, for tests; stop as time.Timer.Stop. nil: the real one.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
	Log       *slog.Logger // nil: silent
}

// Reader answers the READs of one open handle. All methods may be called concurrently.
type Reader struct{}

// New gives a reader. Nothing goes to the server before the first ReadAt.
func New(cfg Config) *Reader { return &Reader{} }

// ReadAt fills p from off. It gives less than len(p) only at the end of the content, then with io.EOF, or together with
// the error of the transfer. ctx ends the wait of this caller and nothing else.
func (r *Reader) ReadAt(ctx context.Context, p []byte, off int64) (int, error) { return 0, io.EOF }

// SetSize says that the content is longer or shorter now, and otherwise the same.
func (r *Reader) SetSize(size int64) {}

// Reset says that the content is another one now: what was fetched of the old is forgotten.
func (r *Reader) Reset(key blocks.Key, size int64) {}

// Suspend gives the connection up now, waits until that is done, and goes on by itself with the next read that needs it.
// What was fetched ahead stays readable.
func (r *Reader) Suspend() {}

// Close ends the transfer, waits for it and frees all memory. Waiting READs get os.ErrClosed.
func (r *Reader) Close() {}
