package stage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// The crash test runs this binary again as a process that stages and journals without an end, telling what it has done
// on its standard output, and kills it.
const crashEnv = "FTPSFS_STAGE_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		stageForever(dir)
	}
	os.Exit(m.Run())
}

// fact is one line of the victim's account, written after the call returned.
type fact struct {
	What   string // "begin" or "commit" before the call, "began", "committed", "settled", "closed", "step", "done" after it
	Target string
	Round  int
}

func contentOf(round int) []byte {
	b := make([]byte, 3*blockSize+round%5000)
	rnd := rand.New(rand.NewPCG(uint64(round), 0))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func stageForever(dir string) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	tell := func(what, target string, round int) {
		b, err := json.Marshal(fact{what, target, round})
		check(err)
		_, err = os.Stdout.Write(append(b, '\n'))
		check(err)
	}
	s, err := Open(Config{Dir: dir, Server: "ftps://u@h:21/r", Mount: "victim"})
	check(err)
	for round := 0; ; round++ {
		target := fmt.Sprintf("/f%d", round)
		f, err := s.Create(target, Base{})
		check(err)
		e, err := s.Begin(Record{Op: OpUpload, Path: target, Temp: target + ".tmp"})
		check(err)
		tell("began", target, round)
		check(e.Step("upload"))
		tell("step", target, round)
		content := contentOf(round)
		for off := 0; off < len(content); off += 1000 {
			_, err := f.WriteAt(content[off:min(off+1000, len(content))], int64(off))
			check(err)
		}
		snap, err := f.Commit()
		check(err)
		tell("committed", target, round)
		if round%3 == 0 {
			check(f.Settle(snap.Gen, Base{Exists: true, Size: snap.Size}))
			tell("settled", target, round)
		}
		if round%3 != 1 { // one in three stays
			tell("closing", target, round)
			_, err = f.Close(false)
			check(err)
			check(e.Done())
			tell("done", target, round)
		}
	}
}

func TestKilledAtRandomMoments(t *testing.T) {
	kills := 12
	if testing.Short() {
		kills = 3
	}
	dir := t.TempDir()
	for i := range kills {
		victim := exec.Command(os.Args[0])
		victim.Env = append(os.Environ(), crashEnv+"="+dir)
		var errs bytes.Buffer
		victim.Stderr = &errs
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		facts := map[string][]fact{}
		lines := bufio.NewScanner(out)
		stop := 1 + rand.IntN(60) // facts until the kill, plus a moment
		for n := 0; lines.Scan(); n++ {
			var f fact
			if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
				t.Fatalf("%q: %v; %s", lines.Text(), err, errs.String())
			}
			facts[f.Target] = append(facts[f.Target], f)
			if n == stop {
				time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { victim.Process.Kill() })
			}
		}
		if victim.Wait(); errs.Len() > 0 {
			t.Fatal(errs.String())
		}
		checkAfterCrash(t, dir, facts)
		if t.Failed() {
			t.Fatalf("after kill %d", i)
		}
	}
	noRunsLeft(t, dir)
}

// checkAfterCrash compares what is left with what the victim had been told, and clears it away.
func checkAfterCrash(t *testing.T, dir string, facts map[string][]fact) {
	s := openStore(t, dir, func(c *Config) { c.Mount = "heir" })
	defer s.Close()
	files, entries := map[string]Leftover{}, map[string]Record{}
	for _, l := range leftovers(t, s) {
		if l.Mount != "victim" {
			t.Errorf("left by %q", l.Mount)
		}
		if l.Entry != nil {
			entries[l.Entry.Record().Path] = l.Entry.Record()
			if err := l.Entry.Done(); err != nil {
				t.Error(err)
			}
			continue
		}
		files[l.File.Target()] = l
		defer l.File.Close(false)
	}
	for target, list := range facts {
		last := list[len(list)-1]
		has := func(what string) bool {
			for _, f := range list {
				if f.What == what {
					return true
				}
			}
			return false
		}
		l, left := files[target]
		rec, open := entries[target]
		if has("step") && !has("closing") && (!open || rec.Step != "upload" || rec.Temp != target+".tmp") {
			t.Errorf("%v: journal record %+v, %t", list, rec, open)
		}
		if has("done") && (left || open) {
			t.Errorf("%v: left %t, journal %t", list, left, open)
		}
		if has("settled") && left {
			t.Errorf("%v: settled content left as changed", list)
		}
		if has("committed") && !has("closing") && last.Round%3 != 0 {
			want := contentOf(last.Round)
			got := make([]byte, len(want))
			if !left || !l.Committed || !l.Complete || l.File.Size() != int64(len(want)) {
				t.Errorf("%v: committed content: %+v", list, l)
			} else if _, err := l.File.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v: committed content damaged, %v", list, err)
			}
		}
		delete(files, target)
	}
	for target := range files {
		t.Errorf("%s left, never heard of", target)
	}
}
