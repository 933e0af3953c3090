package content

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/fs/stage"
)

const (
	childDir  = "FTPSFS_CONTENT_CHILD_DIR"
	childPlay = "FTPSFS_CONTENT_CHILD_PLAY"
)

var when = time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC) // the first file of a fake server

func oldBase(size int64) stage.Base { return stage.Base{Exists: true, Size: size, ModTime: when} }

// plays are what a run did to its staging folder before it died.
var plays = map[string]func(s *stage.Store) error{
	"temporary":   begin(stage.Record{Op: stage.OpUpload, Path: "/a", Temp: "/.ftpsfs-00000001-1"}),
	"hidden":      begin(stage.Record{Op: stage.OpHide, Path: "/a", Temp: "/.ftpsfs-00000001-1"}),
	"replacement": begin(stage.Record{Op: stage.OpReplace, Path: "/a", Temp: "/.ftpsfs-00000001-1", Aside: "/.ftpsfs-00000001-2"}),
	"rename":      begin(stage.Record{Op: stage.OpReplace, Path: "/a", Temp: "/b", Aside: "/.ftpsfs-00000001-2", Step: stepHide}),
	"committed change": func(s *stage.Store) error {
		return staged(s, oldBase(11), func(f *stage.File) error {
			_, err := f.WriteAt([]byte("NEW"), 0)
			return err
		}, true)
	},
	"committed new": func(s *stage.Store) error {
		return staged(s, stage.Base{}, func(f *stage.File) error {
			_, err := f.WriteAt([]byte("fresh"), 0)
			return err
		}, true)
	},
	"broken-off append": func(s *stage.Store) error {
		return staged(s, oldBase(11), func(f *stage.File) error {
			_, err := f.WriteAt([]byte(" and more of it"), 11)
			return err
		}, true)
	},
	"broken-off replacement": func(s *stage.Store) error {
		err := begin(stage.Record{
			Op: stage.OpUpload, Path: "/a", Temp: "/.ftpsfs-00000001-1", Base: oldBase(11), New: stage.Base{Exists: true, Size: 11},
		})(s)
		return errors.Join(err, staged(s, oldBase(11), func(f *stage.File) error {
			_, err := f.WriteAt([]byte("NEW"), 0)
			return err
		}, true))
	},
	"not committed": func(s *stage.Store) error {
		return staged(s, stage.Base{}, func(f *stage.File) error {
			_, err := f.WriteAt([]byte("fresh"), 0)
			return err
		}, false)
	},
}

func begin(r stage.Record) func(*stage.Store) error {
	return func(s *stage.Store) error {
		_, err := s.Begin(r)
		return err
	}
}

func staged(s *stage.Store, base stage.Base, change func(*stage.File) error, commit bool) error {
	f, err := s.Create("/a", base)
	if err != nil {
		return err
	}
	if err := change(f); err != nil || !commit {
		return err
	}
	_, err = f.Commit()
	return err
}

