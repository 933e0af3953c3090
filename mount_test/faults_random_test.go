//go:build linux

package mount_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// outcome counts how often a tool succeeded and how often it was told.
type outcome struct{ ok, told atomic.Int64 }

func (o *outcome) String() string { return fmt.Sprintf("%d ok, %d told", o.ok.Load(), o.told.Load()) }

// again runs a tool until stop is closed.
func (o *outcome) again(t *testing.T, stop <-chan struct{}, run func() error) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		if err := run(); err != nil {
			o.told.Add(1)
			t.Log(lastBytes(err.Error(), 300))
		} else {
			o.ok.Add(1)
		}
	}
}

// TestRandomFaults: rsync, restic and readers work on one mount while its network fails in every manner. What a tool that
// succeeded stored is on the server, what a reader gets is right; in the end, with the network back, everything is.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	tool(t, "rsync")
	tool(t, "restic")
	s := lab.Start(t, lab.Options{Kind: lab.ProFTPD, Extra: forgetful})
	served := randomBytes(61, 2<<20)
	for i := range 4 {
		serve(t, s, fmt.Sprint("served", i), served)
	}
	f := mountFaulty(t, s, relayHosts[0])
	f.keeps, f.ghosts = true, true
	f.limit(2 * time.Hour)
	tr := &trouble{line: f.line, rng: rand.New(rand.NewPCG(6, 6)), rest: pick(500*time.Millisecond, 250*time.Millisecond)}
	stop := make(chan struct{})
	var all sync.WaitGroup
	var syncs, backups, reads outcome

	tree := lab.Folder(t, "ftpsfs-tree-")
	mirror, repoName := f.folder(t), f.folder(t) // recovers takes the next: a walk through these lists ahead what follows them
	rng := rand.New(rand.NewPCG(7, 7))
	mirrored := func(flags ...string) error {
		args := append(append([]string{"-r", "--delete", "--timeout=120"}, flags...), tree+"/", f.path(mirror)+"/")
		if out, err := tryTool(t, 5*time.Minute, "/", "rsync", args...); err != nil {
			return fmt.Errorf("rsync: %w: %s", err, out)
		}
		sameFiles(t, tree, s.Disk(mirror))
		return nil
	}
	all.Go(func() {
		syncs.again(t, stop, func() error {
			for range 6 {
				name := filepath.Join(tree, fmt.Sprint("f", rng.IntN(40)))
				must(t, os.WriteFile(name, randomBytes(rng.Uint64(), rng.IntN(600_000)), 0o644))
			}
			return mirrored("-c")
		})
	})

	repo := f.path(repoName)
	source := lab.Folder(t, "ftpsfs-source-")
	var snapshots []string
	all.Go(func() {
		for n := 0; ; n++ {
			if _, err := restic(t, repo, "init"); err == nil {
				break
			}
			if n == 20 {
				t.Error("restic init did not succeed in 20 tries")
				return
			}
			_ = os.RemoveAll(repo) // half a repository is none
			_ = os.Mkdir(repo, 0o755)
		}
		backups.again(t, stop, func() error {
			must(t, os.WriteFile(filepath.Join(source, "f"), randomBytes(uint64(len(snapshots)+100), 3<<20), 0o644))
			id, err := backup(t, repo, source)
			if err == nil {
				snapshots = append(snapshots, id)
			}
			return err
		})
	})

	all.Go(func() {
		n := 0
		reads.again(t, stop, func() error {
			n++
			got, err := os.ReadFile(f.path(fmt.Sprint("served", n%4)))
			switch {
			case err == nil && !bytes.Equal(got, served):
				t.Errorf("read %d bytes that are not the file's", len(got))
			case err != nil && !told2(err):
				t.Errorf("the reader was told %v", err)
			}
			return err
		})
	})

	for range pick(20, 1000) {
		tr.one()
	}
	tr.over()
	close(stop)
	all.Wait()
	f.recovers(t)
	if err := mirrored("-c"); err != nil {
		t.Errorf("with the network back: %v", err)
	}
	// On the server's disk: without the mount.
	_, _ = restic(t, s.Disk(repoName), "unlock", "--remove-all") // of backups that were told
	out, err := restic(t, s.Disk(repoName), "check", "--read-data")
	if err != nil {
		t.Errorf("restic check: %v\n%s", err, out)
	}
	list, err := restic(t, s.Disk(repoName), "snapshots")
	for _, id := range snapshots {
		if err != nil || !strings.Contains(list, id[:8]) {
			t.Errorf("restic said that snapshot %s was stored: %v\n%s", id, err, list)
		}
	}
	t.Logf("%d faults; rsync: %v, restic: %v, readers: %v", tr.made, &syncs, &backups, &reads)
	if syncs.ok.Load()+backups.ok.Load() == 0 || reads.ok.Load() == 0 {
		t.Error("nothing succeeded")
	}
}

// sameFiles compares two folders of files.
func sameFiles(t *testing.T, want, got string) {
	t.Helper()
	count := [2]int{}
	for i, root := range []string{want, got} {
		must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !tempName.MatchString(d.Name()) {
				count[i]++
			}
			return err
		}))
	}
	if count[0] != count[1] {
		t.Errorf("rsync said that it was done: %d files on the server, want %d", count[1], count[0])
	}
	entries, err := os.ReadDir(want)
	must(t, err)
	for _, e := range entries {
		a, err := os.ReadFile(filepath.Join(want, e.Name()))
		must(t, err)
		if b, err := os.ReadFile(filepath.Join(got, e.Name())); err != nil || !bytes.Equal(a, b) {
			t.Errorf("rsync said that it was done: %s has %d bytes on the server, want %d; %v", e.Name(), len(b), len(a), err)
		}
	}
}

func resticCommand(repo string, args ...string) *exec.Cmd {
	cmd := exec.Command("restic", append([]string{"-r", repo, "--no-cache"}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=x", "GOMAXPROCS=1")
	return cmd
}

func restic(t *testing.T, repo string, args ...string) (string, error) {
	t.Helper()
	return output(resticCommand(repo, args...), 5*time.Minute)
}

// backup gives the snapshot that restic says it has stored.
func backup(t *testing.T, repo, source string) (string, error) {
	t.Helper()
	out, err := output(resticCommand(repo, "backup", "--json", "--force", source), 5*time.Minute)
	if err != nil {
		return "", fmt.Errorf("restic: %w: %s", err, lastBytes(out, 200))
	}
	for line := range strings.Lines(out) {
		var summary struct {
			Type string `json:"message_type"`
			ID   string `json:"snapshot_id"`
		}
		if json.Unmarshal([]byte(line), &summary) == nil && summary.Type == "summary" {
			return summary.ID, nil
		}
	}
	return "", fmt.Errorf("restic gave no summary: %s", out)
}
