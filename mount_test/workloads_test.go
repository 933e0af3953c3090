//go:build linux

package mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// inVain count bytes that were fetched ahead and that nobody read: small files, windows and ranges of larger ones, and listings, also those
// that were given up on their way.
var inVain = []string{
	"read_ahead.bytes_in_vain", "blocks.bytes_in_vain", "blocks.unread",
	"cache.bytes_in_vain", "cache.unread", "pool.bytes_in_vain",
}

// workload is one row of the benchmark's table.
type workload struct {
	name    string
	bytes   int64                       // that it moves; 0: too few to tell what a byte costs
	prepare func(b *bench)              // makes what is read, on the server's disk, once
	each    func(b *bench, disk string) // makes what one run needs in its folder
	// do works through a mount: root is the mount point, work the folder of the run in it.
	do func(b *bench, root, work string) error
	// lftp and curl give a shell script that does the same, in the folder of local files. run is the folder on the server.
	lftp, curl func(b *bench, run string) string
	// check looks on the server's disk for what must be there. nil: do has compared what it read.
	check func(b *bench, disk string) error
}

func (w workload) script(client string) func(*bench, string) string {
	return map[string]func(*bench, string) string{"lftp": w.lftp, "curl": w.curl}[client]
}

// Sizes of the workloads.
var (
	walkFolders, walkFiles = pick(30, 100), 50
	smallFiles             = pick(100, 500)
	treeFiles              = pick(60, 300)
	bigFile                = pick[int64](64, 256) << 20
	longFile               = int64(256) << 20
	hugeFile               = int64(1) << 30
	randomReads            = pick(30, 100)
)

const (
	smallSize = 4 << 10
	tail      = 64 << 10
)

