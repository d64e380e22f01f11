package nftcommit

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// receiveBuffer, in bytes, holds a transaction of some ten thousand rules: the
// kernel announces all of it at once.
const receiveBuffer = 16 << 20

// A Socket receives the announcements of the network namespace it was opened
// in. It is safe for concurrent use.
type Socket struct {
	file *os.File

	mu        sync.Mutex
	listeners []func(Commit)
	own       map[int]int // by netlink port
	absence   absence
	watchers  int
	reading   bool // or has been
	failed    error
	ended     chan struct{} // closed when the reader has
}

// Open opens a Socket in the network namespace of the calling thread. CAP_NET_ADMIN
// is needed.
func Open() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket for announcements of nf_tables: %w", err)
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "nf_tables"), own: map[int]int{}, ended: make(chan struct{})}
	// Where the buffer stays small, losses are more likely, and told.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err == nil {
		err = s.join()
	}
	if err != nil {
		_ = s.file.Close()
		return nil, fmt.Errorf("join netlink group for announcements of nf_tables: %w", err)
	}
	if s.absence, err = openAbsence(); err != nil {
		_ = s.file.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) join() error { return s.membership(unix.NETLINK_ADD_MEMBERSHIP) }

func (s *Socket) leave() error { return s.membership(unix.NETLINK_DROP_MEMBERSHIP) }

func (s *Socket) membership(change int) error {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = conn.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, change, unix.NFNLGRP_NFTABLES)
	})
	return errors.Join(err, failed)
}

// Listen has f told of all commits, from the opening of the Socket on, if it
// comes before the first Watch. f must be quick.
func (s *Socket) Listen(f func(Commit)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners = append(s.listeners, f)
}

// Watch reads until ctx ends. Several may watch; when no ctx is left that has not
// ended, the Socket is closed, also for those that come later.
func (s *Socket) Watch(ctx context.Context) error {
	s.mu.Lock()
	if s.watchers++; !s.reading {
		s.reading = true
		go s.read()
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-s.ended:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers--; s.watchers == 0 {
		_ = s.Close()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.failed
}

// Close is for a Socket that nobody watches.
func (s *Socket) Close() error {
	s.absence.kernel.Socket.Close()
	return s.file.Close()
}

// read passes announcements on until the Socket is closed.
func (s *Socket) read() {
	defer close(s.ended)
	var a assembler
	buffer := make([]byte, 1<<17)
	for {
		n, err := s.receive(buffer)
		switch {
		case errors.Is(err, unix.ENOBUFS) || err == nil && n > len(buffer):
			a = assembler{}
			s.tell(Commit{Lost: true})
		case errors.Is(err, unix.EINTR):
		case err != nil:
			s.mu.Lock()
			s.failed = fmt.Errorf("receive announcements of nf_tables: %w", err)
			s.mu.Unlock()
			return
		case a.read(buffer[:n], s.tell) != nil:
			a = assembler{}
			s.tell(Commit{Lost: true})
		}
	}
}

// receive waits for a datagram, and returns its length, which may be larger
// than the buffer.
func (s *Socket) receive(buffer []byte) (n int, err error) {
	conn, err := s.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	waiting := conn.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), buffer, unix.MSG_DONTWAIT|unix.MSG_TRUNC)
		return !errors.Is(err, unix.EAGAIN)
	})
	if waiting != nil {
		return 0, waiting
	}
	return n, err
}

func (s *Socket) tell(c Commit) {
	s.mu.Lock()
	listeners := s.listeners
	s.mu.Unlock()
	for _, f := range listeners {
		f(c)
	}
}

// A Batch is what a child of ours writes.
type Batch struct {
	// PID is the child's, as the process's own PID namespace counts.
	PID int
	// Commits are how many it makes if it succeeds.
	Commits int
	// Large means that it is worth while not to have it announced at all. What
	// others write meanwhile is noticed when it has ended, and told as Lost.
	Large bool
}

// Own keeps the commits of a child from being told, until done is called. It
// must come before the child can write, and done after it has ended, with the error
// that it ended with.
//
// The commits are known by the netlink port of their socket. The kernel gives a
// process's first socket the process's number, as the process's PID namespace
// counts it, as its port, unless another process has that port already; then the
// child's commits are told like anybody's. They are dropped by a filter on the
// socket when they are announced, so that neither the order of events nor what
// becomes of the number later matters, and a large one costs no buffer.
func (s *Socket) Own(b Batch) (done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.Large && len(s.own) == 0 {
		s.absence.begin(s.leave)
	}
	s.change(b.PID, 1)
	return func(failed error) {
		if s.wrote(b, failed) {
			s.tell(Commit{Lost: true})
		}
	}
}

// wrote reports whether others may have written unheard.
func (s *Socket) wrote(b Batch, failed error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change(b.PID, -1)
	s.absence.wrote(b.Commits, failed)
	return len(s.own) == 0 && s.absence.end(s.rejoin)
}

// rejoin closes a Socket that would be told of nothing from now on, so that whoever
// watches hears of it.
func (s *Socket) rejoin() error {
	err := s.join()
	if err != nil {
		_ = s.file.Close()
	}
	return err
}

// change is called with mu held.
func (s *Socket) change(pid, by int) {
	if s.own[pid] += by; s.own[pid] == 0 {
		delete(s.own, pid)
	}
	ports := make([]int, 0, len(s.own))
	for port := range s.own {
		ports = append(ports, port)
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return // closed: nobody is told anything
	}
	program := without(ports)
	// Without the filter our own commits are told, too, which costs a look at
	// what they changed.
	_ = conn.Control(func(fd uintptr) {
		_ = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	})
}

// without is a filter (Documentation/networking/filter.rst in the kernel's
// sources) that drops datagrams whose first message has one of the ports in its
// header. A datagram never holds messages of two commits.
func without(ports []int) []unix.SockFilter {
	const portOffset = 12 // of nlmsg_pid in struct nlmsghdr
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: portOffset}}
	for _, port := range ports {
		// The filter takes the number for one in network order.
		k := binary.BigEndian.Uint32(binary.NativeEndian.AppendUint32(nil, uint32(port)))
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K},
		)
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 1<<31 - 1})
}
