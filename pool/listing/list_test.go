package listing

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	testNow  = utc("2026-11-21 10:06:33")
	testZone = time.FixedZone("there", 2*3600)
)

func TestParseUnix(t *testing.T) {
	parser := NewListParser(testNow, nil)
	numeric := func(mode uint32, size int64, modified string) func(*Entry) {
		return func(e *Entry) {
			e.Type, e.Mode, e.HasMode, e.Size, e.ModTime = TypeFile, mode, true, size, utc(modified)
			e.UID, e.GID = 1001, 1002
		}
	}
	named := func(size int64, modified, owner, group string) func(*Entry) {
		return func(e *Entry) {
			e.Type, e.Mode, e.HasMode, e.Size, e.ModTime = TypeFile, 0o644, true, size, utc(modified)
			e.Owner, e.Group = owner, group
		}
	}
	const at = "2026-11-21 10:06:00"
	tests := []struct {
		name, line string
		want       Entry
	}{
		{"vsftpd", "-rwxr-xr-x    1 1001     1002            5 Nov 21 10:06 a", entry("a", numeric(0o755, 5, at))},
		{"vsftpd with a year", "-rw-r--r--    1 1001     1002            0 Mar 04  2040 fut",
			entry("fut", numeric(0o644, 0, "2040-03-04 00:00:00"))},
		{"ProFTPD with a year", "-rw-r--r--   1 1001  1002            0 Mar  1  2026 old",
			entry("old", numeric(0o644, 0, "2026-03-01 00:00:00"))},
		{"ProFTPD owner by name", "-rw-r--r--   1 ftptest  1003            0 Nov 21 10:06 f", entry("f", func(e *Entry) {
			named(0, at, "ftptest", "")(e)
			e.GID = 1003
		})},
		{"Pure-FTPd group by name", "-rw-r--r--    1 1003       ftptest             5 Nov 21 10:06  leading", entry(" leading", func(e *Entry) {
			named(5, at, "", "ftptest")(e)
			e.UID = 1003
		})},
		{"leading and trailing spaces", "-rw-r--r-- 1 o g 0 Nov 21 10:06   sp  ace ", entry("  sp  ace ", named(0, at, "o", "g"))},
		{"dash", "-rw-r--r-- 1 o g 0 Nov 21 10:06 -dash", entry("-dash", named(0, at, "o", "g"))},
		{"date as name", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 Nov 20 02:48 x", entry("Nov 20 02:48 x", numeric(0o644, 0, at))},
		{"size and date as name", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 5 Nov 20 02:48 x", entry("5 Nov 20 02:48 x", numeric(0o644, 0, at))},
		{"digits as name", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 2026", entry("2026", numeric(0o644, 0, at))},
		{"arrow in a file's name", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 a -> b", entry("a -> b", numeric(0o644, 0, at))},
		{"semicolon", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 semi; colon", entry("semi; colon", numeric(0o644, 0, at))},
		{"total as name", "-rw-r--r-- 1 1001 1002 0 Nov 21 10:06 total 5", entry("total 5", numeric(0o644, 0, at))},
		{"SELinux", "-rw-r--r--. 1 1001 1002 7 Nov 21 10:06 f", entry("f", numeric(0o644, 7, at))},
		{"ACL", "-rw-r--r--+ 1 1001 1002 7 Nov 21 10:06 f", entry("f", numeric(0o644, 7, at))},
		{"wide link count", "-rw-r--r--1234 1001 1002 7 Nov 21 10:06 f", entry("f", numeric(0o644, 7, at))},
		{"setuid and sticky", "-rwSr-sr-T 1 1001 1002 7 Nov 21 10:06 f", entry("f", numeric(0o7654, 7, at))},
		{"hidden mode", "-rw-r--r-? 1 1001 1002 7 Nov 21 10:06 f", entry("f", func(e *Entry) {
			numeric(0, 7, at)(e)
			e.Mode, e.HasMode = 0o644, false
		})},
		{"group with a space", "-rw-r--r-- 1 jdoe domain users 7 Nov 21 10:06 f", entry("f", named(7, at, "jdoe", "domain users"))},
		{"group with two spaces", "-rw-r--r-- 1 jdoe  domain  users 7 Nov 21 10:06 f", entry("f", named(7, at, "jdoe", "domain  users"))},
		{"no group", "-rw-r--r-- 1 owner 7 Nov 21 10:06 f", entry("f", named(7, at, "owner", ""))},
		{"no link count", "-rw-r--r-- owner group 7 Nov 21 10:06 f", entry("f", named(7, at, "owner", "group"))},
		{"size alone", "-rw-r--r-- 7 Nov 21 10:06 f", entry("f", named(7, at, "", ""))},
		{"columns grown together", "-rw-r--r-- 1 owner group12345678 Nov 21 10:06 f", entry("f", named(-1, at, "owner", "group12345678"))},
		{"ISO", "-rw-r--r-- 1 o g 7 2026-11-21 10:06 f", entry("f", named(7, at, "o", "g"))},
		{"ISO in full", "-rw-r--r-- 1 o g 7 2026-11-21 12:06:25.123456789 +0200  f",
			entry(" f", named(7, "2026-11-21 10:06:25", "o", "g"))},
		{"ISO of this year", "-rw-r--r-- 1 o g 7 11-21 10:06 f", entry("f", named(7, at, "o", "g"))},
		{"ISO of old files", "-rw-r--r-- 1 o g 7 2024-02-29  f", entry("f", named(7, "2024-02-29 00:00:00", "o", "g"))},
		{"BSD with seconds and year", "-rw-r--r-- 1 o g 7 Nov 21 10:06:25 2025 f", entry("f", named(7, "2025-11-21 10:06:25", "o", "g"))},
		{"day first", "-rw-r--r-- 1 o g 7 21 Nov 10:06 f", entry("f", named(7, at, "o", "g"))},
		{"German", "-rw-r--r-- 1 o g 7 21. Mär 2025 f", entry("f", named(7, "2025-03-21 00:00:00", "o", "g"))},
		{"German in Latin-1", "-rw-r--r-- 1 o g 7 M\xe4r 21 2025 f", entry("f", named(7, "2025-03-21 00:00:00", "o", "g"))},
		{"French", "-rw-r--r-- 1 o g 7 21 août 2025 f", entry("f", named(7, "2025-08-21 00:00:00", "o", "g"))},
		{"French with full stop", "-rw-r--r-- 1 o g 7 janv. 21 2025 f", entry("f", named(7, "2025-01-21 00:00:00", "o", "g"))},
		{"Russian", "-rw-r--r-- 1 o g 7 дек 21  2025 f", entry("f", named(7, "2025-12-21 00:00:00", "o", "g"))},
		{"Japanese", "-rw-r--r-- 1 o g 7 11月 21 10:06 f", entry("f", named(7, at, "o", "g"))},
		{"upper case", "-rw-r--r-- 1 o g 7 NOV 21 10:06 f", entry("f", named(7, at, "o", "g"))},
		{"Feb 29 in a year without one", "-rw-r--r-- 1 o g 7 Feb 29 10:11 f", entry("f", named(7, "2024-02-29 10:11:00", "o", "g"))},
		{"last year", "-rw-r--r-- 1 o g 7 Dec 24 10:11 f", entry("f", named(7, "2025-12-24 10:11:00", "o", "g"))},
		{"a clock ahead of ours", "-rw-r--r-- 1 o g 7 Nov 22 08:00 f", entry("f", named(7, "2026-11-22 08:00:00", "o", "g"))},
		{"folder", "drwxr-xr-x    2 1001     1002         4096 Nov 21 10:06 d ir", entry("d ir", func(e *Entry) {
			numeric(0o755, 4096, at)(e)
			e.Type = TypeDir
		})},
		{"dangling link", "lrwxrwxrwx    1 1001     1002            7 Nov 21 10:06 dang -> nowhere", entry("dang", func(e *Entry) {
			numeric(0o777, 7, at)(e)
			e.Type, e.Target = TypeSymlink, "nowhere"
		})},
		{"link with arrows", "lrwxrwxrwx    1 1001     1002            6 Nov 21 10:06 l -> k -> x -> y", entry("l -> k", func(e *Entry) {
			numeric(0o777, 6, at)(e)
			e.Type, e.Target = TypeSymlink, "x -> y"
		})},
		{"link whose size tells nothing", "lrwxrwxrwx 1 1001 1002 0 Nov 21 10:06 l -> k -> x", entry("l", func(e *Entry) {
			numeric(0o777, 0, at)(e)
			e.Type, e.Target = TypeSymlink, "k -> x"
		})},
		{"link without target", "lrwxrwxrwx 1 1001 1002 6 Nov 21 10:06 l", entry("l", func(e *Entry) {
			numeric(0o777, 6, at)(e)
			e.Type = TypeSymlink
		})},
		{"fifo", "prw-r--r--    1 1001     1002            0 Nov 21 10:06 fifo", entry("fifo", func(e *Entry) {
			numeric(0o644, -1, at)(e)
			e.Type = TypeOther
		})},
		{"device", "brw-r--r-- 1 1001 1002 8, 0 Nov 21 10:06 sda", entry("sda", func(e *Entry) {
			numeric(0o644, -1, at)(e)
			e.Type = TypeOther
		})},
		{"device grown together", "crw-r--r-- 1 1001 1002 10,229 Nov 21 10:06 fuse", entry("fuse", func(e *Entry) {
			numeric(0o644, -1, at)(e)
			e.Type = TypeOther
		})},
		{"NetWare", "d [RWCEAFMS] server 512 Nov 21 10:06 login", entry("login", func(e *Entry) {
			e.Type, e.Size, e.ModTime, e.Owner = TypeDir, 512, utc(at), "server"
		})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, kind, err := parser.Parse(test.line)
			if err != nil || kind != LineEntry || got != test.want {
				t.Errorf("%+v, %v, %v\nwant %+v", got, kind, err, test.want)
			}
		})
	}
}

func TestParseDOSAndEPLF(t *testing.T) {
	parser := NewListParser(testNow, nil)
	dos := func(typ Type, size int64) func(*Entry) {
		return func(e *Entry) { e.Type, e.Size, e.ModTime = typ, size, utc("2026-11-21 14:48:00") }
	}
	tests := []struct {
		name, line string
		want       Entry
	}{
		{"IIS folder", "11-21-26  02:48PM       <DIR>          a b", entry("a b", dos(TypeDir, -1))},
		{"IIS folder with a leading space", "11-21-26  02:48PM       <DIR>           a b", entry(" a b", dos(TypeDir, -1))},
		{"IIS file", "11-21-26  02:48PM              1234 name", entry("name", dos(TypeFile, 1234))},
		{"IIS file with a leading space", "11-21-26  02:48PM              1234  name", entry(" name", dos(TypeFile, 1234))},
		{"four digits", "11-21-2026  02:48PM              1,234 name", entry("name", dos(TypeFile, 1234))},
		{"half apart", "11/21/2026  02:48 PM              1234 name", entry("name", dos(TypeFile, 1234))},
		{"day first", "21.11.2026  14:48    <DIR>  name", entry("name", dos(TypeDir, -1))},
		{"day that is no month", "21-11-26  14:48    <DIR>  name", entry("name", dos(TypeDir, -1))},
		{"ISO", "2026-11-21  14:48    <DIR>          name", entry("name", dos(TypeDir, -1))},
		{"junction", `11-21-26  02:48PM       <JUNCTION>     j [C:\x y]`, entry("j", func(e *Entry) {
			dos(TypeSymlink, -1)(e)
			e.Target = `C:\x y`
		})},
		{"midnight", "11-21-26  12:05AM   1 f", entry("f", func(e *Entry) {
			e.Type, e.Size, e.ModTime = TypeFile, 1, utc("2026-11-21 00:05:00")
		})},
		{"last century", "11-21-70  02:48PM   1 f", entry("f", func(e *Entry) {
			e.Type, e.Size, e.ModTime = TypeFile, 1, utc("1970-11-21 14:48:00")
		})},
		{"EPLF file", "+i8388621.48594,m825718503,r,s280,up644,\tdjb.html", entry("djb.html", func(e *Entry) {
			e.Type, e.Size, e.ModTime, e.Exact = TypeFile, 280, time.Unix(825718503, 0).UTC(), true
			e.Unique, e.Mode, e.HasMode = "8388621.48594", 0o644, true
		})},
		{"EPLF folder", "+/,m825718503,\t a\tb", entry(" a\tb", func(e *Entry) {
			e.Type, e.ModTime, e.Exact = TypeDir, time.Unix(825718503, 0).UTC(), true
		})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, kind, err := parser.Parse(test.line)
			if err != nil || kind != LineEntry || got != test.want {
				t.Errorf("%+v, %v, %v\nwant %+v", got, kind, err, test.want)
			}
		})
	}
}

func TestListZone(t *testing.T) {
	parser := NewListParser(testNow, testZone)
	for line, want := range map[string]string{
		"-rw-r--r-- 1 o g 7 Nov 21 10:06 f":        "2026-11-21 08:06:00",
		"-rw-r--r-- 1 o g 7 Nov 21  2025 f":        "2025-11-20 22:00:00",
		"11-21-26  02:48PM   1 f":                  "2026-11-21 12:48:00",
		"-rw-r--r-- 1 o g 7 2026-11-21 10:06:01 f": "2026-11-21 08:06:01",
		"-rw-r--r-- 1 o g 7 Jan  1 01:00 f":        "2025-12-31 23:00:00",
		"-rw-r--r-- 1 o g 7 2026-11-21 f":          "2026-11-20 22:00:00",
	} {
		if e, _, err := parser.Parse(line); err != nil || !e.ModTime.Equal(utc(want)) || e.Exact {
			t.Errorf("%s: %+v, %v", line, e, err)
		}
	}
	newYear := NewListParser(utc("2027-01-01 00:30:00"), nil)
	if e, _, _ := newYear.Parse("-rw-r--r-- 1 o g 7 Dec 31 23:50 f"); !e.ModTime.Equal(utc("2026-12-31 23:50:00")) {
		t.Errorf("%v", e.ModTime)
	}
	oldYear := NewListParser(utc("2026-12-31 23:50:00"), nil)
	if e, _, _ := oldYear.Parse("-rw-r--r-- 1 o g 7 Jan  1 00:10 f"); !e.ModTime.Equal(utc("2027-01-01 00:10:00")) {
		t.Errorf("%v", e.ModTime)
	}
}

func TestListLinesWithoutEntry(t *testing.T) {
	parser := NewListParser(testNow, nil)
	for line, want := range map[string]LineKind{
		"total 12": LineNone, "insgesamt 12": LineNone, "Итого 12": LineNone, "": LineNone, "  ": LineNone,
		"drwxr-xr-x 3 0 0 4096 Nov 21 10:06 .":      LineSelf,
		"drwxr-xr-x 3 0 0 4096 Nov 21 10:06 ..":     LineParent,
		"11-21-26  02:48PM       <DIR>          ..": LineParent,
	} {
		if _, kind, err := parser.Parse(line); err != nil || kind != want {
			t.Errorf("%q: %v, %v", line, kind, err)
		}
	}
	for _, line := range []string{
		"hello", "name 12", "ls: cannot open directory", "-rw-r--r-- 1 o g 7 Nov 21 10:06", "-rw-r--r-- 1 o g 7 Nov 21 10:06 ",
		"-rw-r--r-- 1 o g 7 Foo 21 10:06 f", "-rw-r--r-- 1 o g 7 Nov 31 10:06 f", "?rw-r--r-- 1 o g 7 Nov 21 10:06 f",
		"+r,s5", "+r,s5,\t", "11-21-26  02:48PM  <WHAT> x", "13-32-26  02:48PM  5 x", "-rw-r--r--", "-",
	} {
		if e, _, err := parser.Parse(line); !errors.Is(err, ErrLine) {
			t.Errorf("%q: %+v, %v", line, e, err)
		}
	}
}

func FuzzListParser(f *testing.F) {
	for _, line := range []string{
		"-rwxr-xr-x    1 1001     1002            5 Nov 21 10:06 a", "lrwxrwxrwx 1 0 0 6 Nov 21 10:06 l -> k -> x -> y",
		"brw-rw---- 1 root disk 8, 0 Feb 29  2024 sda", "-rw-r--r-- 1 o g 7 2026-11-21 12:06:25.123456789 +0200 f",
		"11-21-26  02:48PM       <DIR>          a b", "+i83.48,m825718503,/,s280,up644,\tdjb", "total 12",
		"d [RWCEAFMS] server 512 Jan 16 18:53 login", "-rw-r--r-- 1 o g 7 M\xe4r 21 2025 f", "-rw-r--r-- 1 o g 7 11月 21 10:06 f",
	} {
		f.Add(line)
	}
	parser := NewListParser(testNow, testZone)
	f.Fuzz(func(t *testing.T, line string) {
		e, kind, err := parser.Parse(line)
		checkParsed(t, line, e, kind, err)
		if err == nil && kind != LineNone && !strings.Contains(line, e.Name) {
			t.Errorf("%q: the name %q is not in it", line, e.Name)
		}
	})
}
