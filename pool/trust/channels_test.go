package trust

import (
	"crypto/tls"
	"testing"
)

func TestOrderOfTickets(t *testing.T) {
	names := map[*tls.ClientSessionState]string{}
	ticket := func(name string) *tls.ClientSessionState {
		s := new(tls.ClientSessionState)
		names[s] = name
		return s
	}
	var s sessions
	control, data := &view{store: &s, control: true}, &view{store: &s}
	expect := func(want string) {
		t.Helper()
		got, ok := data.Get("any")
		if name := names[got]; name != want || ok != (want != "") {
			t.Errorf("got %q, want %q", name, want)
		}
	}
	expect("")
	control.Put("", ticket("control 1"))
	control.Put("", ticket("control 2"))
	if _, ok := control.Get(""); ok {
		t.Error("the control connection resumed")
	}
	expect("control 2")
	data.Put("", ticket("data 1"))
	expect("control 1")
	data.Put("", ticket("data 2"))
	control.Put("", ticket("control 3")) // as with a new ticket at each EPSV
	expect("control 3")
	expect("data 2")
	expect("data 1")
	expect("control 3") // all used: the newest again
	data.Put("", nil)   // a handshake with it failed: the others first
	expect("data 2")
	data.Put("", nil)
	expect("data 1")
	for range 100 {
		data.Put("", ticket("many"))
	}
	if len(s.list) != maxTickets {
		t.Errorf("%d tickets kept", len(s.list))
	}
}
