//go:build linux

package mount_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// usage is a program at work in a folder of the mount, as a shell script: $M is the folder in the mount, $D the same
// folder on the server's disk, $L a local folder, $N how much to do. It runs with -e.
type usage struct {
	name   string
	needs  []string
	short  string // $N in a short run, "" runs it only with FTPSFS_LONG=1
	full   string
	script string
}

var usages = []usage{
	{"git", []string{"git"}, "8", "200", `
		export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=$L
		git init -q "$M/repo"; cd "$M/repo"
		i=0; while [ $i -lt $N ]; do echo "line $i" >> log; echo $i > file$((i % 7)); git add .; git commit -q -m "commit $i"; i=$((i+1)); done
		git gc -q; git fsck --strict; git status --porcelain | (! grep .)
		git clone -q "$M/repo" "$L/clone"; test $(git -C "$L/clone" log --oneline | wc -l) = $N
		cmp "$D/repo/log" "$L/clone/log"`},
	{"sqlite", []string{"sqlite3"}, "40", "1000", `
		for mode in delete truncate; do
			i=0; (echo "pragma journal_mode=$mode; create table t(a, b);"
			while [ $i -lt $N ]; do echo "begin; insert into t values($i, hex(randomblob(200))); update t set b = b || 'x' where a = $i - 1; commit;"; i=$((i+1)); done) | sqlite3 -bail "$M/$mode.db" > /dev/null
			test "$(sqlite3 "$M/$mode.db" 'pragma integrity_check; select count(*) from t;')" = "ok
$N"
			cp "$D/$mode.db" "$L/copy.db"; test "$(sqlite3 "$L/copy.db" 'pragma integrity_check; select count(*) from t;')" = "ok
$N"
		done`},
	{"editors", nil, "1", "1", `
		seq 1 20000 > "$M/f"; sed -i 's/^7$/seven/' "$M/f"; grep -qx seven "$D/f"; test $(wc -l < "$D/f") = 20000
		chmod 640 "$M/f"; sed -i 's/^8$/eight/' "$M/f"; test "$(stat -c %a "$D/f")" = 640
		printf 'one\ntwo\n' > "$M/g"; tee -a "$M/g" < /etc/hostname > /dev/null; test $(wc -l < "$D/g") = 3
		sort -o "$M/g" "$M/g"; dd if=/dev/zero of="$M/f" bs=1 count=3 seek=5 conv=notrunc status=none; cmp "$M/f" "$D/f"`},
	{"vim", []string{"vim"}, "", "1", `
		seq 1 1000 > "$M/f"; vim -Nu NONE -es -c '%s/^5$/five/' -c 'wq' "$M/f"; grep -qx five "$D/f"; test "$(ls -A "$D")" = f`},
	{"zip", []string{"zip"}, "1", "1", `
		cp -r /etc/default "$L/in"; cd "$L"; zip -qr "$M/a.zip" in; echo more > in/new; zip -qu "$M/a.zip" in/new in/*; zip -qT "$D/a.zip"
		cd "$M"; zip -q b.zip a.zip; zip -qd a.zip in/new; zip -qT "$D/a.zip"`},
	{"rsync", []string{"rsync"}, "1", "1", `
		head -c 3000000 /dev/urandom > "$L/big"; cp "$L/big" "$M/big"
		printf x | dd of="$L/big" bs=1 seek=1000000 conv=notrunc status=none; rsync -aI --inplace --no-whole-file "$L/big" "$M/big"; cmp "$L/big" "$D/big"
		head -c 500000 /dev/urandom >> "$L/big"; rsync -a --append-verify "$L/big" "$M/big"; cmp "$L/big" "$D/big"
		rsync -a --inplace "$M/big" "$L/back"; cmp "$L/big" "$L/back"`},
	{"tar", []string{"tar"}, "1", "1", `
		tar -C /etc -chf "$M/a.tar" default; tar -C "$L" -xf "$M/a.tar"; tar -rf "$M/a.tar" -C /etc hostname; tar -tf "$D/a.tar" | grep -qx hostname`},
	{"restic", []string{"restic"}, "", "3", `
		export RESTIC_PASSWORD=x RESTIC_CACHE_DIR=$L/cache; mkdir "$L/data"
		restic -q -r "$M/r" init
		i=0; while [ $i -lt $N ]; do head -c 20000000 /dev/urandom > "$L/data/f$i"; restic -q -r "$M/r" backup "$L/data"; i=$((i+1)); done
		restic -q -r "$M/r" forget --keep-last 1 --prune; restic -q -r "$M/r" check --read-data; restic -q -r "$D/r" check --read-data
		restic -q -r "$M/r" restore latest --target "$L/out"; diff -r "$L/data" "$L/out$L/data"`},
	{"borg", []string{"borg"}, "", "3", `
		export BORG_PASSPHRASE=x BORG_BASE_DIR=$L/base BORG_RELOCATED_REPO_ACCESS_IS_OK=yes; mkdir "$L/data"
		borg init -e repokey "$M/b"
		i=0; while [ $i -lt $N ]; do head -c 20000000 /dev/urandom > "$L/data/f$i"; borg create "$M/b::a$i" "$L/data"; i=$((i+1)); done
		borg prune --keep-last 1 "$M/b"; borg compact "$M/b"; borg check --verify-data "$M/b"
		mkdir "$L/out"; cd "$L/out"; borg extract "$M/b::a$((N-1))"; diff -r "$L/data" "$L/out$L/data"; cp -r "$D/b" "$L/copy"; borg check "$L/copy"`},
	{"go build", []string{"go"}, "", "1", `
		export GOCACHE=$L/cache GOPATH=$L/go GOTMPDIR=$M GOFLAGS=-mod=mod; mkdir "$M/src"; cd "$M/src"
		printf 'module x\n' > go.mod; printf 'package main\nimport "fmt"\nfunc main() { fmt.Println("built here") }\n' > main.go
		go build -o "$M/src/x" .; test "$("$M/src/x")" = "built here"; cmp "$M/src/x" "$D/src/x"`},
}

