package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path"

	"github.com/ftpsfs/ftpsfs/cache"
	"github.com/ftpsfs/ftpsfs/cache/blocks"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/credentials"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/options"
	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/state"
	"github.com/ftpsfs/ftpsfs/fs"
	"github.com/ftpsfs/ftpsfs/fs/ahead"
	"github.com/ftpsfs/ftpsfs/fs/content"
	"github.com/ftpsfs/ftpsfs/fs/content/emulate"
	"github.com/ftpsfs/ftpsfs/fs/stage"
	"github.com/ftpsfs/ftpsfs/pool"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// rooms are the parts of one mount, each made of the ones before it.
type rooms struct {
	pool    *pool.Pool
	kept    *emulate.Remote // nil without emulate=
	cache   *cache.Cache
	blocks  *blocks.Store
	stage   *stage.Store // nil for a read-only mount without a state folder
	ahead   *ahead.Files
	content *content.Store
	server  *fs.Server
}

// walkAhead is how many folders are listed at a time ahead of somebody who walks through them. The pool lends all connections
// for it only while that is over in no time for whoever else comes.
const walkAhead = 8

// filesAhead is how many small files are fetched at a time ahead of somebody who reads one after the other, on the same
// terms, and mostAhead how much of the memory for file data they may take.
const (
	filesAhead = 8
	mostAhead  = int64(8 << 20)
)

// poolConfig says how the server is reached.
func poolConfig(o options.Options, login credential, dir state.Dir, ask dialog, log *slog.Logger) pool.Config {
	tr := o.Trust
	if dir != "" {
		tr.KnownHosts = dir.KnownHosts()
	}
	tr.Ask = func(question string) (bool, error) {
		return credentials.Confirm(context.Background(), ask, question)
	}
	tr.KeyPassphrase = func() (string, error) {
		return ask.Ask(context.Background(), "Passphrase for "+tr.KeyFile+": ", true)
	}
	s := session.Config{
		Host: o.Target.Host, Port: o.Target.Port, User: login.User, Account: o.Account,
		TLS: o.TLS, Trust: tr, ConnectTimeout: o.ConnectTimeout, Timeout: o.Timeout,
		Active: o.Active, ActivePorts: o.ActivePorts, ActiveAddr: o.ActiveAddr,
		TrustPASVAddress: o.TrustPASVAddress, NoEPSV: o.NoEPSV, ProtClear: o.ProtClear, CCC: o.CCC, Log: log,
	}
	if s.Account == "" {
		s.Account = login.Account
	}
	if login.HasPassword {
		s.Password = func(context.Context) (string, error) { return login.Password, nil }
	}
	cfg := pool.Config{
		Session: s, Root: o.Target.Root, MaxConns: o.MaxConns, Timeout: o.Timeout,
		Verify: o.Verify, ReadOnly: o.ReadOnly, RawTargets: o.Symlinks == fs.SymlinksRaw, Log: log,
	}
	if dir != "" {
		cfg.LearnedFile = dir.Server(o.Target.Host, o.Target.Port)
	}
	return cfg
}

// connect logs in, lists the root and puts everything but the kernel's mount together. What was made is the caller's to
// close, also after an error.
func (r *rooms) connect(ctx context.Context, o options.Options, cfg pool.Config, dir state.Dir) error {
	var err error
	if r.pool, err = pool.New(cfg); err != nil {
		return err
	}
	if err := r.pool.Connect(ctx); err != nil {
		return err
	}
	if o.Emulate.Keeps() {
		if r.kept, err = keepAttrs(o, cfg, dir, r.pool); err != nil {
			return err
		}
	}
	remote := r.remote()
	r.cache = cache.New(remote, cache.Options{
		AttrTTL: fs.CacheTTL(o.AttrTTL), DirTTL: fs.CacheTTL(o.DirTTL), NegTTL: fs.CacheTTL(o.NegTTL),
		Hide:     func(name string) bool { return r.content.IsTemp(name) },
		Walk:     cache.WalkOptions{Parallel: walkAhead, Background: pool.Ahead, Aside: pool.Aside, AtHand: r.pool.AtHand, Wanted: r.pool.Wanted},
		Together: r.pool.AsksTogether,
	})
	budget := min(mostAhead, o.CacheMem/8)
	r.blocks = blocks.New(o.CacheMem - budget)
	r.ahead = ahead.New(ahead.Config{
		Remote: remote, Meta: r.cache, TTL: fs.CacheTTL(o.AttrTTL), Budget: budget, Parallel: filesAhead,
	})
	id := mountID()
	if dir != "" {
		identity := path.Join(cfg.Session.User+"@"+o.Target.Host, o.Target.Root)
		if r.stage, err = stage.Open(stage.Config{Dir: string(dir), Server: identity, Mount: id, Limit: o.StageSize, Log: cfg.Log}); err != nil {
			return err
		}
	}
	r.content = content.New(content.Config{
		Remote: r.ahead, Meta: r.cache, Stage: r.stage, Blocks: r.blocks, Replace: o.Replace, Verify: o.Verify,
		MountID: id, ReadOnly: o.ReadOnly, Log: cfg.Log,
	})
	if err := r.listRoot(ctx, cfg.Log); err != nil {
		return err
	}
	if err := r.content.Recover(ctx); err != nil {
		cfg.Log.Warn("what an earlier mount left could not be looked at", "err", err)
	}
	return nil
}

