package fs

import (
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ftpsfs/ftpsfs/pool"
)

// caseServer has the file "Readme" and the folder "Sub", listed. can is what is found out when case matters; nil: nothing can be tried.
func caseServer(t *testing.T, fold bool, can map[pool.Capability]bool) (*Server, *fakeRemote) {
	t.Helper()
	s, r := newTestServerOver(t, Config{})
	r.fold, r.can = fold, can
	r.put("/Readme", pool.Entry{Size: 7})
	r.put("/OTHER", pool.Entry{})
	r.put("/Sub", pool.Entry{Type: pool.TypeDir})
	if _, err := s.root.list(quiet()); err != nil {
		t.Fatal(err)
	}
	return s, r
}

func folding(yes bool) map[pool.Capability]bool {
	return map[pool.Capability]bool{pool.CapFoldsCase: yes}
}

// TestCaseOfNames: on a server that folds case a file has as many names as its letters have cases; on one that does not, and
// where nothing can be tried out, names are what the server says they are.
func TestCaseOfNames(t *testing.T) {
	for name, tc := range map[string]struct {
		fold bool
		can  map[pool.Capability]bool
	}{
		"folds": {true, folding(true)}, "does not": {false, folding(false)},
		"folds, not to be tried out": {true, nil}, "does not, not to be tried out": {false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := caseServer(t, tc.fold, tc.can)
			var out fuse.EntryOut
			in, errno := s.root.Lookup(quiet(), "README", &out)
			if !tc.fold {
				wantErrno(t, "lookup", errno, syscall.ENOENT)
				if err := s.root.vacant(quiet(), "README", "/README", true); err != nil {
					t.Errorf("another case is taken: %v", err)
				}
				wantErrno(t, "unlink", s.root.Unlink(quiet(), "Readme"), 0)
				wantCalls(t, r, "remove /Readme")
				return
			}
			wantErrno(t, "lookup", errno, 0)
			if in.Operations().(*node) != mustLookup(t, s.root, "Readme") {
				t.Error("two nodes for one file")
			}
			if err := s.root.vacant(quiet(), "rEADME", "/rEADME", true); err != syscall.EEXIST {
				t.Errorf("O_EXCL: %v", err)
			}
			if err := s.root.vacant(quiet(), "rEADME", "/rEADME", false); err != syscall.ESTALE {
				t.Errorf("O_CREAT: %v", err)
			}
			wantErrno(t, "rename", s.root.Rename(quiet(), "readme", s.root, "NOTES", 0), 0)
			wantErrno(t, "rename over a name in another case", s.root.Rename(quiet(), "notes", s.root, "Other", 0), 0)
			wantCalls(t, r, "rename /Readme /NOTES", "rename /NOTES /OTHER")
		})
	}
}

// TestFoldedNames: what is changed under one name is changed under all.
func TestFoldedNames(t *testing.T) {
	s, r := caseServer(t, true, folding(true))
	var out fuse.EntryOut
	mustLookup(t, s.root, "README") // now it is known
	if out.EntryTimeout() != 0 || s.entryTTL() != 0 || s.absencesLast() {
		t.Error("the kernel may remember names of a server that folds case")
	}
	sub := mustLookup(t, s.root, "SUB")
	_, errno := sub.Mkdir(quiet(), "Inner", 0o755, &out)
	wantErrno(t, "mkdir", errno, 0)
	if mustLookup(t, sub, "inner") != mustLookup(t, sub, "Inner") {
		t.Error("two nodes for one folder")
	}
	r.took()
	wantErrno(t, "rmdir", sub.Rmdir(quiet(), "INNER"), 0)
	wantErrno(t, "unlink", s.root.Unlink(quiet(), "readME"), 0)
	wantCalls(t, r, "rmdir /Sub/Inner", "remove /Readme")
	for _, name := range []string{"Readme", "README", "readme"} {
		_, errno := s.root.Lookup(quiet(), name, &out)
		wantErrno(t, name, errno, syscall.ENOENT)
	}
	r.put("/Later", pool.Entry{})
	s.cfg.Cache.ForgetDir("/")
	if e, errno := s.root.Lookup(quiet(), "LATER", &out); errno != 0 || e == nil {
		t.Errorf("made by others: %v", errno)
	}
	// A letter that the server does not fold, as it turns out, makes another name.
	r.put("/\u00c4", pool.Entry{})
	s.cfg.Cache.ForgetDir("/")
	r.fold = false
	_, errno = s.root.Lookup(quiet(), "\u00e4", &out)
	wantErrno(t, "another letter", errno, syscall.ENOENT)
}

// TestUnknownCaseCostsNothing: as long as no two names meet, nothing is tried out, and the kernel remembers no absence.
func TestUnknownCaseCostsNothing(t *testing.T) {
	s, r := caseServer(t, false, folding(false))
	var out fuse.EntryOut
	_, errno := s.root.Lookup(quiet(), "absent", &out)
	wantErrno(t, "lookup", errno, syscall.ENOENT)
	if out.EntryTimeout() > time.Millisecond || len(r.known) > 0 {
		t.Errorf("remembered for %v, asked %v", out.EntryTimeout(), r.known)
	}
	_, errno = s.root.Lookup(quiet(), "readme", &out)
	wantErrno(t, "lookup", errno, syscall.ENOENT)
	out = fuse.EntryOut{}
	_, errno = s.root.Lookup(quiet(), "absent", &out)
	wantErrno(t, "lookup", errno, syscall.ENOENT)
	if out.EntryTimeout() != 0 || !s.absencesLast() { // the library's own time
		t.Errorf("not remembered: %v", out.EntryTimeout())
	}
	if f := mustLookup(t, s.root, "Readme"); f == nil || s.entryTTL() == 0 {
		t.Error("names are not remembered")
	}
}

// TestNamesThatAreNotKept: open(2) says so, before anything is written.
func TestNamesThatAreNotKept(t *testing.T) {
	s, r := newTestServerOver(t, Config{})
	r.alters = "\t"
	_, err := s.root.create(quiet(), "a\tb", openFlags(syscall.O_WRONLY), 0o644, false)
	if errno := toErrno(err); errno != syscall.EINVAL {
		t.Errorf("create: %v", err)
	}
	if s.names.size() != 0 {
		t.Error("a node was left")
	}
}
