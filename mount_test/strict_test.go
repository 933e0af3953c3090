//go:build linux

package mount_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/ftpsfs/ftpsfs/mount_test/lab"
)

// strict is how FileZilla Server and ProFTPD see to it that a data connection comes from whom the control connection
// belongs to: it must resume that very TLS session. With TLS 1.3 only the newest ticket of the session is taken, and once.
type strict struct {
	version uint16

	mu      sync.Mutex
	refused int // data channels without the right ticket; guarded by mu
	taken   int // guarded by mu
	tickets int // sessions' tickets made so far, which numbers them; guarded by mu
}

// session gives the TLS configuration of one control connection and its data channels.
func (s *strict) session(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.MinVersion, c.MaxVersion = s.version, s.version
	var newest []byte // the ticket that is good, as its number; nil: none. guarded by s.mu
	var state []byte  // what it stands for. guarded by s.mu
	c.WrapSession = func(_ tls.ConnectionState, ss *tls.SessionState) ([]byte, error) {
		b, err := ss.Bytes()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tickets++
		newest, state = fmt.Appendf(nil, "ticket %d", s.tickets), b
		return newest, err
	}
	c.UnwrapSession = func(ticket []byte, _ tls.ConnectionState) (*tls.SessionState, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if newest == nil || string(ticket) != string(newest) {
			return nil, nil
		}
		if s.version == tls.VersionTLS13 { // TLS 1.2 gives no other one
			newest = nil
		}
		return tls.ParseSessionState(state)
	}
	return c
}

// resumed looks at a data channel.
func (s *strict) resumed(c *tls.Conn) bool {
	err := c.Handshake()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || !c.ConnectionState().DidResume {
		s.refused++
		return false
	}
	s.taken++
	return true
}

// TestStrictServers: a server that wants the newest ticket of the control connection's own session, each ticket once, is
// served by many connections side by side without a single refusal.
func TestStrictServers(t *testing.T) {
	ca := lab.NewAuthority(t)
	cert := ca.Issue(t, lab.CertSpec{})
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := &strict{version: version}
			f := startFake(t, script{cert: &cert, serves: true, replies: goodSession(), strict: rules})
			const files = 24
			for n := range files {
				f.files[fmt.Sprintf("there-%d", n)] = randomBytes(uint64(n), 50_000+n)
			}
			m := mountURL(t, &lab.Server{CAFile: ca.File, Password: secretPassword}, "ftps://someone@"+f.addr+"/", "max_conns=6", "verify=size")
			var all sync.WaitGroup
			for n := range files {
				all.Go(func() {
					old, fresh := m.path(fmt.Sprintf("there-%d", n)), m.path(fmt.Sprintf("new-%d", n))
					if got, err := os.ReadFile(old); err != nil || string(got) != string(randomBytes(uint64(n), 50_000+n)) {
						t.Errorf("%s: %d bytes, %v", old, len(got), err)
					}
					if err := os.WriteFile(fresh, randomBytes(uint64(100+n), 30_000), 0o644); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			logins := m.number(m.status(), opened)
			m.end()
			f.mu.Lock()
			defer f.mu.Unlock()
			rules.mu.Lock()
			defer rules.mu.Unlock()
			for n := range files {
				if got := f.files[fmt.Sprintf("new-%d", n)]; string(got) != string(randomBytes(uint64(100+n), 30_000)) {
					t.Errorf("new-%d has %d bytes on the server", n, len(got))
				}
			}
			if rules.refused > 0 || rules.taken < 2*files || logins < 2 {
				t.Errorf("%d data channels refused, %d taken, %d connections", rules.refused, rules.taken, logins)
			}
		})
	}
}
