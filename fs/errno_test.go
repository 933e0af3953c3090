package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/ftpsfs/ftpsfs/pool"
)

func TestErrnoTableHasEveryKind(t *testing.T) {
	known := 0
	for k := pool.Kind(0); !strings.HasPrefix(k.String(), "kind "); k++ {
		known++
		errno, ok := errnoOf[k]
		if !ok || errno == 0 {
			t.Errorf("%v has no errno", k)
		}
	}
	if known != len(errnoOf) {
		t.Errorf("%d kinds, %d in the table", known, len(errnoOf))
	}
}

func TestToErrno(t *testing.T) {
	remote := func(k pool.Kind, cause error) error { return &pool.Error{Op: "stat", Kind: k, Err: cause} }
	for _, tc := range []struct {
		name string
		err  error
		want syscall.Errno
	}{
		{"nil", nil, 0},
		{"kind", remote(pool.KindNotEmpty, nil), syscall.ENOTEMPTY},
		{"wrapped kind", fmt.Errorf("upload: %w", remote(pool.KindQuota, nil)), syscall.EDQUOT},
		{"network cause does not show", remote(pool.KindNetwork, syscall.ECONNRESET), syscall.EIO},
		{"local disk below a transfer", remote(pool.KindOther, &fs.PathError{Op: "write", Err: syscall.ENOSPC}), syscall.ENOSPC},
		{"local disk", &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, syscall.ENOSPC},
		{"bare errno", syscall.ESTALE, syscall.ESTALE},
		{"deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), syscall.ETIMEDOUT},
		{"cancel", context.Canceled, syscall.EINTR},
		{"anything", errors.New("x"), syscall.EIO},
	} {
		if got := toErrno(tc.err); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
