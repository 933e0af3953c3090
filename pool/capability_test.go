package pool

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// TestRenameOverFolderIsLearned: what a server does when a folder is renamed over an empty one, whatever it answers.
func TestRenameOverFolderIsLearned(t *testing.T) {
	for what, c := range map[string]struct {
		rnto  string
		there bool // what was in the folder is where it should be
		want  bool
	}{
		"replaces":      {"250 renamed", true, true},
		"refuses":       {"550 File exists", false, false},
		"moves into it": {"250 renamed", false, false},
	} {
		t.Run(what, func(t *testing.T) {
			f := newFake(t)
			f.script(func(fc *fakeConn, verb, arg string) bool {
				switch {
				case verb == "RNTO":
					fc.say("%s", c.rnto)
				case verb == "MLST" && strings.HasSuffix(arg, "/to/in") && !c.there:
					fc.say("550 %s: No such file or directory", arg)
				case verb == "MLST":
					fc.say("250-Begin\r\n type=dir;modify=20200101000000; %s\r\n250 End", arg)
				default:
					return false
				}
				return true
			})
			e := newFakePool(t, f)
			if can, err := e.Can(e.ctx, CapRenameOverDir, "/"); err != nil || can != c.want {
				t.Errorf("Can = %v, %v", can, err)
			}
			if n := f.sent("MKD /" + probePrefix); n != 4 || f.sent("MKD") != n {
				t.Errorf("%d folders were made under our names of %d", n, f.sent("MKD"))
			}
		})
	}
}

// TestFoldingIsLearned: by trying it out, and from the first upload, without a round trip.
func TestFoldingIsLearned(t *testing.T) {
	folds := newEnv(t, func(sc *embeddedConfig, _ *Config) { sc.FoldCase = true })
	put(t, folds, "/file", UploadOptions{}, []byte("x"), Finish{Size: 1})
	if can, known := folds.Known(CapFoldsCase); known {
		t.Errorf("known from an upload: %v, though it may have been another file", can)
	}
	if can, err := folds.Can(folds.ctx, CapFoldsCase, "/"); err != nil || !can {
		t.Errorf("Can = %v, %v", can, err)
	}
	// Whether a data channel is there already differs from one upload to the next by a round trip: the question costs none if
	// there is a pair of uploads that shows it.
	for tries := 1; ; tries++ {
		with, without := foldingAsked(t)
		if with <= without {
			return
		}
		if tries == 10 {
			t.Fatalf("%d round trips, %d without the question", with, without)
		}
	}
}

// foldingAsked gives the round trips of an upload that asks about the case of names, and of the next one.
func foldingAsked(t *testing.T) (with, without int64) {
	t.Helper()
	e := newEnv(t)
	put(t, e, "/123", UploadOptions{}, []byte("x"), Finish{Size: 1}) // nothing to be seen by this name
	if _, known := e.Known(CapFoldsCase); known {
		t.Error("known from a name without letters")
	}
	first := e.Stats().Waits
	put(t, e, "/file1", UploadOptions{}, []byte("x"), Finish{Size: 1})
	second := e.Stats().Waits
	put(t, e, "/file2", UploadOptions{}, []byte("x"), Finish{Size: 1})
	third := e.Stats().Waits
	if can, known := e.Known(CapFoldsCase); !known || can {
		t.Errorf("Known = %v, %v after an upload", can, known)
	}
	if n := e.Stats().Commands["SIZE"]; n != 4 { // three files, and once the other case
		t.Errorf("%d SIZE", n)
	}
	return second - first, third - second
}

func TestTraits(t *testing.T) {
	for name, want := range map[string][]nameTrait{
		"plain-Name_1.txt": nil, " lead": nil, "a  b": nil, "(x) [y] {z} #%&@!~+=,;'`$^": nil, ".hidden": nil,
		"a:b": {"':'"}, `back\slash\`: {`'\\'`}, "tab\tbed": {`'\t'`}, "esc\x1b": {`'\x1b'`}, `"`: {`'"'`},
		"trail ": {traitSpaceEnd}, "dot.": {traitDotEnd}, "üñ": {traitLetters}, "e\u0301": {traitMarks},
		"\U0001f600": {traitPlanes}, "\xe4x": {traitBytes}, "\ufffd": {traitLetters}, "?ä?": {"'?'", traitLetters},
	} {
		if got := traitsOf(name); !slices.Equal(got, want) {
			t.Errorf("traitsOf(%q) = %q, want %q", name, got, want)
		}
	}
	for _, trait := range append(usualTraits(), characterTrait(0x7f), characterTrait('\x01')) {
		if got := traitsOf(trait.sample()); !slices.Equal(got, []nameTrait{trait}) {
			t.Errorf("the sample of %q, %q, has %q", trait, trait.sample(), got)
		}
	}
}

// TestNamesAreLearned: a name with an unusual character is tried out once, on files of ours, and nothing of it stays.
func TestNamesAreLearned(t *testing.T) {
	lost := map[lab.Kind][]string{lab.PureFTPd: {`'\\'`, `'\t'`, string(traitSpaceEnd)}}
	forReal(t, func(t *testing.T, e *env) {
		if err := e.KeepsName(e.ctx, "/ordinary name.txt"); err != nil || e.Stats().Commands["MKD"] != 0 {
			t.Errorf("an ordinary name: %v, %v", err, e.Stats().Commands)
		}
		refused := map[string]bool{}
		for _, trait := range usualTraits() {
			if err := e.KeepsName(e.ctx, "/x"+trait.sample()); err != nil {
				wantKind(t, string(trait), err, KindInvalidName)
				refused[string(trait)] = true
			}
		}
		if got := slices.Sorted(maps.Keys(refused)); !slices.Equal(got, slices.Sorted(slices.Values(lost[e.kind]))) {
			t.Errorf("refused: %q, want %q", got, lost[e.kind])
		}
		before := e.Stats().Commands["MKD"]
		_ = e.KeepsName(e.ctx, `/a\b:c`+"\t ")
		if now := e.Stats().Commands["MKD"]; now != before {
			t.Errorf("asked again, %d folders made", now-before)
		}
		if names := e.Stats().Names; len(names) != len(usualTraits()) {
			t.Errorf("told: %v", names)
		}
		if left, err := os.ReadDir(e.root); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestNamesWhereNothingCanBeTried: in a folder where none can be made, a name passes that is not known to be altered; the
// server's own word counts.
func TestNamesWhereNothingCanBeTried(t *testing.T) {
	forReal(t, func(t *testing.T, e *env) {
		mkdir(t, e, "shut")
		if err := os.Chmod(filepath.Join(e.root, "shut"), 0o555); err != nil {
			t.Fatal(err)
		}
		if err := e.KeepsName(e.ctx, "/shut/a:b"); err != nil {
			t.Errorf("a colon: %v", err)
		}
		err := e.KeepsName(e.ctx, `/shut/a\b`)
		if e.kind == lab.PureFTPd {
			wantKind(t, "a backslash", err, KindInvalidName)
		} else if err != nil {
			t.Errorf("a backslash: %v", err)
		}
		if names := e.Stats().Names; len(names) > 0 {
			t.Errorf("believed to be known: %v", names)
		}
	})
	ro := newEnv(t, func(_ *embeddedConfig, pc *Config) { pc.ReadOnly = true })
	if err := ro.KeepsName(ro.ctx, "/a:b"); err != nil || ro.Stats().Commands["MKD"] > 0 {
		t.Errorf("read-only: %v, %v", err, ro.Stats().Commands)
	}
}