// restricted is ProFTPD as its package configures it: no overwriting, no restart of uploads.
var restricted = []string{"AllowOverwrite off", "AllowStoreRestart off"}

// TestPrograms lets programs that people keep on such mounts do their work there.
func TestPrograms(t *testing.T) {
	run := func(t *testing.T, s *lab.Server) {
		for _, u := range usages {
			makeServed(t, s, u.name)
		}
		m := mountServer(t, s)
		m.limit(pick(10*time.Minute, 2*time.Hour))
		for _, u := range usages {
			t.Run(u.name, func(t *testing.T) {
				n := pick(u.short, u.full)
				if n == "" {
					t.Skip("runs with FTPSFS_LONG=1")
				}
				for _, program := range u.needs {
					tool(t, program)
				}
				script := filepath.Join(lab.Folder(t, "ftpsfs-script-"), "script")
				vars := "M='" + m.path(u.name) + "'\nD='" + s.Disk(u.name) + "'\nL='" + lab.Folder(t, "ftpsfs-local-") + "'\nN=" + n + "\n"
				must(t, os.WriteFile(script, []byte("set -e\n"+vars+u.script), 0o644))
				if out, err := tryTool(t, pick(3*time.Minute, 30*time.Minute), "/", "sh", "-x", script); err != nil {
					t.Errorf("%v\n%s", err, lastBytes(strings.TrimSpace(out), 3000))
				}
			})
		}
	}
	each(t, realServers, func(t *testing.T, c cell) { run(t, c.start(t)) })
	t.Run("proftpd-restricted", func(t *testing.T) {
		t.Parallel()
		run(t, cell{lab.ProFTPD, false, "1.3"}.start(t, restricted...))
	})
}
