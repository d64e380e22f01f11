package testenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// What can become of a packet that is not answered. Errors of Dial and Ask wrap
// one of these, or are none of the network's.
var (
	// ErrRefused: somebody said no, by a TCP reset or by ICMP port unreachable.
	ErrRefused = errors.New("refused")
	// ErrTimedOut: nobody answered; what a DROP looks like.
	ErrTimedOut = errors.New("timed out")
	// ErrUnreachable: no route, or an ICMP error other than port unreachable.
	ErrUnreachable = errors.New("unreachable")
)

// DefaultTimeout is how long Dial waits where its options do not say. It is what
// each dropped packet costs, while answers inside of one machine take well under
// a millisecond. It is longer than the second after which TCP repeats its SYN,
// because a REJECT may be heard only then, see hearICMP.
const DefaultTimeout = 1500 * time.Millisecond

// Reply is what a Server answers.
type Reply struct {
	// Server is the name of the host that answered.
	Server string
	// Local is the address and port the server was reached at, after DNAT.
	Local netip.AddrPort
	// Peer is the client as the server saw it, after SNAT.
	Peer netip.AddrPort
}

// DialOptions are the parts of a dial that seldom matter. The zero value is good.
type DialOptions struct {
	// Source is the client's address and port; a zero port or address is the
	// kernel's choice.
	Source netip.AddrPort
	// Timeout for the connection, and again for each answer; 0: DefaultTimeout.
	Timeout time.Duration
}

// Conn is a flow from a host to a Server that can be asked again and again.
type Conn struct {
	conn    net.Conn
	lines   *bufio.Reader
	timeout time.Duration
}

// Dial asks a Server once: by "tcp", a connection, or "udp", a datagram.
func (h *Host) Dial(ctx context.Context, proto string, to netip.AddrPort, options DialOptions) (Reply, error) {
	conn, err := h.Open(ctx, proto, to, options)
	if err != nil {
		return Reply{}, err
	}
	defer conn.Close()
	return conn.Ask()
}

// Open starts a flow without asking anything yet. For UDP nothing is sent.
func (h *Host) Open(ctx context.Context, proto string, to netip.AddrPort, options DialOptions) (*Conn, error) {
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	dialer := net.Dialer{Timeout: options.Timeout, Control: hearICMP}
	source := options.Source
	if !source.Addr().IsValid() && source.Port() != 0 {
		source = netip.AddrPortFrom(unspecified(to.Addr()), source.Port())
	}
	switch {
	case proto != "tcp" && proto != "udp":
		return nil, fmt.Errorf("dial %s %s: unknown protocol; want tcp or udp", proto, to)
	case !source.Addr().IsValid():
	case proto == "tcp":
		dialer.LocalAddr = net.TCPAddrFromAddrPort(source)
	default:
		dialer.LocalAddr = net.UDPAddrFromAddrPort(source)
	}
	var conn net.Conn
	err := h.Do(func() (err error) {
		// For a literal address, the socket is made on this goroutine.
		conn, err = dialer.DialContext(ctx, proto, to.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: dial %s %s: %w", h.Name, proto, to, classify(err))
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// Close by reset: the port is free again at once, for the next of many.
		_ = tcp.SetLinger(0)
	}
	return &Conn{conn: conn, lines: bufio.NewReader(conn), timeout: options.Timeout}, nil
}

// hearICMP asks for ICMPv6 errors on the socket. Between namespaces of one
// machine the ICMP answer to a SYN comes while the kernel is still sending the
// SYN. It then only notes the error, and over IPv6 wakes nobody unless asked to:
// without this option, or where TCP does not know it, a refused connection shows
// with the second SYN, after 1 s.
func hearICMP(network, _ string, raw syscall.RawConn) error {
	if network != "tcp6" {
		return nil
	}
	return raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}

// Ask sends one request and returns the answer.
func (c *Conn) Ask() (Reply, error) {
	reply, err := c.ask()
	if err != nil {
		return Reply{}, fmt.Errorf("ask %s: %w", c.conn.RemoteAddr(), classify(err))
	}
	return reply, nil
}

func (c *Conn) ask() (Reply, error) {
	if err := c.conn.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return Reply{}, err
	}
	// A rule in OUTPUT that drops or rejects shows as EPERM here; the read then
	// tells the two apart.
	if _, err := c.conn.Write([]byte("?\n")); err != nil && !errors.Is(err, syscall.EPERM) {
		return Reply{}, err
	}
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return Reply{}, err
	}
	return parseReply(line)
}

// Local is the flow's source address and port before any SNAT.
func (c *Conn) Local() netip.AddrPort { return addrPort(c.conn.LocalAddr()) }

// Close ends the flow.
func (c *Conn) Close() error { return c.conn.Close() }

// Outcome puts the result of a dial in one word: the server that answered, or
// "refused", "timed out", "unreachable", or "error".
func Outcome(reply Reply, err error) string {
	if err == nil {
		return reply.Server
	}
	for _, known := range []error{ErrRefused, ErrTimedOut, ErrUnreachable} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "error"
}

// classify adds to err which of the outcomes it is.
func classify(err error) error {
	kinds := []struct {
		kind   error
		causes []error
	}{
		{ErrRefused, []error{syscall.ECONNREFUSED, syscall.ECONNRESET}},
		{ErrTimedOut, []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, syscall.ETIMEDOUT}},
		{ErrUnreachable, []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EACCES}},
	}
	for _, k := range kinds {
		for _, cause := range k.causes {
			if errors.Is(err, cause) {
				return fmt.Errorf("%w: %w", k.kind, err)
			}
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: %w", ErrTimedOut, err)
	}
	return err
}

// line and parseReply are inverses.
func (r Reply) line() string { return fmt.Sprintf("%s %s %s\n", r.Server, r.Local, r.Peer) }

func parseReply(line string) (Reply, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return Reply{}, fmt.Errorf("answer %q: want three words", line)
	}
	local, err := netip.ParseAddrPort(fields[1])
	if err != nil {
		return Reply{}, fmt.Errorf("answer %q: own address: %w", line, err)
	}
	peer, err := netip.ParseAddrPort(fields[2])
	if err != nil {
		return Reply{}, fmt.Errorf("answer %q: peer's address: %w", line, err)
	}
	return Reply{fields[0], local, peer}, nil
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}
