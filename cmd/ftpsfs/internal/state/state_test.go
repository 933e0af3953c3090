package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func env(m map[string]string) func(string) string { return func(k string) string { return m[k] } }

func TestDefault(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		uid  int
		want Dir
	}{
		{map[string]string{"XDG_STATE_HOME": "/s", "HOME": "/h"}, 1000, "/s/ftpsfs"},
		{map[string]string{"XDG_STATE_HOME": "relative", "HOME": "/h"}, 1000, "/h/.local/state/ftpsfs"},
		{map[string]string{"HOME": "/root"}, 0, "/var/lib/ftpsfs"},
		{nil, 1000, ""},
	} {
		if got := Default(env(c.env), c.uid); got != c.want {
			t.Errorf("%v: %s, want %s", c, got, c.want)
		}
	}
}

// TestPrivate: folders are 0700 whatever they were, links and files are refused.
func TestPrivate(t *testing.T) {
	tmp := t.TempDir()
	d := Dir(filepath.Join(tmp, "a", "b", "ftpsfs"))
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(d), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{string(d), filepath.Dir(d.Server("host", 21)), filepath.Dir(d.Log("/m"))} {
		if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, st, err)
		}
	}
	link := filepath.Join(tmp, "link")
	if err := os.Symlink(tmp, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tmp, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{link, file, filepath.Join(file, "below"), filepath.Join(tmp, "none", "below")} {
		if err := Private(name); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	if err := Dir("").Make(); err == nil {
		t.Error("no folder at all is taken")
	}
	if os.Geteuid() == 0 {
		theirs := filepath.Join(tmp, "theirs")
		if err := os.Mkdir(theirs, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(theirs, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		if err := Private(theirs); err == nil || Owned(theirs, 0) || !Owned(theirs, 65534) {
			t.Errorf("a folder of somebody else is taken: %v", err)
		}
	}
}

// TestFileNames: whatever a host or a mount point is called, the file is in its folder and tells itself apart.
func TestFileNames(t *testing.T) {
	d := Dir("/s")
	seen := map[string]bool{}
	for _, host := range []string{"host", "HOST", "../../etc", "::1", "fe80::1%eth0", "bücher", "", ".", strings.Repeat("x", 250)} {
		for _, port := range []int{21, 990} {
			name := d.Server(host, port)
			if filepath.Dir(name) != "/s/servers" || seen[name] || len(filepath.Base(name)) > 120 {
				t.Errorf("%q: %s", host, name)
			}
			seen[name] = true
		}
	}
	if a, b := d.Log("/a/mnt"), d.Log("/b/mnt"); a == b || filepath.Dir(a) != "/s/log" {
		t.Errorf("%s, %s", a, b)
	}
}
