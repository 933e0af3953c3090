package session_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/pool/session"
)

// TestQuestionsBehindUploads: whenever a server reads what is asked right behind an upload, the upload is complete, its own reply is
// found, answers are those of the whole file, and the next one follows. Asked at once ProFTPD answers about half of them during the transfer.
func TestQuestionsBehindUploads(t *testing.T) {
	for name, early := range map[string]time.Duration{"at once": time.Nanosecond, "a moment later": 300 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			srv := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
			s := dial(t, config(srv, nil))
			answered := 0
			for i, size := range []int{0, 1, 4096, 16384, 50_000, 300_000, 1 << 20} {
				for n := range 12 {
					name := fmt.Sprintf("f%d-%d", i, n)
					path, content := s.Info().Home+"/"+name, payload(size)
					d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "STOR " + path, Next: n%2 == 0})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := d.Write(content); err != nil && size > 0 {
						t.Fatal(err)
					}
					d.Behind(session.Behind{Cmds: []string{"MFMT 20200101000000 " + path, "SIZE " + path, "MLST " + path}, Early: early})
					if r, err := d.Finish(t.Context()); err != nil || r.Code != 226 {
						t.Fatalf("%s: %v, %v", name, r, err)
					}
					if got, err := os.ReadFile(srv.Disk(name)); err != nil || !bytes.Equal(got, content) {
						t.Fatalf("%s: %d of %d bytes, %v", name, len(got), size, err)
					}
					if a := d.Answers(); a != nil {
						answered++
						if a[1].Last() != fmt.Sprint(size) || a[2].Code != 250 || d.OutOfTurn() {
							t.Errorf("%s: %v", name, a)
						}
					}
					if r, err := s.Command(t.Context(), "SIZE "+path); err != nil || r.Last() != fmt.Sprint(size) {
						t.Fatalf("%s: the session is out of step: %v, %v", name, r, err)
					}
				}
			}
			t.Logf("%d answers in turn", answered)
		})
	}
}

// TestPortsDuringListings: whenever a server reads the request for the next port, a listing is complete, its own reply is found, and the
// session goes on; one that is given up leaves the session in step or ended.
func TestPortsDuringListings(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": time.Nanosecond, "a moment later": 300 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			srv := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
			sizes := []int{0, 1, 50, 500, 5000}
			for _, size := range sizes {
				if err := os.Mkdir(srv.Disk(fmt.Sprint(size)), 0o755); err != nil {
					t.Fatal(err)
				}
				for n := range size {
					if err := os.WriteFile(srv.Disk(fmt.Sprintf("%d/f%d", size, n)), nil, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := dial(t, config(srv, nil))
			asked, missed, lost := 0, 0, 0
			for n := range 60 {
				size := sizes[n%len(sizes)]
				d, err := s.Transfer(t.Context(), session.TransferRequest{
					Verb: fmt.Sprintf("MLSD %s/%d", s.Info().Home, size), Next: true, EarlyFIN: true, NextAfter: after,
				})
				if err != nil {
					t.Fatal(err)
				}
				if n%7 == 6 {
					_, _ = d.Read(make([]byte, 10))
					d.Abort()
					if s.Poisoned() != nil {
						s = dial(t, config(srv, nil))
						lost++
					}
				} else {
					b, err := io.ReadAll(d)
					if lines := bytes.Count(b, []byte("; f")); err != nil || lines != size || !d.CloseNotify() {
						t.Fatalf("%d: %d lines, %v", size, lines, err)
					}
					if r, err := d.Finish(t.Context()); err != nil || r.Code != 226 {
						t.Fatalf("%d: %v, %v", size, r, err)
					}
					if d.Asked() {
						asked++
					}
					if d.OutOfTurn() {
						missed++
					}
				}
				if r, err := s.Command(t.Context(), "PWD"); err != nil || r.Code != 257 {
					t.Fatalf("%d: the session is out of step: %v, %v", size, r, err)
				}
			}
			t.Logf("asked during %d listings, %d times answered during them; %d sessions lost", asked, missed, lost)
		})
	}
}

// TestPortsDuringDownloads: whenever a server reads the request for the next port, a file is whole, and the session goes on with the next
// one; one that is given up leaves the session in step or ended.
func TestPortsDuringDownloads(t *testing.T) {
	for name, after := range map[string]time.Duration{"at once": time.Nanosecond, "a moment later": 300 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			srv := lab.Start(t, lab.Options{Kind: lab.ProFTPD})
			sizes := []int{1, 100, 4096, 12_000, 30_000, 300_000, 3 << 20}
			for i, size := range sizes {
				if err := os.WriteFile(srv.Disk(fmt.Sprint("f", i)), payload(size), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			s := dial(t, config(srv, nil))
			asked, missed, lost := 0, 0, 0
			for n := range 200 {
				i := n % len(sizes)
				if n >= 40 {
					i %= 4 // mostly small ones
				}
				path, want := fmt.Sprintf("%s/f%d", s.Info().Home, i), payload(sizes[i])
				d, err := s.Transfer(t.Context(), session.TransferRequest{Verb: "RETR " + path, Next: true, EarlyFIN: true, NextAfter: after})
				if err != nil {
					t.Fatal(err)
				}
				if n%13 == 6 {
					_, _ = d.Read(make([]byte, 10))
					d.Abort()
					if s.Poisoned() != nil {
						s = dial(t, config(srv, nil))
						lost++
					}
				} else {
					if got, err := io.ReadAll(d); err != nil || !bytes.Equal(got, want) || !d.CloseNotify() {
						t.Fatalf("%s: %d bytes, %v", path, len(got), err)
					}
					if r, err := d.Finish(t.Context()); err != nil || r.Code != 226 {
						t.Fatalf("%s: %v, %v", path, r, err)
					}
					if d.Asked() {
						asked++
					}
					if d.OutOfTurn() {
						missed++
					}
				}
				if n%2 == 0 { // at other times the next transfer follows at once
					if r, err := s.Command(t.Context(), "SIZE "+path); err != nil || r.Last() != fmt.Sprint(len(want)) {
						t.Fatalf("%s: the session is out of step: %v, %v", path, r, err)
					}
				}
			}
			if asked == 0 && after == time.Nanosecond {
				t.Error("no port was asked for ahead of an end")
			}
			t.Logf("asked during %d downloads, %d times answered during them; %d sessions lost", asked, missed, lost)
		})
	}
}
