package content

import (
	"context"
	"errors"

	"github.com/ftpsfs/ftpsfs/pool"
)

// errLost says that bytes which the application wrote are neither on the server nor kept here.
var errLost = &pool.Error{Op: "write", Kind: pool.KindIncomplete, Err: errors.New("the upload was cut and reaches further back than what is kept for sending again")}

// errPanic says that a mistake of this program ended an operation; the log has its stack.
var errPanic = errors.New("a mistake in ftpsfs, see its log")

// What operations tell their caller inside this package; neither leaves it.
var (
	errStage = errors.New("goes on in a staging file")
	errAgain = errors.New("goes on another way")
)

func opError(op, path string, k pool.Kind, cause error) error {
	return &pool.Error{Op: op, Path: path, Kind: k, Err: cause}
}

func changed(path string) error {
	return opError("write", path, pool.KindChanged, errors.New("another host changed the file"))
}

func canceled(ctx context.Context) error {
	return &pool.Error{Op: "wait", Kind: pool.KindCanceled, Err: context.Cause(ctx)}
}

// transient tells failures of the connection from answers of the server.
func transient(err error) bool {
	switch pool.KindOf(err) {
	case pool.KindNetwork, pool.KindTimeout, pool.KindLimit, pool.KindCanceled, pool.KindClosed, pool.KindProtocol:
		return true
	}
	return false
}

// resumable tells whether an upload that failed so may go on, within the same call, at the offset that the server has. A
// time-out has used up the time of the call; the next one goes on.
func resumable(err error) bool {
	if errors.Is(err, errLost) {
		return false
	}
	switch pool.KindOf(err) {
	case pool.KindNetwork, pool.KindIncomplete, pool.KindProtocol:
		return true
	}
	return false
}

// answered tells whether err is the server's answer to what was to be stored, and not a failure on the way.
func answered(err error) bool {
	switch pool.KindOf(err) {
	case pool.KindNoSpace, pool.KindQuota, pool.KindTooLarge, pool.KindReadOnly, pool.KindIsDir, pool.KindNotDir:
		return true
	}
	return refused(err)
}

// refused tells whether the server said no to the operation as such, so that another way is worth trying.
func refused(err error) bool {
	switch pool.KindOf(err) {
	case pool.KindPermission, pool.KindRefused, pool.KindUnsupported, pool.KindExists, pool.KindInvalidName,
		pool.KindNameTooLong, pool.KindNotFound:
		return true
	case pool.KindOther:
		var e *pool.Error
		return errors.As(err, &e) && e.Code != 0
	}
	return false
}
