package relay_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
	"github.com/ftpsfs/ftpsfs/mount_test/relay"
)

// patience bounds what must happen soon.
const patience = 10 * time.Second

// echo is a server that sends back what it gets, behind a relay; it hands the test its own ends of the connections.
type echo struct {
	relay *relay.Relay
	ends  chan *net.TCPConn
}

func newEcho(t *testing.T, o relay.Options) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	e := &echo{ends: make(chan *net.TCPConn, 16)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			e.ends <- conn.(*net.TCPConn)
		}
	}()
	o.Port = l.Addr().(*net.TCPAddr).Port
	e.relay = relay.Start(t, o)
	return e
}

// dial connects through the relay and gives both ends.
func (e *echo) dial(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	c, err := net.Dial("tcp", e.relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	client = c.(*net.TCPConn)
	select {
	case server = <-e.ends:
	case <-time.After(patience):
		t.Fatal("the server saw no connection")
	}
	for _, conn := range []*net.TCPConn{client, server} {
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	return client, server
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

func TestPassesBothWaysAndHalfCloses(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, server := e.dial(t)
	send(t, client, "question")
	if err := client.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(server); err != nil || string(b) != "question" {
		t.Fatalf("server read %q, %v", b, err)
	}
	send(t, server, "answer")
	server.Close()
	if b, err := io.ReadAll(client); err != nil || string(b) != "answer" {
		t.Fatalf("client read %q, %v", b, err)
	}
	s := e.relay.Stats()
	if s.Control != 1 || s.ControlUp != 8 || s.ControlDown != 6 || s.Data != 0 {
		t.Errorf("counted %+v", s)
	}
}

func TestResetOfOneEndReachesTheOther(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, server := e.dial(t)
	if err := client.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("server read: %v, want a reset", err)
	}
}

// What somebody sent into a frozen line and gave up with a reset never arrives; what he sent and closed in order does.
func TestFreezeLosesWhatWasGivenUp(t *testing.T) {
	for _, reset := range []bool{false, true} {
		e := newEcho(t, relay.Options{})
		client, server := e.dial(t)
		send(t, client, "before")
		expect(t, server, "before")
		e.relay.FreezeAll(relay.Any)
		send(t, client, "late")
		if reset {
			if err := client.SetLinger(0); err != nil {
				t.Fatal(err)
			}
		}
		client.Close()
		e.relay.ResumeAll()
		b, err := io.ReadAll(server)
		if reset && (len(b) > 0 || !errors.Is(err, syscall.ECONNRESET)) || !reset && (string(b) != "late" || err != nil) {
			t.Errorf("reset %v: server read %q, %v", reset, b, err)
		}
	}
}

func TestFaultsAtByteCounts(t *testing.T) {
	for _, c := range []struct {
		do   relay.Action
		want error // what the client reads after the bytes before the fault
	}{{relay.Cut, io.EOF}, {relay.Reset, syscall.ECONNRESET}} {
		t.Run(c.do.String(), func(t *testing.T) {
			e := newEcho(t, relay.Options{})
			armed := e.relay.Arm(relay.Rule{Kind: relay.Control, Nth: 2, Dir: relay.Down, After: 3, Do: c.do})
			for i := 1; i <= 3; i++ {
				client, server := e.dial(t)
				send(t, server, "abc")
				expect(t, client, "abc")
				if i != 2 {
					send(t, server, "def")
					expect(t, client, "def")
					continue
				}
				select {
				case <-armed.Happened():
				case <-time.After(patience):
					t.Fatal("nothing happened")
				}
				if _, err := client.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("client read: %v, want %v", err, c.want)
				}
				if _, err := server.Read(make([]byte, 1)); !errors.Is(err, c.want) {
					t.Errorf("server read: %v, want %v", err, c.want)
				}
			}
			if armed.Fired() != 1 {
				t.Errorf("happened %d times", armed.Fired())
			}
		})
	}
}

func TestCorruptInvertsOneByte(t *testing.T) {
	e := newEcho(t, relay.Options{})
	e.relay.Arm(relay.Rule{Kind: relay.Any, Dir: relay.Up, After: 2, Do: relay.Corrupt})
	client, server := e.dial(t)
	send(t, client, "aa")
	expect(t, server, "aa")
	send(t, client, "aaa")
	expect(t, server, string([]byte{'a' ^ 0xff, 'a', 'a'}))
}

func TestFreezeHoldsEverythingUntilResume(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, server := e.dial(t)
	send(t, client, "before")
	expect(t, server, "before")
	e.relay.FreezeAll(relay.Control)
	send(t, client, "during")
	late, err := net.Dial("tcp", e.relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	send(t, late, "new")
	if err := server.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := server.Read(make([]byte, 10)); err == nil {
		t.Fatalf("%d bytes passed a frozen relay", n)
	}
	e.relay.ResumeAll()
	if err := server.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	expect(t, server, "during")
	expect(t, <-e.ends, "new")
}

func TestExplicitCalls(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, _ := e.dial(t)
	e.relay.CutAll(relay.Data)
	send(t, client, "still there")
	e.relay.CutAll(relay.Control)
	if _, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after CutAll: %v", err)
	}
	client, _ = e.dial(t)
	e.relay.ResetAll(relay.Any)
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after ResetAll: %v", err)
	}
	e.relay.Refuse(relay.Control, true)
	c, err := net.Dial("tcp", e.relay.Addr())
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused: %v", err)
	}
	e.relay.Refuse(relay.Any, false)
	client, server := e.dial(t)
	send(t, client, "back")
	expect(t, server, "back")
}

