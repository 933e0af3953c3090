package fs

import (
	"context"
	"errors"
	"syscall"

	"github.com/ftpsfs/ftpsfs/pool"
)

// errnoOf is the one table from the kinds of failure to what applications see. A test holds it complete.
//
// KindRefused is EACCES: the server said no without a reason, after the operations of pool looked at the object and
// found nothing that explains it. A login or a certificate that is not accepted any more is EACCES as well: it is
// a question of rights, and the log has the words. KindLimit is EBUSY, not EAGAIN, which programs read as "try again at
// once". KindClosed only reaches callers that are still there when the mount ends.
var errnoOf = map[pool.Kind]syscall.Errno{
	pool.KindOther:       syscall.EIO,
	pool.KindNotFound:    syscall.ENOENT,
	pool.KindExists:      syscall.EEXIST,
	pool.KindNotEmpty:    syscall.ENOTEMPTY,
	pool.KindIsDir:       syscall.EISDIR,
	pool.KindNotDir:      syscall.ENOTDIR,
	pool.KindPermission:  syscall.EACCES,
	pool.KindRefused:     syscall.EACCES,
	pool.KindReadOnly:    syscall.EROFS,
	pool.KindNoSpace:     syscall.ENOSPC,
	pool.KindQuota:       syscall.EDQUOT,
	pool.KindUnsupported: syscall.EOPNOTSUPP,
	pool.KindInvalidName: syscall.EINVAL,
	pool.KindNameTooLong: syscall.ENAMETOOLONG,
	pool.KindTooLarge:    syscall.EFBIG,
	pool.KindChanged:     syscall.ESTALE,
	pool.KindIncomplete:  syscall.EIO,
	pool.KindAuth:        syscall.EACCES,
	pool.KindTrust:       syscall.EACCES,
	pool.KindTLSPolicy:   syscall.EACCES,
	pool.KindLimit:       syscall.EBUSY,
	pool.KindTimeout:     syscall.ETIMEDOUT,
	pool.KindNetwork:     syscall.EIO,
	pool.KindCanceled:    syscall.EINTR,
	pool.KindProtocol:    syscall.EIO,
	pool.KindClosed:      syscall.EIO,
}

// toErrno gives the errno of an error of the rooms below: a *pool.Error through the table, a syscall.Errno of the local
// disk as it is, and EIO for anything else. nil is 0.
func toErrno(err error) syscall.Errno {
	var remote *pool.Error
	var local syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &remote):
		// A full local disk may be the cause below an error of the transfer.
		if remote.Kind == pool.KindOther && errors.As(remote.Err, &local) && local != 0 {
			return local
		}
		if errno, ok := errnoOf[remote.Kind]; ok {
			return errno
		}
		return syscall.EIO
	case errors.As(err, &local) && local != 0:
		return local
	case errors.Is(err, context.DeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	default:
		return syscall.EIO
	}
}

// ordinary errnos are answers, not incidents: every program asks for names that do not exist.
var ordinary = map[syscall.Errno]bool{
	syscall.ENOENT: true, syscall.EEXIST: true, syscall.ENOTEMPTY: true, syscall.EISDIR: true, syscall.ENOTDIR: true,
	syscall.EACCES: true, syscall.EPERM: true, syscall.EROFS: true, syscall.EOPNOTSUPP: true, syscall.EINVAL: true,
	syscall.ENAMETOOLONG: true, syscall.EINTR: true,
}

// fail turns an error into the answer to the kernel, and puts what is not an ordinary answer into the log.
func (s *Server) fail(op, path string, err error) syscall.Errno {
	errno := toErrno(err)
	if errno == 0 {
		return 0
	}
	// A bare ESTALE is our own way to have the kernel look a name up again.
	if (ordinary[errno] || err == syscall.ESTALE) && pool.KindOf(err) != pool.KindAuth && pool.KindOf(err) != pool.KindTrust &&
		pool.KindOf(err) != pool.KindTLSPolicy {
		s.log.Debug("refused", "op", op, "path", path, "errno", errno, "err", err)
		return errno
	}
	if suppressed, ok := s.warnings.allow(errno, s.now()); ok {
		s.log.Warn("failed", "op", op, "path", path, "errno", errno, "err", err, "suppressed", suppressed)
	}
	return errno
}

// notFound reports whether err says that there is no such name.
func notFound(err error) bool { return err != nil && pool.KindOf(err) == pool.KindNotFound }
