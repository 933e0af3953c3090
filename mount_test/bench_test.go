//go:build linux

package mount_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
	"github.com/ftpsfs/ftpsfs/mount_test/wire"
)

// The benchmark is steered by the environment:
//
//	FTPSFS_LONG=1             the full numbers of files and bytes, medians of three
//	FTPSFS_BENCH_ROUNDS=1     runs of each, the median counts; 3 by default with FTPSFS_LONG=1
//	FTPSFS_BENCH=walk,read    only workloads whose name contains one of the words
//	FTPSFS_BENCH_PEERS=none   no other programs; or those to run: rclone-off,rclone-full,curlftpfs,gvfs,lftp,curl
//	FTPSFS_BENCH_SERVER=x     only this server
//	FTPSFS_BENCH_RTT=20ms     round trip of the line, 0 for loopback
//	FTPSFS_BENCH_FLOW=50      cap of each flow in Mbit/s
//	FTPSFS_BENCH_TLS=1.2      version of TLS, 1.3 otherwise (with which curlftpfs reads nothing)
//	FTPSFS_BENCH_OPTIONS=x    mount options of ftpsfs, such as max_conns=4
//
// The line is one that every packet takes its time on, with TCP of the kernel (package wire). Only a cap of the flows needs the
// relay in this process, which passes on bytes, not packets; it also stands in where no network namespace can be made, and then the head
// of the table says so.
//
//	FTPSFS_RCLONE=FILE        where rclone is, otherwise it is looked for in PATH
//
// BenchmarkWorkloads runs each workload on a cold mount of each server through a delaying line, and by the other programs
// that are installed, and prints one table.
func BenchmarkWorkloads(b *testing.B) {
	set := benchSettings(b)
	var rows []result
	var servers []string
	for _, kind := range []lab.Kind{lab.ProFTPD, lab.VSFTPD} {
		if only := os.Getenv("FTPSFS_BENCH_SERVER"); only != "" && only != string(kind) {
			continue
		}
		one := newBench(b, set, kind)
		servers = append(servers, named(string(kind), one.server.Release())+one.line)
		rows = append(rows, one.run()...)
	}
	fmt.Println(table(set, servers, rows))
	for _, r := range rows {
		if r.client == "ftpsfs" && r.wrong != "" {
			b.Errorf("%s on %s: %s", r.workload, r.server, r.wrong)
		}
	}
}

// settings are what the environment chose.
type settings struct {
	rtt     time.Duration
	flow    int64 // bytes a second, 0: any
	rounds  int
	clients []string
	words   []string
	peers   []string // programs that the clients are, with their versions
}

func benchSettings(b *testing.B) settings {
	s := settings{rtt: 20 * time.Millisecond, rounds: pick(1, 3), clients: []string{"ftpsfs"}}
	if v := os.Getenv("FTPSFS_BENCH_RTT"); v != "" {
		var err error
		if s.rtt, err = time.ParseDuration(v); err != nil {
			b.Fatal(err)
		}
	}
	if v := os.Getenv("FTPSFS_BENCH_ROUNDS"); v != "" {
		if _, err := fmt.Sscan(v, &s.rounds); err != nil || s.rounds < 1 {
			b.Fatalf("FTPSFS_BENCH_ROUNDS=%s", v)
		}
	}
	if v := os.Getenv("FTPSFS_BENCH_FLOW"); v != "" {
		var mbit int64
		if _, err := fmt.Sscan(v, &mbit); err != nil {
			b.Fatal(err)
		}
		s.flow = mbit * 1e6 / 8
	}
	if v := os.Getenv("FTPSFS_BENCH"); v != "" {
		s.words = strings.Split(v, ",")
	}
	peers := cmp.Or(os.Getenv("FTPSFS_BENCH_PEERS"), "rclone-off,rclone-full,curlftpfs,gvfs,lftp,curl")
	for _, p := range strings.Split(peers, ",") {
		if _, err := exec.LookPath(peerProgram(p)); err == nil && p != "none" {
			s.clients = append(s.clients, p)
			if told := peerRelease(b, p); !slices.Contains(s.peers, told) {
				s.peers = append(s.peers, told)
			}
		}
	}
	return s
}

// named is a program with its version, if that is known.
func named(program, version string) string { return strings.TrimSpace(program + " " + version) }

// result is one cell of the table.
type result struct {
	server, workload, client string
	seconds                  float64
	counts                   status  // ftpsfs: counters of the run
	cpu                      float64 // seconds of the program that mounts, its start included
	peak                     int64   // most resident memory of it, MiB; 0: no mount
	bytes                    int64   // that the workload moves, 0: hardly any
	late                     bool    // the program ended before the data was on the server
	wrong                    string  // what was not right in the end
}