var workloads = []workload{
	{
		name: "walk: ls -lR", prepare: makeWalk,
		do: func(b *bench, root, _ string) error {
			out, err := exec.Command("ls", "-lR", filepath.Join(root, "walk")).Output()
			if n := bytes.Count(out, []byte("file-")); n != walkFolders*walkFiles {
				return errors.Join(err, fmt.Errorf("%d names", n))
			}
			return err
		},
		lftp: func(b *bench, _ string) string { return b.lftpScript("find -l walk > listing") },
	},
	{
		name: "read a large file", bytes: bigFile, prepare: makeBig,
		do: func(b *bench, root, _ string) error {
			return sameFile(filepath.Join(root, "big"), b.server.Disk("big"))
		},
		lftp: func(b *bench, _ string) string { return b.lftpScript("get big -o got") + " && cmp got big; rm got" },
		curl: func(b *bench, _ string) string {
			return b.curlScript("-o got %s", "big") + " && cmp got big; rm got"
		},
	},
	{
		// What it says depends on FTPSFS_BENCH_FLOW: with a cap the file comes by several connections.
		name: "read a file of 256 MiB", bytes: longFile, prepare: makeLong,
		do: func(b *bench, root, _ string) error {
			return sameFile(filepath.Join(root, "long"), b.server.Disk("long"))
		},
		lftp: func(b *bench, _ string) string {
			return b.lftpScript("pget -n 4 long -o got") + " && cmp got long; rm got"
		},
		curl: func(b *bench, _ string) string {
			return b.curlScript("-o got %s", "long") + " && cmp got long; rm got"
		},
	},
	{
		name: "write a large file", bytes: bigFile, prepare: makeBig,
		do: func(b *bench, _, work string) error {
			return runProgram("cp", filepath.Join(b.local, "big"), filepath.Join(work, "big"))
		},
		lftp: func(b *bench, run string) string { return b.lftpScript("put -O " + run + " big") },
		curl: func(b *bench, run string) string { return b.curlScript("-T big %s", run+"/big") },
		check: func(b *bench, disk string) error {
			return sameFile(filepath.Join(disk, "big"), b.server.Disk("big"))
		},
	},
	{
		name: "read small files one by one", prepare: makeSmall,
		do: func(b *bench, root, _ string) error { return readSmall(b, root, 1) },
		lftp: func(b *bench, _ string) string {
			return "mkdir got && " + b.lftpScript("mget -O got small/*") + " && diff -r got small; rm -r got"
		},
		curl: func(b *bench, _ string) string {
			return "mkdir got && " + b.curlScript("-o got/f#1 %s", smallRange("small/f")) + " && diff -r got small; rm -r got"
		},
	},
	{
		name: "read small files by eight", prepare: makeSmall,
		do: func(b *bench, root, _ string) error { return readSmall(b, root, 8) },
		lftp: func(b *bench, _ string) string {
			return b.lftpScript("mirror --parallel=8 small got") + " && diff -r got small; rm -r got"
		},
		curl: func(b *bench, _ string) string {
			return "mkdir got && " + b.curlScript("--parallel --parallel-max 8 -o got/f#1 %s", smallRange("small/f")) +
				" && diff -r got small; rm -r got"
		},
	},
	{
		name: "create small files one by one", prepare: makeSmall,
		do: func(b *bench, _, work string) error { return createSmall(b, work, 1) },
		lftp: func(b *bench, run string) string {
			return b.lftpScript("mput -O " + run + " small/*")
		},
		curl: func(b *bench, run string) string {
			return b.curlScript("-T "+smallRange("small/f")+" %s", run+"/")
		},
		check: checkSmall,
	},
	{
		name: "create small files by eight", prepare: makeSmall,
		do: func(b *bench, _, work string) error { return createSmall(b, work, 8) },
		lftp: func(b *bench, run string) string {
			return b.lftpScript("mirror -R --parallel=8 small " + run)
		},
		check: checkSmall,
	},
	{
		name: "random reads of 4 KiB", prepare: makeBig,
		do: func(b *bench, root, _ string) error { return readRandom(b, root) },
	},
	{
		name: "first byte of a huge file", prepare: makeHuge,
		do: func(b *bench, root, _ string) error { return readPiece(b, root, 0, 1) },
	},
	{
		name: "last 64 KiB of a huge file", prepare: makeHuge,
		do: func(b *bench, root, _ string) error { return readPiece(b, root, hugeFile-tail, tail) },
	},
	{
		name: "rsync -a in", prepare: makeTreeHere,
		do: func(b *bench, _, work string) error { return b.copyProgram("rsync", "-a", b.local+"/tree/", work+"/") },
		check: func(b *bench, disk string) error {
			return sameFolder(filepath.Join(b.local, "tree"), disk)
		},
	},
	{
		name: "rsync -a again, nothing to do", prepare: makeTreeHere,
		each: func(b *bench, disk string) { b.copyTree(disk) },
		do:   func(b *bench, _, work string) error { return b.copyProgram("rsync", "-a", b.local+"/tree/", work+"/") },
	},
	{
		name: "tar x", prepare: makeTreeHere,
		do: func(b *bench, _, work string) error {
			return b.copyProgram("tar", "xf", filepath.Join(b.local, "tree.tar"), "-C", work)
		},
		check: func(b *bench, disk string) error {
			return sameFolder(filepath.Join(b.local, "tree"), disk)
		},
	},
	{
		name: "rm -rf", prepare: makeTreeHere,
		each: func(b *bench, disk string) { b.copyTree(filepath.Join(disk, "tree")) },
		do:   func(b *bench, _, work string) error { return runProgram("rm", "-rf", filepath.Join(work, "tree")) },
		lftp: func(b *bench, run string) string { return b.lftpScript("rm -r " + run + "/tree") },
		check: func(_ *bench, disk string) error {
			if _, err := os.Stat(filepath.Join(disk, "tree")); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("still there: %w", err)
			}
			return nil
		},
	},
	{
		name:  "restic init",
		do:    func(b *bench, _, work string) error { return b.restic(work, "init") },
		check: func(b *bench, disk string) error { return b.restic(disk, "check") },
	},
	{
		name: "restic backup of 100 MiB", prepare: makeBackupHere,
		each:  func(b *bench, disk string) { b.putRepository(disk) },
		do:    func(b *bench, _, work string) error { return b.restic(work, "backup", b.backedUp()) },
		check: func(b *bench, disk string) error { return b.restic(disk, "check", "--read-data") },
	},
	{
		name: "restic check --read-data", prepare: makeBackupHere,
		each: func(b *bench, disk string) {
			b.putRepository(disk)
			b.must(b.restic(disk, "backup", b.backedUp()))
			b.owned(disk)
		},
		do: func(b *bench, _, work string) error { return b.restic(work, "check", "--read-data") },
	},
}

// restic runs restic on a repository, without a cache of its own.
func (b *bench) restic(repository string, args ...string) error {
	cmd := exec.Command("restic", append([]string{"--no-cache", "-q", "-r", repository}, args...)...)
	cmd.Env = append(os.Environ(), "RESTIC_PASSWORD=secret")
	if out, err := output(cmd, 10*time.Minute); err != nil {
		return fmt.Errorf("restic %s: %w: %s", args[0], err, lastBytes(out, 300))
	}
	return nil
}

