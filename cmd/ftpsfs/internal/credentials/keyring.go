package credentials

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
)

// keyringTimeout bounds a keyring that does not answer; it leaves time to unlock one in its own window.
const keyringTimeout = 60 * time.Second

// service is the name under which our secrets are kept.
const service = "ftpsfs"

func fromKeyring(ctx context.Context, r *Request) (Found, error) {
	if r.Keyring == nil {
		return Found{}, ErrNotFound
	}
	p, err := r.Keyring.Get(ctx, r.User, r.Host, r.Port)
	if err != nil {
		// A keyring that is locked, broken or not there must not keep anybody from being asked.
		return Found{}, ErrNotFound
	}
	return Found{Password: options.Secret(p), HasPassword: true, Source: "the desktop keyring"}, nil
}

// Desktop is the keyring of the desktop session: Secret Service on Linux, Keychain on macOS.
type Desktop struct{}

// available says whether there is a session to ask. Without this check the D-Bus library would start a bus of its own.
func available() bool {
	if runtime.GOOS != "linux" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(dir, "bus"))
	return err == nil
}

func entry(user, host string, port int) string {
	return user + "@" + net.JoinHostPort(host, strconv.Itoa(port))
}

// Get asks for the secret of an account.
func (Desktop) Get(ctx context.Context, user, host string, port int) (string, error) {
	return withTimeout(ctx, func() (string, error) { return keyring.Get(service, entry(user, host, port)) })
}

// Set stores the secret of an account.
func (Desktop) Set(ctx context.Context, user, host string, port int, secret string) error {
	_, err := withTimeout(ctx, func() (string, error) {
		return "", keyring.Set(service, entry(user, host, port), secret)
	})
	return err
}

// withTimeout runs a call of the library, which knows no context. A call that never returns keeps its goroutine until the
// process ends, which for all callers is soon.
func withTimeout(ctx context.Context, call func() (string, error)) (string, error) {
	if !available() {
		return "", ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, keyringTimeout)
	defer cancel()
	type answer struct {
		s   string
		err error
	}
	got := make(chan answer, 1)
	go func() {
		s, err := call()
		got <- answer{s, err}
	}()
	select {
	case a := <-got:
		if errors.Is(a.err, keyring.ErrNotFound) {
			return "", ErrNotFound
		}
		return a.s, a.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
