package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs/content"
)

// ErrNone says that no running mount was found.
var ErrNone = errors.New("no running ftpsfs was found")

// Client talks to one running mount.
type Client struct {
	socket string
	http   http.Client
}

// statusTimeout bounds a mount that does not answer; its status waits for nothing.
const statusTimeout = 10 * time.Second

// exitTimeout is how long a mount may take to end after it was unmounted.
const exitTimeout = 30 * time.Second

// Find gives the mounts of uid, those on mountpoint (a real name) or, with "", all of them.
func Find(mountpoint string, uid int) []*Client {
	pattern := "*.sock"
	if mountpoint != "" {
		pattern = state.Digest(mountpoint) + ".*.sock"
	}
	var list []*Client
	seen := map[string]bool{}
	for _, dir := range state.RuntimeDirs(uid) {
		if !state.Owned(dir, uid) {
			continue // somebody else may have put a folder there, with a socket of his own in it
		}
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, name := range names {
			if !seen[name] && alive(name) {
				list = append(list, newClient(name))
			}
			seen[name] = true
		}
	}
	return list
}

// alive tells whether somebody listens, and removes the socket of a process that died.
func alive(socket string) bool {
	conn, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(socket) // not ours to remove if it fails
		}
		return false
	}
	conn.Close()
	return true
}

func newClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

func (c *Client) do(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://mount"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", resp.Status, text)
	}
	return resp, nil
}

// Status gives the status as the mount encoded it.
func (c *Client) Status(ctx context.Context) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// Sync returns when the server has everything. waiting is told now and then what is not there yet.
func (c *Client) Sync(ctx context.Context, waiting func([]content.Status)) error {
	body, err := c.follow(ctx, "/sync", waiting)
	if err == nil {
		body.Close()
	}
	return err
}

// Unmount returns when the server has everything, the mount is gone and its process has ended.
func (c *Client) Unmount(ctx context.Context, lazy bool, waiting func([]content.Status)) error {
	path := "/umount"
	if lazy {
		path += "?lazy=1"
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := c.follow(ctx, path, waiting)
	if err != nil {
		return err
	}
	defer body.Close()
	stop := time.AfterFunc(exitTimeout, cancel)
	defer stop.Stop()
	_, _ = io.Copy(io.Discard, body) // the connection breaks when the process ends: that is no error
	return nil
}

// follow reads progress until the outcome. The body is the caller's to close if the outcome is good.
func (c *Client) follow(ctx context.Context, path string, waiting func([]content.Status)) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodPost, path)
	if err != nil {
		return nil, err
	}
	dec := json.NewDecoder(resp.Body)
	for {
		var p progress
		err := dec.Decode(&p)
		switch {
		case err != nil:
			resp.Body.Close()
			return nil, fmt.Errorf("the mount ended before it was done: %w", err)
		case p.Error != "":
			resp.Body.Close()
			return nil, &exitcode.Error{Code: p.Code, What: p.Error}
		case p.Done:
			return resp.Body, nil
		}
		waiting(p.Waiting)
	}
}