// backedUp is the folder that restic saves.
func (b *bench) backedUp() string { return filepath.Join(b.local, "backed-up") }

func makeBackupHere(b *bench) {
	if absent(b.backedUp()) {
		b.must(os.Mkdir(b.backedUp(), 0o755))
		for i := range 20 {
			makeFile(b, filepath.Join(b.backedUp(), fmt.Sprint("file-", i)), uint64(i), 5<<20)
		}
	}
}

// putRepository makes an empty repository on the server's disk.
func (b *bench) putRepository(disk string) {
	b.must(b.restic(disk, "init"))
	b.owned(disk)
}

// owned gives everything below a served folder to the server's user.
func (b *bench) owned(disk string) {
	b.must(runProgram("chown", "-R", fmt.Sprintf("%d:%d", b.server.UID, b.server.GID), disk))
}

// lftpScript runs lftp commands on the server.
func (b *bench) lftpScript(commands string) string {
	return fmt.Sprintf(`lftp -u %s,%s -e 'set ftp:ssl-force true; set ftp:ssl-protect-data true; set ssl:ca-file %s; set ssl:check-hostname no; set cmd:fail-exit true; %s; bye' ftp://%s:%d`,
		b.server.User, b.server.Password, b.server.CAFile, commands, b.host, b.server.Port)
}

// curlScript runs curl with the URL of a path where args has %s.
func (b *bench) curlScript(args, path string) string {
	url := fmt.Sprintf("'ftp://%s:%d/%s'", b.host, b.server.Port, path)
	return fmt.Sprintf("curl -sS --fail --ssl-reqd --cacert %s -u %s:%s ", b.server.CAFile, b.server.User, b.server.Password) +
		strings.Replace(args, "%s", url, 1)
}

// smallRange is curl's pattern for the names of all small files.
func smallRange(prefix string) string { return fmt.Sprintf("'%s[000-%03d]'", prefix, smallFiles-1) }

func runProgram(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, lastBytes(string(out), 300))
	}
	return nil
}

// copyProgram is runProgram for copies with folders: vsftpd has no command for a folder's time, of which the programs
// complain. What they copied is compared all the same.
func (b *bench) copyProgram(name string, args ...string) error {
	err := runProgram(name, args...)
	if b.c.kind == lab.VSFTPD && err != nil && strings.Contains(err.Error(), "not supported") {
		return nil
	}
	return err
}

// must ends the benchmark on an error.
func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// absent says that a served or local file is not there yet.
func absent(path string) bool {
	_, err := os.Stat(path)
	return err != nil
}

func makeWalk(b *bench) {
	for i := range walkFolders {
		dir := b.server.Disk("walk", fmt.Sprintf("dir-%03d", i))
		b.must(os.MkdirAll(dir, 0o755))
		for j := range walkFiles {
			b.must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%02d", j)), nil, 0o644))
		}
	}
}

func makeBig(b *bench) {
	if absent(b.server.Disk("big")) {
		makeFile(b, b.server.Disk("big"), 1, bigFile)
		b.must(runProgram("cp", b.server.Disk("big"), filepath.Join(b.local, "big")))
	}
}

func makeLong(b *bench) {
	if absent(b.server.Disk("long")) {
		makeFile(b, b.server.Disk("long"), 1, longFile)
		b.must(os.Link(b.server.Disk("long"), filepath.Join(b.local, "long")))
	}
}

func makeHuge(b *bench) {
	if absent(b.server.Disk("huge")) {
		f, err := os.Create(b.server.Disk("huge"))
		b.must(err)
		for _, off := range []int64{0, hugeFile - tail} { // the rest is a hole
			_, err := f.WriteAt(randomBytes(uint64(off), tail), off)
			b.must(err)
		}
		b.must(f.Close())
	}
}

func smallName(i int) string { return fmt.Sprintf("f%03d", i) }

func smallContent(i int) []byte { return randomBytes(uint64(i), smallSize) }

func makeSmall(b *bench) {
	for _, dir := range []string{b.server.Disk("small"), filepath.Join(b.local, "small")} {
		if absent(dir) {
			b.must(os.Mkdir(dir, 0o755))
			for i := range smallFiles {
				b.must(os.WriteFile(filepath.Join(dir, smallName(i)), smallContent(i), 0o644))
			}
		}
	}
}

