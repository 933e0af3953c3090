package session

import (
	"context"
	"fmt"
	"net"
	"time"
)

// listen makes a channel on which the server calls us (RFC 959 PORT, RFC 2428 EPRT).
func (s *Session) listen(ctx context.Context) (*channel, error) {
	local := tcpAddr(s.Info().LocalAddr)
	ln, err := s.listenPort(local)
	if err != nil {
		return nil, fmt.Errorf("active mode: %w", err)
	}
	ip := local.IP
	if s.cfg.ActiveAddr != nil {
		ip = s.cfg.ActiveAddr
	}
	port := tcpAddr(ln.Addr()).Port
	if err := s.announce(ctx, ip, port); err != nil {
		_ = ln.Close()
		return nil, err
	}
	s.learn(func(i *Info) { i.sawPort(port) })
	ch := s.newChannel()
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		ch.accept(ln)
	}()
	return ch, nil
}

// listenPort takes the first free port of the range that a firewall lets in, or any.
func (s *Session) listenPort(local *net.TCPAddr) (*net.TCPListener, error) {
	lo, hi := s.cfg.ActivePorts[0], s.cfg.ActivePorts[1]
	var err error
	for port := lo; port <= hi; port++ {
		var ln *net.TCPListener
		if ln, err = net.ListenTCP("tcp", &net.TCPAddr{IP: local.IP, Zone: local.Zone, Port: port}); err == nil {
			return ln, nil
		}
	}
	return nil, err
}

// announce tells the server where to call.
func (s *Session) announce(ctx context.Context, ip net.IP, port int) error {
	plain, v4 := formatPORT(ip, port)
	s.mu.Lock()
	skip := (s.noEPRT || s.cfg.NoEPSV) && v4
	s.mu.Unlock()
	if !skip {
		cmd := "EPRT " + formatEPRT(ip, port)
		r, err := s.line.Flight(ctx, cmd)
		if err != nil {
			return s.explain(err)
		}
		if r[0].OK() {
			return nil
		}
		if !v4 || r[0].Code < 500 {
			return s.refusal(cmd, r[0])
		}
		s.mu.Lock()
		s.noEPRT = true
		s.mu.Unlock()
	}
	r, err := s.line.Flight(ctx, "PORT "+plain)
	if err != nil {
		return s.explain(err)
	}
	if !r[0].OK() {
		return s.refusal("PORT "+plain, r[0])
	}
	return nil
}

// accept waits for the server's call, and hangs up on everybody else's. It ends with the call, the channel or the bound.
func (ch *channel) accept(ln *net.TCPListener) {
	defer func() { _ = ln.Close() }()
	stop := context.AfterFunc(ch.ctx, func() { _ = ln.Close() })
	defer stop()
	_ = ln.SetDeadline(time.Now().Add(ch.s.cfg.Timeout))
	want := ch.s.remote.IP
	for {
		nc, err := ln.AcceptTCP()
		if err != nil {
			ch.connected(nil, fmt.Errorf("%w: %w", errPeer, err))
			return
		}
		if tcpAddr(nc.RemoteAddr()).IP.Equal(want) {
			setUserTimeout(nc, ch.s.cfg.Timeout)
			ch.connected(nc, nil)
			return
		}
		_ = nc.Close()
	}
}
