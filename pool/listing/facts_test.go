package listing

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func utc(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

// entry makes an entry of which nothing is known but what change sets.
func entry(name string, change func(*Entry)) Entry {
	e := newEntry(name)
	if change != nil {
		change(&e)
	}
	return e
}

func TestParseFacts(t *testing.T) {
	modified := utc("2026-11-21 02:48:25")
	tests := []struct {
		name, line string
		kind       LineKind
		want       Entry
	}{
		{"ProFTPD", "modify=20261121024825;perm=adfrw;size=5;type=file;unique=FE00U984CEC;UNIX.group=1001;UNIX.groupname=users;" +
			"UNIX.mode=0644;UNIX.owner=1002;UNIX.ownername=me; file", LineEntry, entry("file", func(e *Entry) {
			e.Type, e.Size, e.ModTime, e.Exact = TypeFile, 5, modified, true
			e.Perm, e.Unique, e.Mode, e.HasMode = "adfrw", "FE00U984CEC", 0o644, true
			e.UID, e.GID, e.Owner, e.Group = 1002, 1001, "me", "users"
		})},
		{"Pure-FTPd folder", "type=dir;sizd=4096;modify=20261121024825;UNIX.mode=0755;UNIX.uid=1001;UNIX.gid=1002;unique=fe00g2; d",
			LineEntry, entry("d", func(e *Entry) {
				e.Type, e.Size, e.ModTime, e.Exact = TypeDir, 4096, modified, true
				e.Unique, e.Mode, e.HasMode, e.UID, e.GID = "fe00g2", 0o755, true, 1001, 1002
			})},
		{"pyftpdlib", "modify=20261121024825;perm=radfwMT;size=5;type=file;unique=fe00g984d76;unix.mode=0o644; file", LineEntry,
			entry("file", func(e *Entry) {
				e.Type, e.Size, e.ModTime, e.Exact = TypeFile, 5, modified, true
				e.Perm, e.Unique, e.Mode, e.HasMode = "radfwMT", "fe00g984d76", 0o644, true
			})},
		{"link of ProFTPD", "type=OS.unix=symlink;size=1; good", LineEntry,
			entry("good", func(e *Entry) { e.Type, e.Size = TypeSymlink, 1 })},
		{"link of Pure-FTPd", "type=OS.unix=slink:;size=6; l -> k", LineEntry,
			entry("l -> k", func(e *Entry) { e.Type, e.Size = TypeSymlink, 6 })},
		{"link with target", "Type=os.UNIX=SLINK:/A b/c;Size=6; l", LineEntry,
			entry("l", func(e *Entry) { e.Type, e.Size, e.Target = TypeSymlink, 6, "/A b/c" })},
		{"link with semicolons", "type=OS.unix=slink:a;b;c;size=6; l", LineEntry,
			entry("l", func(e *Entry) { e.Type, e.Size, e.Target = TypeSymlink, 6, "a;b;c" })},
		{"the folder itself", "type=cdir;modify=20261121024825; .", LineSelf,
			entry(".", func(e *Entry) { e.Type, e.ModTime, e.Exact = TypeDir, modified, true })},
		{"the folder by its path", "type=cdir; /a/b", LineSelf, entry("/a/b", func(e *Entry) { e.Type = TypeDir })},
		{"the folder above", "type=pdir; ..", LineParent, entry("..", func(e *Entry) { e.Type = TypeDir })},
		{"the folder above as a folder", "type=dir; ..", LineParent, entry("..", func(e *Entry) { e.Type = TypeDir })},
		{"fifo of Pure-FTPd", "type=unknown;size=0; p", LineEntry,
			entry("p", func(e *Entry) { e.Type, e.Size = TypeOther, 0 })},
		{"device", "type=OS.unix=chr-13/29; c", LineEntry, entry("c", func(e *Entry) { e.Type = TypeOther })},
		{"upper case", "TYPE=FILE;SIZE=012;UNIX.MODE=100644; F", LineEntry,
			entry("F", func(e *Entry) { e.Type, e.Size, e.Mode, e.HasMode = TypeFile, 12, 0o644, true })},
		{"fraction", "modify=20261121024825.123; f", LineEntry,
			entry("f", func(e *Entry) { e.ModTime, e.Exact = modified, true })},
		{"setuid", "UNIX.mode=04755; f", LineEntry, entry("f", func(e *Entry) { e.Mode, e.HasMode = 0o4755, true })},
		{"size of a file and not sizd", "size=5;sizd=4096; f", LineEntry, entry("f", func(e *Entry) { e.Size = 5 })},
		{"values without sense", "type=;size=x;modify=20261321024825;UNIX.mode=9;UNIX.uid=-1;UNIX.gid=4294967294;perm=; f",
			LineEntry, entry("f", nil)},
		{"unknown facts", "media-type=text/plain;x.y=z;nonsense;type=file; f", LineEntry,
			entry("f", func(e *Entry) { e.Type = TypeFile })},
		{"leading space", "type=file;  lead", LineEntry, entry(" lead", func(e *Entry) { e.Type = TypeFile })},
		{"trailing space", "type=file; trail ", LineEntry, entry("trail ", func(e *Entry) { e.Type = TypeFile })},
		{"semicolons in the name", "type=file; a; b;c=d; e", LineEntry,
			entry("a; b;c=d; e", func(e *Entry) { e.Type = TypeFile })},
		{"any byte", "type=file; \xff\xfe\x01\t\"*[", LineEntry,
			entry("\xff\xfe\x01\t\"*[", func(e *Entry) { e.Type = TypeFile })},
		{"space in a group", "type=file;UNIX.groupname=domain users;UNIX.ownername=J. Doe; f", LineEntry,
			entry("f", func(e *Entry) { e.Type, e.Owner, e.Group = TypeFile, "J. Doe", "domain users" })},
		{"names for owners", "UNIX.owner=me;UNIX.group=users; f", LineEntry,
			entry("f", func(e *Entry) { e.Owner, e.Group = "me", "users" })},
		{"no last semicolon", "type=file;size=5 f g", LineEntry,
			entry("f g", func(e *Entry) { e.Type, e.Size = TypeFile, 5 })},
		{"no facts", " f g", LineEntry, entry("f g", nil)},
		{"a line of MLST", " type=file;size=5; /a/f", LineEntry,
			entry("/a/f", func(e *Entry) { e.Type, e.Size = TypeFile, 5 })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, kind, err := ParseFacts(test.line)
			if err != nil || kind != test.kind || got != test.want {
				t.Errorf("%+v, %v, %v\nwant %+v, %v", got, kind, err, test.want, test.kind)
			}
		})
	}
	for _, line := range []string{"", " ", "type=file;", "type=file; ", "file", "-rw-r--r-- 1 a b 5 Nov 21 02:48 x", "=; "} {
		if e, _, err := ParseFacts(line); !errors.Is(err, ErrLine) {
			t.Errorf("%q: %+v, %v", line, e, err)
		}
	}
}

