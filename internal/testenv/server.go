package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Server answers each line (TCP) or datagram (UDP) with one line that says who
// answered and who asked:
//
//	<host name> <own address:port> <peer's address:port>
//
// So a client learns which endpoint its packets came to, and whether their
// source was masqueraded on the way.
type Server struct {
	name string
	addr netip.AddrPort
	main io.Closer // listener or packet socket

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	done   sync.WaitGroup
}

// Serve starts a server on the host for proto "tcp" or "udp" at addr. Port 0
// takes a free one. UDP needs a specific address: on the unspecified one, answers
// would leave from an address of the kernel's choice. It ends with Close or with
// the cluster.
func (h *Host) Serve(proto string, addr netip.AddrPort) (*Server, error) {
	s := &Server{name: h.Name, conns: map[net.Conn]struct{}{}}
	err := h.Do(func() error {
		switch {
		case proto == "tcp":
			return s.listen(addr)
		case proto == "udp" && !addr.Addr().IsUnspecified():
			return s.bind(addr)
		case proto == "udp":
			return fmt.Errorf("unspecified address; want one of the host's")
		}
		return fmt.Errorf("unknown protocol; want tcp or udp")
	})
	if err != nil {
		return nil, fmt.Errorf("%s: serve %s %s: %w", h.Name, proto, addr, err)
	}
	h.closeWithHost(s)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// Close stops the server and its connections. Closing twice is harmless.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	for conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	var err error
	if first {
		err = s.main.Close()
	}
	s.done.Wait()
	return err
}

func (s *Server) listen(addr netip.AddrPort) error {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // plain TCP on the wire
	listener, err := config.Listen(context.Background(), "tcp", addr.String())
	if err != nil {
		return err
	}
	s.main, s.addr = listener, addrPort(listener.Addr())
	s.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && s.keep(conn) {
				s.done.Go(func() { s.answerLines(conn) })
			}
		}
	})
	return nil
}

// keep notes an accepted connection; false means that the server has closed.
func (s *Server) keep(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.conns[conn] = struct{}{}
	return true
}

func (s *Server) answerLines(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	reply := Reply{s.name, addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if _, err := io.WriteString(conn, reply.line()); err != nil {
			return
		}
	}
}

func (s *Server) bind(addr netip.AddrPort) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	s.main, s.addr = conn, addrPort(conn.LocalAddr())
	s.done.Go(func() {
		buffer := make([]byte, 2048)
		for {
			_, peer, err := conn.ReadFromUDPAddrPort(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // an ICMP error about an earlier answer
			}
			reply := Reply{s.name, s.addr, unmap(peer)}
			_, _ = conn.WriteToUDPAddrPort([]byte(reply.line()), peer) // a lost answer is the client's timeout
		}
	})
	return nil
}

// addrPort is the netip form of a TCP or UDP address.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