// bench is one server behind its line.
type bench struct {
	*testing.B
	set    settings
	c      cell
	server *lab.Server
	host   string   // where clients find the server
	line   string   // what stands between them, if it is not what was asked for
	far    []string // the program that runs clients at the far end of the line; nil: they run here
	local  string   // folder with what is copied in
}

func newBench(tb *testing.B, set settings, kind lab.Kind) *bench {
	b := &bench{B: tb, set: set, c: cell{kind: kind, version: cmp.Or(os.Getenv("FTPSFS_BENCH_TLS"), "1.3")}, local: lab.Folder(tb, "ftpsfs-local-")}
	switch {
	case set.flow > 0:
		b.behindRelay()
	case set.rtt > 0:
		if err := b.behindLine(); err != nil {
			b.line = fmt.Sprintf(" behind a relay that delays bytes, as there is no line of packets (%s)", strings.Join(strings.Fields(err.Error()), " "))
			b.behindRelay()
		}
	default:
		b.server = b.c.start(b)
		b.host = b.server.Host
	}
	return b
}

// behindLine starts the server at the near end of a line of packets. The error says why there can be none.
func (b *bench) behindLine() error {
	l, err := wire.Start(b, b.set.rtt/2)
	if err != nil {
		return err
	}
	ca := lab.NewAuthority(b)
	cert := ca.Issue(b, lab.CertSpec{Hosts: []string{l.Here}})
	b.server = lab.Start(b, lab.Options{Kind: b.c.kind, Version: b.c.version, Bind: "0.0.0.0", Cert: &cert, CAFile: ca.File})
	b.host, b.far = l.Here, l.Inside()
	return nil
}

// behindRelay starts the server behind the relay in this process.
func (b *bench) behindRelay() {
	b.server = b.c.start(b)
	r := relay.Start(b, relay.Options{Target: b.server.Host, Port: b.server.Port, PassiveLow: b.server.PassiveLow, PassiveHigh: b.server.PassiveHigh})
	r.SetRTT(b.set.rtt)
	r.SetFlowRate(b.set.flow)
	b.host = r.Host
}

// command is a program of a client, where clients run.
func (b *bench) command(name string, args ...string) *exec.Cmd {
	all := slices.Concat(b.far, []string{name}, args)
	return exec.Command(all[0], all[1:]...)
}

// run measures every chosen workload by every client that can do it, the clients in turn.
func (b *bench) run() []result {
	var rows []result
	for _, w := range workloads {
		chosen := len(b.set.words) == 0 || slices.ContainsFunc(b.set.words, func(s string) bool { return strings.Contains(w.name, s) })
		if !chosen {
			continue
		}
		if w.prepare != nil {
			w.prepare(b)
		}
		runs := map[string][]result{}
		for round := range b.set.rounds {
			for _, client := range b.set.clients {
				if client != "ftpsfs" && peerMounts[client] == nil && w.script(client) == nil {
					continue
				}
				r := b.measure(w, client, fmt.Sprintf("%s-%d", client, round))
				runs[client] = append(runs[client], r)
				fmt.Fprintf(os.Stderr, "%s: %s: %s: %.2f s %s\n", b.c.kind, w.name, client, r.seconds, r.wrong)
			}
		}
		for _, client := range b.set.clients {
			if len(runs[client]) > 0 {
				rows = append(rows, median(runs[client]))
			}
		}
	}
	return rows
}

// median is the run in the middle. One wrong run makes it wrong.
func median(runs []result) result {
	slices.SortFunc(runs, func(x, y result) int { return cmp.Compare(x.seconds, y.seconds) })
	m := runs[len(runs)/2]
	for _, r := range runs {
		m.late = m.late || r.late
		m.wrong = cmp.Or(m.wrong, r.wrong)
	}
	return m
}

