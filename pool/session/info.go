package session

import (
	"crypto/tls"
	"net"
	"time"
)

// Info is what a session knows about its server. Features must not be changed.
type Info struct {
	Greeting string
	Features map[string]string // FEAT: upper-case name to parameters; those of several lines with ";" between them
	HasFEAT  bool              // the server answered FEAT
	Home     string            // PWD right after login, "" when the server did not tell
	Control  tls.ConnectionState
	Data     tls.ConnectionState // of the latest data channel with TLS; zero before
	DataSeen bool                // a data channel was used
	// DataResumed says whether the latest data channel resumed its control session.
	DataResumed bool
	DataPort    int // server's port of the latest passive data channel, ours of the latest active one
	// DataPorts are the lowest and the highest DataPort so far: what a firewall must let through, at the least.
	DataPorts  [2]int
	Prot       Protection
	Quirks     Quirks
	RemoteAddr net.Addr
	LocalAddr  net.Addr
	Greeted    time.Time // when the greeting came
	Since      time.Time // logged in
}

// Protection is what the two channels have, as observed, not as asked for.
type Protection struct {
	Control bool // TLS on the control connection (false after CCC)
	Data    bool // TLS on the latest data channel (false before the first)
}

// Quirks are what was learned of a server and what a later session needs not learn again. It is kept as JSON.
type Quirks struct {
	SerialLogin     bool   `json:"serial_login,omitempty"`      // dislikes login commands in one flight
	LateClientHello bool   `json:"late_client_hello,omitempty"` // ClientHello on a data channel only after the 1xx
	NoEPSV          bool   `json:"no_epsv,omitempty"`           // PASV it is
	MLSTFacts       string `json:"mlst_facts,omitempty"`        // argument of OPTS MLST that turns all facts on
}

// With gives q and what a session found out that began with before and knows after: only what changed, so that it can be put
// together with what others found out meanwhile.
func (q Quirks) With(before, after Quirks) Quirks {
	if after.SerialLogin != before.SerialLogin {
		q.SerialLogin = after.SerialLogin
	}
	if after.LateClientHello != before.LateClientHello {
		q.LateClientHello = after.LateClientHello
	}
	if after.NoEPSV != before.NoEPSV {
		q.NoEPSV = after.NoEPSV
	}
	if after.MLSTFacts != before.MLSTFacts {
		q.MLSTFacts = after.MLSTFacts
	}
	return q
}

// sawPort notes the port of a data channel.
func (i *Info) sawPort(port int) {
	i.DataPort = port
	if i.DataPorts[0] == 0 || port < i.DataPorts[0] {
		i.DataPorts[0] = port
	}
	i.DataPorts[1] = max(i.DataPorts[1], port)
}
