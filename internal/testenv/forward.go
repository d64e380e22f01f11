package testenv

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
)

// Forward carries TCP connections out of a host's namespace: it listens on the
// host's loopback and connects from the namespace of this process.
type Forward struct {
	target   netip.AddrPort
	listener net.Listener

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	done   sync.WaitGroup
}

// Forward makes target, as this process reaches it, reachable from inside of the
// host at the address that Addr tells. It ends with Close or with the cluster.
func (h *Host) Forward(target netip.AddrPort) (*Forward, error) {
	f := &Forward{target: target, conns: map[net.Conn]struct{}{}}
	err := h.Do(func() (err error) {
		f.listener, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: forward to %s: %w", h.Name, target, err)
	}
	f.done.Go(f.accept)
	h.closeWithHost(f)
	return f, nil
}

// Addr is where it listens inside of the host.
func (f *Forward) Addr() netip.AddrPort { return addrPort(f.listener.Addr()) }

// Cut closes the connections there are. New ones are carried as before.
func (f *Forward) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
}

// Close ends it with all connections. Closing twice is harmless.
func (f *Forward) Close() error {
	f.mu.Lock()
	first := !f.closed
	f.closed = true
	f.mu.Unlock()
	var err error
	if first {
		err = f.listener.Close()
	}
	f.Cut()
	f.done.Wait()
	return err
}

func (f *Forward) accept() {
	for {
		conn, err := f.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			f.done.Go(func() { f.carry(conn) })
		}
	}
}

// carry connects conn to the target until one of them closes. A target that is
// not there shows as a connection closed at once.
func (f *Forward) carry(conn net.Conn) {
	defer conn.Close()
	target, err := net.Dial("tcp", f.target.String())
	if err != nil {
		return
	}
	defer target.Close()
	if !f.keep(conn) {
		return
	}
	defer f.drop(conn)
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(conn, target)
		_ = conn.Close()
	})
	_, _ = io.Copy(target, conn)
	_ = target.Close()
	back.Wait()
}

func (f *Forward) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.conns[conn] = struct{}{}
	}
	return !f.closed
}

func (f *Forward) drop(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}
