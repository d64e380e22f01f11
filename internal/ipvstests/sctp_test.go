package ipvstests

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// sctp is IPPROTO_SCTP, which package syscall lacks.
const sctp = 132

// SCTP associations reach the endpoints, which see who is there. (That a REJECT
// comes back cannot be seen: a socket goes on trying when it hears of it.)
func TestServicesAnswerOverSCTP(t *testing.T) {
	s := newStage(t, []string{"asker", "here"}, []string{"there"}, settings{})
	s.serve(t, service{name: "web", number: 10, protocols: []string{"SCTP"}, endpoints: s.on("here", "there")})
	s.settled(t)
	for _, pod := range []string{"here", "there"} {
		for _, addr := range s.hosts[pod].Addrs() {
			serveSCTP(t, s.hosts[pod], netip.AddrPortFrom(addr, 8080))
		}
	}
	for _, family := range proxier.Families {
		for _, c := range []struct{ from, kind, masqueradedAs string }{
			{"asker", "cluster", "asker"},
			{"node", "cluster", "node"},
			{"client", "cluster", "node"},
			{"client", "lb", "node"},
			{"client", "nodeport", "node"},
			{"asker", "nodeport", "node"},
			{"node", "nodeport", "node"},
		} {
			to := s.addressOf(family, c.kind, 10)
			seen := map[string]bool{}
			for range 2 {
				server, peer, err := dialSCTP(s.hosts[c.from], to)
				if err != nil {
					t.Fatalf("%s to %s %s: %v", c.from, c.kind, to, err)
				}
				seen[server] = true
				if peer != own(s.hosts[c.masqueradedAs], family) {
					t.Errorf("%s to %s %s: the server saw %s, want %s's address", c.from, c.kind, to, peer, c.masqueradedAs)
				}
			}
			if len(seen) != 2 {
				t.Errorf("%s to %s %s: only %v answers, want both", c.from, c.kind, to, seen)
			}
		}
	}
}

// serveSCTP answers each association with the host's name and the peer's address.
// It ends with the test.
func serveSCTP(t *testing.T, h *testenv.Host, at netip.AddrPort) {
	t.Helper()
	var fd int
	err := h.Do(func() (err error) {
		if fd, err = socketSCTP(at.Addr()); err != nil {
			return err
		}
		if err := syscall.Bind(fd, sockaddr(at)); err != nil {
			return os.NewSyscallError("bind", err)
		}
		return os.NewSyscallError("listen", syscall.Listen(fd, 8))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	// As a file the number is nobody else's as long as somebody accepts on it: an
	// accept that is still waiting when a bare number is closed goes on with
	// whatever socket gets the number next.
	listener := os.NewFile(uintptr(fd), "sctp")
	raw, err := listener.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, peer, err := acceptSCTP(raw)
			if err != nil {
				return // the file is closed
			}
			_, _ = syscall.Write(conn, fmt.Appendf(nil, "%s %s", h.Name, addrOf(peer)))
			_ = syscall.Close(conn)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		done.Wait()
	})
}

// acceptSCTP waits for an association, or for the end of the listener. The kernel
// says EINTR also where it does not wait, when one of the runtime's signals comes
// at that moment.
func acceptSCTP(listener syscall.RawConn) (conn int, peer syscall.Sockaddr, err error) {
	ended := listener.Read(func(fd uintptr) bool {
		err = syscall.EINTR
		for errors.Is(err, syscall.EINTR) {
			conn, peer, err = syscall.Accept(int(fd))
		}
		return !errors.Is(err, syscall.EAGAIN)
	})
	return conn, peer, errors.Join(ended, err)
}

// dialSCTP returns who answered, and whom that host saw.
func dialSCTP(h *testenv.Host, to netip.AddrPort) (server string, peer netip.Addr, err error) {
	err = h.Do(func() error {
		conn, err := socketSCTP(to.Addr())
		if err != nil {
			return err
		}
		defer syscall.Close(conn)
		if err := syscall.Connect(conn, sockaddr(to)); err != nil {
			return os.NewSyscallError("connect", err)
		}
		buffer := make([]byte, 200)
		n, err := syscall.Read(conn, buffer)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		var text string
		if _, err := fmt.Sscan(string(buffer[:max(n, 0)]), &server, &text); err != nil {
			return err
		}
		peer, err = netip.ParseAddr(text)
		return err
	})
	return server, peer, err
}

func socketSCTP(family netip.Addr) (int, error) {
	domain := syscall.AF_INET
	if family.Is6() {
		domain = syscall.AF_INET6
	}
	fd, err := syscall.Socket(domain, syscall.SOCK_STREAM, sctp)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	limit := syscall.NsecToTimeval(int64(slow))
	for _, option := range []int{syscall.SO_RCVTIMEO, syscall.SO_SNDTIMEO} {
		if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, option, &limit); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	return fd, nil
}

func sockaddr(a netip.AddrPort) syscall.Sockaddr {
	if a.Addr().Is6() {
		return &syscall.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &syscall.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func addrOf(s syscall.Sockaddr) netip.Addr {
	switch s := s.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(s.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(s.Addr)
	}
	return netip.Addr{}
}