// A delay and a rate are lower bounds: a slow machine makes them longer, never shorter.
func TestDelayAndRatesAreLowerBounds(t *testing.T) {
	const rtt = 40 * time.Millisecond
	e := newEcho(t, relay.Options{})
	e.relay.SetRTT(rtt)
	start := time.Now()
	client, server := e.dial(t)
	if took := time.Since(start); took < 3*rtt/2 {
		t.Errorf("the server saw the connection after %v", took)
	}
	start = time.Now()
	send(t, client, "ping")
	expect(t, server, "ping")
	send(t, server, "pong")
	expect(t, client, "pong")
	if took := time.Since(start); took < rtt {
		t.Errorf("round trip took %v", took)
	}
	e.relay.SetRTT(0)
	for _, limit := range []func(int64){e.relay.SetRate, e.relay.SetFlowRate} {
		limit(100_000)
		start = time.Now()
		payload := strings.Repeat("x", 20_000)
		send(t, client, payload)
		expect(t, server, payload)
		if took := time.Since(start); took < 190*time.Millisecond {
			t.Errorf("20,000 bytes at 100,000 bytes a second took %v", took)
		}
		limit(0)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	e := newEcho(t, relay.Options{})
	client, _ := e.dial(t)
	e.relay.FreezeAll(relay.Any)
	send(t, client, "stuck")
	e.relay.Close()
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the relay")
	}
	if s := e.relay.Stats(); s.ControlOpen != 0 {
		t.Errorf("%+v", s)
	}
}

// Real servers, through the relay: data ports follow, big transfers arrive whole, and nothing is readable on the way.
func TestServersBehindRelay(t *testing.T) {
	payload := bytes.Repeat([]byte("a sentence that must not be seen on the way. "), 100_000)
	for _, kind := range lab.Real {
		for _, listen := range []string{"127.0.0.2", "::1"} {
			t.Run(fmt.Sprintf("%s/%s", kind, listen), func(t *testing.T) {
				t.Parallel()
				s := lab.Start(t, lab.Options{Kind: kind})
				r := relay.Start(t, relay.Options{
					Listen: listen, Port: s.Port, PassiveLow: s.PassiveLow, PassiveHigh: s.PassiveHigh, Record: 16 << 20,
				})
				cmd := exec.Command("curl", "-sS", "--ssl-reqd", "--cacert", s.CAFile, "--max-time", "30",
					"--user", s.User+":"+s.Password, "--upload-file", "-", "ftp://"+r.Addr()+"/sentences")
				cmd.Stdin = bytes.NewReader(payload)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("curl: %v\n%s", err, out)
				}
				cmd = exec.Command("curl", "-sS", "--ssl-reqd", "--cacert", s.CAFile, "--max-time", "30",
					"--user", s.User+":"+s.Password, "ftp://"+r.Addr()+"/sentences")
				got, err := cmd.Output()
				if err != nil || sha256.Sum256(got) != sha256.Sum256(payload) {
					t.Errorf("%d of %d bytes came back, %v", len(got), len(payload), err)
				}
				if st := r.Stats(); st.Control != 2 || st.Data != 2 || st.DataUp < int64(len(payload)) || st.DataDown < int64(len(payload)) {
					t.Errorf("counted %+v", st)
				}
				if _, complete := r.Recorded(); !complete {
					t.Error("the recording is not complete")
				}
				for _, secret := range []string{s.Password, "PASS", "sentence"} {
					if found := r.Find([]byte(secret)); found != nil {
						t.Errorf("%q seen on a %v connection", secret, found[0].Kind)
					}
				}
				if r.Find([]byte("AUTH ")) == nil {
					t.Error("the recording does not hold AUTH, which goes in clear")
				}
			})
		}
	}
}