// keepAttrs puts what is kept on this machine over what the server tells.
func keepAttrs(o options.Options, cfg pool.Config, dir state.Dir, server emulate.Server) (*emulate.Remote, error) {
	if dir == "" {
		return nil, exitcode.NewUsage("emulate="+o.Emulate.String()+" needs a folder for its state", "write state_dir=DIR")
	}
	return emulate.New(emulate.Config{
		Server: server, File: dir.Kept(cfg.Session.User, o.Target.Host, o.Target.Port, o.Target.Root),
		Mode: o.Emulate.Mode, ModTime: o.Emulate.ModTime, Log: cfg.Log,
	})
}

// listRoot makes sure that the mount will show something. A folder that takes files and shows none is no failure.
func (r *rooms) listRoot(ctx context.Context, log *slog.Logger) error {
	_, err := r.cache.List(ctx, "/")
	if err == nil {
		return nil
	}
	switch pool.KindOf(err) {
	case pool.KindPermission, pool.KindRefused:
		log.Warn("the top folder cannot be listed; files in it can be opened by name", "err", err)
		return nil
	}
	return err
}

// mount asks the kernel.
func (r *rooms) mount(o options.Options, mountpoint string, log *slog.Logger) error {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if o.UID != nil {
		uid = *o.UID
	}
	if o.GID != nil {
		gid = *o.GID
	}
	cfg := fs.Config{
		Mountpoint: mountpoint, Source: o.Target.String(), Remote: r.ahead, Cache: r.cache, Content: r.content,
		Root: r.pool.Root(), Symlinks: o.Symlinks,
		AttrTTL: o.AttrTTL, DirTTL: o.DirTTL, NegTTL: o.NegTTL,
		ReadOnly: o.ReadOnly, AllowOther: o.AllowOther, UID: uid, GID: gid,
		MountOptions: o.Kernel, Debug: o.Debug, Log: log,
	}
	if o.Umask != nil {
		cfg.Umask, cfg.HasUmask = *o.Umask, true
	}
	cfg.Allocate = o.Emulate.Allocate
	if o.Emulate.ModTime {
		cfg.Links = r.kept
	}
	var err error
	r.server, err = fs.Mount(cfg)
	return err
}

// remote is the server as the file system sees it.
func (r *rooms) remote() emulate.Server {
	if r.kept != nil {
		return r.kept
	}
	return r.pool
}

// close ends what connect made, in the opposite order. The kernel's mount must be gone.
func (r *rooms) close(ctx context.Context) error {
	var err error
	if r.content != nil {
		err = r.content.Close(ctx)
	}
	if r.ahead != nil {
		r.ahead.Close()
	}
	if r.cache != nil {
		r.cache.Close()
	}
	if r.pool != nil {
		r.pool.Close()
	}
	if r.kept != nil {
		err = errors.Join(err, r.kept.Close())
	}
	if r.stage != nil {
		err = errors.Join(err, r.stage.Close())
	}
	if r.blocks != nil {
		r.blocks.Close()
	}
	return err
}

// mountID is what the temporary names of this mount carry.
func mountID() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