func TestParseMLST(t *testing.T) {
	for line, want := range map[string]string{
		" type=file;size=5; /tmp/a b":   "a b",
		"type=file;size=5; name":        "name",
		" type=dir; /":                  "",
		" type=cdir; /a/b/":             "b",
		" type=OS.unix=slink:; /x/l; k": "l; k",
	} {
		if e, err := ParseMLST(line); err != nil || e.Name != want {
			t.Errorf("%q: %+v, %v", line, e, err)
		}
	}
	if _, err := ParseMLST("250 End"); !errors.Is(err, ErrLine) {
		t.Errorf("%v", err)
	}
}

func TestParseTime(t *testing.T) {
	for s, want := range map[string]string{
		"20261121024825": "2026-11-21 02:48:25", "20240229000000.5": "2024-02-29 00:00:00", "19691231235959": "1969-12-31 23:59:59",
		"20161231235960": "2016-12-31 23:59:59",
		"20230229000000": "", "2026112102482": "", "20261121024825.x": "", "20261121244825": "", "": "", "20261100000000": "",
	} {
		got, ok := ParseTime(s)
		if ok != (want != "") || ok && !got.Equal(utc(want)) {
			t.Errorf("%s: %v, %v", s, got, ok)
		}
	}
}

func FuzzParseFacts(f *testing.F) {
	for _, line := range []string{
		"modify=20261121024825;perm=adfrw;size=5;type=file;unique=FE00U9;UNIX.group=1001;UNIX.mode=0644;UNIX.owner=1; file",
		"type=OS.unix=slink:a;b;size=6; l", " type=cdir;sizd=4096; /x/", "type=pdir; ..", " name", "type=file;size=5 f", "; ", "=;= ; ",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e, kind, err := ParseFacts(line)
		checkParsed(t, line, e, kind, err)
		if err == nil && !strings.HasSuffix(line, e.Name) {
			t.Errorf("%q: the name %q is not its end", line, e.Name)
		}
		if m, err := ParseMLST(line); err == nil && strings.Contains(m.Name, "/") {
			t.Errorf("%q: the name %q has a slash", line, m.Name)
		}
	})
}

// checkParsed tells what holds for whatever a parser makes of a line.
func checkParsed(t *testing.T, line string, e Entry, kind LineKind, err error) {
	t.Helper()
	switch {
	case err != nil:
		if !errors.Is(err, ErrLine) || len(err.Error()) > 8*maxQuoted {
			t.Errorf("%q: error %v", line, err)
		}
	case kind == LineNone:
		if e != (Entry{}) {
			t.Errorf("%q: no entry, and %+v", line, e)
		}
	case e.Name == "":
		t.Errorf("%q: no name", line)
	case e.Size < -1 || e.Mode > 0o7777 || e.UID < -1 || e.GID < -1 || e.Type > TypeOther:
		t.Errorf("%q: %+v", line, e)
	case e.Exact && e.ModTime.IsZero() && e.ModTime.Year() > 1:
		t.Errorf("%q: exact and unknown", line)
	case !e.ModTime.IsZero() && (e.ModTime.Location() != time.UTC || e.ModTime.Nanosecond() != 0):
		t.Errorf("%q: time %v", line, e.ModTime)
	case kind == LineEntry && (e.Name == "." || e.Name == ".."):
		t.Errorf("%q: %q as a member", line, e.Name)
	}
}