// byWorkers runs fn for every small file, in as many goroutines. Each takes the next file that is left, in the order of names.
func byWorkers(workers int, fn func(i int) error) error {
	var all sync.WaitGroup
	errs, next := make([]error, workers), make(chan int)
	for w := range workers {
		all.Go(func() {
			for i := range next {
				errs[w] = errors.Join(errs[w], fn(i))
			}
		})
	}
	for i := range smallFiles {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(errs...)
}

func readSmall(_ *bench, root string, workers int) error {
	return byWorkers(workers, func(i int) error {
		got, err := os.ReadFile(filepath.Join(root, "small", smallName(i)))
		if err == nil && !bytes.Equal(got, smallContent(i)) {
			err = fmt.Errorf("%s: %d bytes that are not right", smallName(i), len(got))
		}
		return err
	})
}

func createSmall(_ *bench, work string, workers int) error {
	return byWorkers(workers, func(i int) error {
		return os.WriteFile(filepath.Join(work, smallName(i)), smallContent(i), 0o644)
	})
}

func checkSmall(_ *bench, disk string) error {
	for i := range smallFiles {
		got, err := os.ReadFile(filepath.Join(disk, smallName(i)))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, smallContent(i)) {
			return fmt.Errorf("%s: %d bytes that are not right", smallName(i), len(got))
		}
	}
	return nil
}

func readRandom(b *bench, root string) error {
	f, err := os.Open(filepath.Join(root, "big"))
	if err != nil {
		return err
	}
	defer f.Close()
	want, err := os.Open(b.server.Disk("big"))
	if err != nil {
		return err
	}
	defer want.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	for range randomReads {
		p, q := make([]byte, smallSize), make([]byte, smallSize)
		off := rng.Int64N(bigFile - smallSize)
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		if _, err := want.ReadAt(q, off); err != nil {
			return err
		}
		if !bytes.Equal(p, q) {
			return fmt.Errorf("wrong bytes at %d", off)
		}
	}
	return nil
}

func readPiece(b *bench, root string, off, n int64) error {
	f, err := os.Open(filepath.Join(root, "huge"))
	if err != nil {
		return err
	}
	defer f.Close()
	p := make([]byte, n)
	if _, err := f.ReadAt(p, off); err != nil {
		return err
	}
	if !bytes.Equal(p, randomBytes(uint64(off), tail)[:n]) {
		return errors.New("wrong bytes")
	}
	return nil
}

// makeTreeHere makes a folder of small files in folders, and an archive of it.
func makeTreeHere(b *bench) {
	tree := filepath.Join(b.local, "tree")
	if !absent(tree) {
		return
	}
	for i := range treeFiles {
		dir := filepath.Join(tree, fmt.Sprintf("d%02d", i/20))
		b.must(os.MkdirAll(dir, 0o755))
		b.must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("file-%03d", i)), randomBytes(uint64(i), 1000+37*i), 0o644))
	}
	b.must(runProgram("tar", "cf", tree+".tar", "-C", tree, "."))
}

// copyTree puts the tree on the server's disk.
func (b *bench) copyTree(to string) {
	b.must(runProgram("cp", "-a", filepath.Join(b.local, "tree"), to+".new"))
	if !absent(to) {
		b.must(os.Remove(to))
	}
	b.must(os.Rename(to+".new", to))
	b.owned(to)
}

// sameFile compares two files.
func sameFile(got, want string) error {
	f, err := os.Open(got)
	if err != nil {
		return err
	}
	defer f.Close()
	g, err := os.Open(want)
	if err != nil {
		return err
	}
	defer g.Close()
	p, q := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := io.ReadFull(f, p)
		m, werr := io.ReadFull(g, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return fmt.Errorf("%s differs behind %d (%v)", got, off, err)
		}
		if werr != nil {
			return nil
		}
		off += int64(n)
	}
}

// sameFolder compares the files of two folders, with their times.
func sameFolder(want, got string) error {
	return filepath.WalkDir(want, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		copied := filepath.Join(got, strings.TrimPrefix(path, want))
		if err := sameFile(copied, path); err != nil {
			return err
		}
		a, err := os.Stat(path)
		if err != nil {
			return err
		}
		b, err := os.Stat(copied)
		if err == nil && a.ModTime().Unix() != b.ModTime().Unix() {
			err = fmt.Errorf("%s: time %v", copied, b.ModTime())
		}
		return err
	})
}
