package mountpoint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/cmd/ftpsfs/internal/exitcode"
)

func TestInside(t *testing.T) {
	for _, c := range []struct {
		path, dir string
		want      bool
	}{
		{"/m", "/m", true}, {"/m/a/b", "/m", true}, {"/mm", "/m", false}, {"/", "/m", false}, {"/m/..a", "/m", true}, {"/a", "/", true}, {"/n/a", "/m", false},
	} {
		if Inside(c.path, c.dir) != c.want {
			t.Errorf("%s in %s: %v", c.path, c.dir, !c.want)
		}
	}
}

func TestPrepare(t *testing.T) {
	tmp, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, file, link := filepath.Join(tmp, "dir"), filepath.Join(tmp, "file"), filepath.Join(tmp, "link")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link, dir + "/../dir/"} {
		if got, err := Prepare(d); err != nil || got != dir {
			t.Errorf("%s: %s, %v", d, got, err)
		}
	}
	for name, want := range map[string]string{file: "is no folder", filepath.Join(tmp, "none"): "mkdir -p"} {
		if _, err := Prepare(name); exitcode.Of(err) != exitcode.Mount || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, mounted := At(dir); mounted {
		t.Error("an ordinary folder is a mount of ours")
	}
	if err := Alive(dir); err != nil {
		t.Error(err)
	}
}