// playChild is the life of the process that dies.
func playChild() int {
	s, err := stage.Open(stage.Config{Dir: os.Getenv(childDir), Server: "fake", Mount: "00000001"})
	if err == nil {
		err = plays[os.Getenv(childPlay)](s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0 // without closing anything
}

func TestRecover(t *testing.T) {
	const temp, aside = "/.ftpsfs-00000001-1", "/.ftpsfs-00000001-2"
	for _, c := range []struct {
		play  string
		files []string // name, content, ...
		want  []string
		kept  string // part of the content of what is in the recovery folder
		sent  int64  // bytes, if not 0
	}{
		{play: "broken-off append", files: []string{"/a", "old content and"}, want: []string{"/a", "old content and more of it"}, sent: 11},
		{play: "broken-off append", files: []string{"/a", "old content"}, want: []string{"/a", "old content and more of it"}, sent: 15},
		{play: "broken-off append", files: []string{"/a", "old content and more of it"}, want: []string{"/a", "old content and more of it"}},
		{play: "broken-off append", files: []string{"/a", "old content or"}, want: []string{"/a", "old content or"}, kept: "and more"},
		{play: "broken-off append", files: []string{"/a", "old content and more of it, and more"}, want: []string{"/a", "old content and more of it, and more"}, kept: "and more"},
		{play: "broken-off replacement", files: []string{"/a", "old content", temp, "NEW co"}, want: []string{"/a", "NEW content"}, sent: 5},
		{play: "broken-off replacement", files: []string{"/a", "old content", temp, "NEW content"}, want: []string{"/a", "NEW content"}, sent: -1},
		{play: "broken-off replacement", files: []string{"/a", "old content", temp, "NEWcon"}, want: []string{"/a", "NEW content"}, sent: 11},
		{play: "broken-off replacement", files: []string{"/a", "old content", temp, ""}, want: []string{"/a", "NEW content"}, sent: 11},
		{play: "broken-off replacement", files: []string{"/a", "old content"}, want: []string{"/a", "NEW content"}, sent: 11},
		{play: "broken-off replacement", files: []string{"/a", "other", temp, "NEW co"}, want: []string{"/a", "other"}, kept: "NEW"},
		{play: "committed new", files: []string{"/a", "fre"}, want: []string{"/a", "fresh"}, sent: 2},
		{play: "committed new", files: []string{"/a", ""}, want: []string{"/a", "fresh"}, sent: 5},
		{play: "temporary", files: []string{"/a", "old content", temp, "half"}, want: []string{"/a", "old content"}},
		{play: "temporary", files: []string{"/a", "old content"}, want: []string{"/a", "old content"}},
		{play: "hidden", files: []string{"/b", "x", temp, "gone"}, want: []string{"/b", "x"}},
		{play: "replacement", files: []string{"/a", "old", temp, "new"}, want: []string{"/a", "old"}},
		{play: "replacement", files: []string{aside, "old", temp, "new"}, want: []string{"/a", "new"}},
		{play: "replacement", files: []string{aside, "old", "/a", "new"}, want: []string{"/a", "new"}},
		{play: "replacement", files: []string{aside, "old"}, want: []string{"/a", "old"}},
		{play: "replacement", files: []string{"/a", "new"}, want: []string{"/a", "new"}},
		{play: "rename", files: []string{aside, "old", "/b", "new"}, want: []string{"/a", "old", "/b", "new"}},
		{play: "rename", files: []string{aside, "old", "/a", "new"}, want: []string{"/a", "new"}},
		{play: "rename", files: []string{"/a", "old", "/b", "new"}, want: []string{"/a", "old", "/b", "new"}},
		{play: "committed change", files: []string{"/a", "old content"}, want: []string{"/a", "NEW content"}},
		{play: "committed change", files: []string{"/a", "other"}, want: []string{"/a", "other"}, kept: "NEW"},
		{play: "committed change", want: []string{}, kept: "NEW"},
		// It was renamed into its place, and nobody noted that.
		{play: "committed change", files: []string{"/b", "", "/a", "NEW content"}, want: []string{"/a", "NEW content", "/b", ""}, sent: -1},
		{play: "committed change", files: []string{"/b", "", "/a", "NEW-content"}, want: []string{"/a", "NEW-content", "/b", ""}, sent: -1},
		{play: "committed change", files: []string{"/b", "", "/a", "nEW content"}, want: []string{"/a", "nEW content", "/b", ""}, kept: "NEW"},
		{play: "committed change", files: []string{"/b", "", "/a", "NEW contents"}, want: []string{"/a", "NEW contents", "/b", ""}, kept: "NEW"},
		{play: "committed new", files: []string{"/a", "fresh"}, want: []string{"/a", "fresh"}, sent: -1},
		{play: "committed new", files: []string{"/a", "fresH"}, want: []string{"/a", "fresH"}, kept: "fresh"},
		{play: "not committed", files: []string{"/a", "fresh"}, want: []string{"/a", "fresh"}, sent: -1},
		{play: "not committed", files: []string{"/a", "fresH"}, want: []string{"/a", "fresH"}, kept: "fresh"},
		{play: "committed new", want: []string{"/a", "fresh"}},
		{play: "committed new", files: []string{"/a", "other"}, want: []string{"/a", "other"}, kept: "fresh"},
		{play: "not committed", want: []string{}, kept: "fresh"},
	} {
		t.Run(c.play+" "+strings.Join(c.files, " "), func(t *testing.T) {
			t.Parallel()
			k := newKit(t, quirks{})
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childDir+"="+k.dir, childPlay+"="+c.play)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for i := 0; i < len(c.files); i += 2 {
				k.srv.put(c.files[i], c.files[i+1])
			}
			if err := k.s.Recover(bg); err != nil {
				t.Fatal(err)
			}
			if sent, _ := k.srv.traffic(); c.sent != 0 && sent != max(c.sent, 0) {
				t.Errorf("%d bytes sent, want %d", sent, c.sent)
			}
			var names []string
			for i := 0; i < len(c.want); i += 2 {
				names = append(names, c.want[i])
				k.want(c.want[i], c.want[i+1])
			}
			k.wantNames(names...)
			if got := kept(t, k.stage.RecoveryDir()); !strings.Contains(got, c.kept) || c.kept == "" && got != "" {
				t.Errorf("recovery folder has %q", got)
			}
		})
	}
}

// kept gives the content of the recovery folder.
func kept(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var s strings.Builder
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(b)
	}
	return s.String()
}
