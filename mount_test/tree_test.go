//go:build linux

package mount_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// makeTree fills a folder with files of odd names in nested folders, with all kinds of modes and times. Every name that
// all servers take is in it.
func makeTree(t *testing.T, root string, files int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(files), 1))
	dirs := []string{root}
	for i := range files / 20 {
		dir := filepath.Join(dirs[rng.IntN(len(dirs))], shorten(oddNames[i%len(oddNames)], 200)+fmt.Sprint(" d", i))
		if len(dir) > 1000 || strings.Contains(filepath.Base(dir), "*") { // ProFTPD makes no folder with a star
			continue
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	modes := []os.FileMode{0o644, 0o600, 0o755, 0o640, 0o444, 0o664}
	for i := range files {
		name := oddNames[i%len(oddNames)]
		if i >= len(oddNames) {
			name = shorten(name, 240) + fmt.Sprint(i)
		}
		path := filepath.Join(dirs[rng.IntN(len(dirs))], name)
		if i < len(oddNames) {
			path = filepath.Join(root, name)
		}
		size := rng.IntN(4000)
		if i%50 == 0 {
			size = rng.IntN(400_000)
		}
		if err := os.WriteFile(path, randomBytes(uint64(i), size), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, modes[i%len(modes)]); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rng.Int64N(1_700_000_000), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	slices.Reverse(dirs) // children first: making them changes the time of the folder
	for i, dir := range dirs {
		at := time.Unix(int64(1_000_000_000+i*1000), 0)
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

// shorten cuts a name to n bytes at most without cutting a character.
func shorten(name string, n int) string {
	for len(name) > n {
		r := []rune(name)
		name = string(r[:len(r)-1])
	}
	return name
}

// describe lists a tree: one line for each name with type, mode, time and content; folders without time, or without
// mode too, where a server or a program leaves them.
func describe(t *testing.T, root string, dirTimes, dirModes bool) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || rel == "." {
			return err
		}
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%q %v", rel, fi.Mode())
		if fi.IsDir() && !dirModes {
			line = fmt.Sprintf("%q folder", rel)
		}
		if !fi.IsDir() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x", len(content), bytesSum(content))
		}
		if !fi.IsDir() || dirTimes {
			line += " " + fi.ModTime().UTC().Format(time.DateTime)
		}
		all = append(all, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func bytesSum(b []byte) uint64 {
	var sum uint64 = 14695981039346656037 // FNV-1a
	for _, c := range b {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return sum
}

// sameTree compares two descriptions.
func sameTree(t *testing.T, where string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	var diff []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			diff = append(diff, "lacks "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			diff = append(diff, "has   "+line)
		}
	}
	slices.SortStableFunc(diff, func(a, b string) int { return strings.Compare(a[6:], b[6:]) })
	t.Errorf("%s: %d names, want %d; %d differences:\n%s", where, len(got), len(want), len(diff), strings.Join(diff[:min(20, len(diff))], "\n"))
}

// carrier is a program that copies a tree.
type carrier struct {
	name string
	// copy carries a tree; dirTimes says whether the times of folders can be set there.
	copy func(t *testing.T, from, to string, dirTimes bool) (string, error)
}

var carriers = []carrier{
	{"cp", func(t *testing.T, from, to string, dirTimes bool) (string, error) {
		return tryTool(t, 10*time.Minute, "/", "cp", "-a", from+"/.", to)
	}},
	{"rsync", func(t *testing.T, from, to string, dirTimes bool) (string, error) {
		return tryTool(t, 10*time.Minute, "/", "rsync", archive(dirTimes), from+"/", to)
	}},
	{"tar", func(t *testing.T, from, to string, dirTimes bool) (string, error) {
		return tryTool(t, 10*time.Minute, "/", "sh", "-c", `set -e; tar -C "$1" -cf "$2/tar" .; tar -C "$3" -xpf "$2/tar"`,
			"sh", from, lab.Folder(t, "ftpsfs-tar-"), to)
	}},
}

// archive is rsync's option for a copy of everything.
func archive(dirTimes bool) string {
	if dirTimes {
		return "-a"
	}
	return "-aO"
}

// TestTrees carries a tree of odd names in and out with each program. What comes out, and what lies on the server's
// disk, has the same names, contents, modes and times.
func TestTrees(t *testing.T) {
	for _, program := range []string{"cp", "rsync", "tar"} {
		tool(t, program)
	}
	local := lab.Folder(t, "ftpsfs-tree-")
	makeTree(t, local, pick(400, 2000))
	each(t, pick(realServers, bothVersions), func(t *testing.T, c cell) {
		// vsftpd cannot set a folder's time.
		dirTimes := c.kind != lab.VSFTPD
		m := mountServer(t, c.start(t))
		m.limit(20 * time.Minute)
		for _, carry := range carriers {
			t.Run(carry.name, func(t *testing.T) {
				if err := os.Mkdir(m.path(carry.name), 0o755); err != nil {
					t.Fatal(err)
				}
				out, err := carry.copy(t, local, m.path(carry.name), dirTimes)
				onlyFolderTimes(t, out, err, dirTimes)
				// cp gives up on a folder whose time it cannot set, before it sets its mode.
				dirModes := dirTimes || carry.name != "cp"
				want := describe(t, local, dirTimes, dirModes)
				sameTree(t, "on the server's disk", describe(t, m.server.Disk(carry.name), dirTimes, dirModes), want)
				back := lab.Folder(t, "ftpsfs-back-")
				if out, err := carry.copy(t, m.path(carry.name), back, true); err != nil {
					t.Errorf("%s out: %v\n%s", carry.name, err, out)
				}
				sameTree(t, "read back", describe(t, back, dirTimes, dirModes), want)
			})
		}
		t.Run("rsync again", func(t *testing.T) {
			if out := runTool(t, "/", "rsync", archive(dirTimes), "--itemize-changes", local+"/", m.path("rsync")); out != "" {
				t.Errorf("a second rsync found something to do:\n%s", lastBytes(out, 3000))
			}
			fresh := mountServer(t, m.server)
			if out := runTool(t, "/", "rsync", archive(dirTimes), "--itemize-changes", local+"/", fresh.path("rsync")); out != "" {
				t.Errorf("rsync on a fresh mount found something to do:\n%s", lastBytes(out, 3000))
			}
		})
		t.Run("rm", func(t *testing.T) {
			for _, carry := range carriers {
				runTool(t, "/", "rm", "-r", m.path(carry.name))
			}
			if left, err := os.ReadDir(m.server.Root); err != nil || len(left) != 0 {
				t.Errorf("left on the server: %v, %v", left, err)
			}
		})
		m.resident(maxResident)
	})
}

// onlyFolderTimes accepts a failure of a copy only where folder times cannot be set and nothing else is complained of.
func onlyFolderTimes(t *testing.T, out string, err error, dirTimes bool) {
	t.Helper()
	if err == nil {
		return
	}
	if !dirTimes {
		var other []string
		for line := range strings.Lines(out) {
			told := strings.Contains(line, "Operation not supported") &&
				(strings.Contains(line, "times") || strings.Contains(line, "utime"))
			summary := strings.Contains(line, "some files/attrs were not transferred") || strings.Contains(line, "previous errors")
			if !told && !summary && len(bytes.TrimSpace([]byte(line))) > 0 {
				other = append(other, line)
			}
		}
		if len(other) == 0 {
			return
		}
		out = strings.Join(other, "")
	}
	t.Errorf("copy in: %v\n%s", err, lastBytes(out, 3000))
}