// measure runs one workload once. Everything that is written goes to a folder of its own, named as the run.
func (b *bench) measure(w workload, client, run string) result {
	out := result{server: string(b.c.kind), workload: w.name, client: client, bytes: w.bytes}
	if err := os.MkdirAll(b.server.Disk(run), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.Chown(b.server.Disk(run), b.server.UID, b.server.GID); err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(b.server.Disk(run))
	if w.each != nil {
		w.each(b, b.server.Disk(run))
	}
	work, end := b.client(w, client, run, &out)
	start := time.Now()
	err := work()
	out.seconds = time.Since(start).Seconds()
	if err != nil {
		out.wrong = err.Error()
	}
	if w.check != nil && err == nil {
		out.late = w.check(b, b.server.Disk(run)) != nil
	}
	end()
	if w.check != nil && err == nil {
		if err := w.check(b, b.server.Disk(run)); err != nil {
			out.wrong = err.Error()
		}
	}
	return out
}

// client gives what does the work and what ends the client.
func (b *bench) client(w workload, client, run string, out *result) (work func() error, end func()) {
	switch {
	case client == "ftpsfs":
		options := strings.FieldsFunc(os.Getenv("FTPSFS_BENCH_OPTIONS"), func(r rune) bool { return r == ',' })
		m := mountBy(b, b.far, lab.Folder(b, "ftpsfs-mnt-"), b.server, b.server.URLVia(b.host), options...)
		m.limit(20 * time.Minute)
		before := m.status()
		return func() error { return w.do(b, m.dir, m.path(run)) }, func() {
			out.counts = status{}
			for name, v := range m.status() {
				out.counts[name] = v - before[name]
			}
			out.cpu, out.peak = spentBy(b, m.cmd.Process.Pid)
			m.end()
		}
	case peerMounts[client] != nil:
		dir, stop := b.mountPeer(client, out)
		return func() error { return w.do(b, dir, filepath.Join(dir, run)) }, stop
	}
	script := b.command("sh", "-c", w.script(client)(b, run))
	return func() error {
		script.Dir = b.local
		text, err := output(script, 20*time.Minute)
		if err != nil {
			return fmt.Errorf("%w: %s", err, lastBytes(text, 300))
		}
		return nil
	}, func() {}
}

// spentBy is what a process has used of the processors, in seconds, and of memory at most, in MiB.
func spentBy(b testing.TB, pid int) (cpu float64, peak int64) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		b.Fatal(err)
	}
	if raw, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err != nil {
		b.Fatal(err)
	}
	_, most, _ := strings.Cut(string(raw), "VmHWM:")
	if _, err := fmt.Sscan(most, &peak); err != nil {
		b.Fatal(err)
	}
	return (user + system) / 100, peak >> 10 // USER_HZ; kB
}

// table prints the results: seconds of all clients, and what ftpsfs needed for them.
func table(set settings, servers []string, rows []result) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s, round trip %v, flow cap %d Mbit/s, %d CPUs, %s; medians of %d\n%s\n",
		time.Now().Format(time.DateOnly), set.rtt, set.flow*8/1e6, runtime.NumCPU(), runtime.Version(), set.rounds,
		strings.Join(slices.Concat(servers, set.peers), ", "))
	out.WriteString("`~`: the program ended before the data was on the server. `!`: wrong or missing data, or it failed.\n\n")
	fmt.Fprintf(&out, "| workload | server | %s | commands | waits | queued | channels | logins | in vain, KiB | CPU s |\n", strings.Join(set.clients, " | "))
	out.WriteString(strings.Repeat("|---", len(set.clients)+9) + "|\n")
	find := func(server, workload, client string) (result, bool) {
		i := slices.IndexFunc(rows, func(r result) bool { return r.server == server && r.workload == workload && r.client == client })
		if i < 0 {
			return result{}, false
		}
		return rows[i], true
	}
	for _, r := range rows {
		if r.client != "ftpsfs" {
			continue
		}
		fmt.Fprintf(&out, "| %s | %s |", r.workload, r.server)
		for _, client := range set.clients {
			cell, ok := find(r.server, r.workload, client)
			switch {
			case !ok:
				out.WriteString(" |")
				continue
			case cell.wrong != "":
				fmt.Fprintf(&out, " %.2f!", cell.seconds)
			case cell.late:
				fmt.Fprintf(&out, " %.2f~", cell.seconds)
			default:
				fmt.Fprintf(&out, " %.2f", cell.seconds)
			}
			out.WriteString(" |")
		}
		sent := 0.0
		for name, n := range r.counts {
			if strings.HasPrefix(name, commands) {
				sent += n
			}
		}
		vain := 0.0
		for _, name := range inVain {
			vain += r.counts[name]
		}
		fmt.Fprintf(&out, " %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.2f |\n", sent, r.counts[waits], r.counts[queued], r.counts[transfers],
			r.counts[opened]+1, vain/1024, r.cpu)
	}
	out.WriteString("\nWhat the mounts spent, their start included:\n\n| workload | server | program | seconds | CPU s | CPU s per GiB | memory at most, MiB |\n")
	out.WriteString(strings.Repeat("|---", 7) + "|\n")
	for _, r := range rows {
		if r.peak > 0 && r.bytes > 0 {
			fmt.Fprintf(&out, "| %s | %s | %s | %.2f | %.2f | %.2f | %d |\n", r.workload, r.server, r.client, r.seconds, r.cpu,
				r.cpu*(1<<30)/float64(r.bytes), r.peak)
		}
	}
	return out.String()
}
