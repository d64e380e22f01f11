package ipvs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"

	mobyipvs "github.com/moby/ipvs"
	"github.com/sirupsen/logrus"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// A Netlink is the kernel of the network namespace it was opened in, over a
// generic netlink socket. It is safe for concurrent use.
type Netlink struct {
	family proxier.Family

	mu     sync.Mutex
	handle *mobyipvs.Handle
}

// Supported tells why there is no IPVS mode on this machine; nil if there is. Asking
// makes the kernel load the module ip_vs, where it can.
func Supported() error {
	if err := weightsAreRead(bigEndian()); err != nil {
		return err
	}
	return hasIPVS()
}

func hasIPVS() error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return fmt.Errorf("this kernel has no IPVS (load the module ip_vs): %w", err)
	}
	return nil
}

// weightsAreRead tells why virtual servers cannot be compared: the library below
// reads the first two bytes of a weight, which has four.
func weightsAreRead(bigEndian bool) error {
	if bigEndian {
		return fmt.Errorf("not on %s: weights of real servers cannot be read on big-endian machines", runtime.GOARCH)
	}
	return nil
}

// Open opens the way to the virtual servers of one family, in the network
// namespace of the calling thread.
func Open(family proxier.Family) (*Netlink, error) {
	// Without this the library below would take silence for success.
	if err := hasIPVS(); err != nil {
		return nil, err
	}
	handle, err := newHandle()
	if err != nil {
		return nil, fmt.Errorf("open netlink socket for IPVS: %w", err)
	}
	return &Netlink{family: family, handle: handle}, nil
}

// newHandle opens the library. The first time, that runs "modprobe -va ip_vs",
// and logs through logrus where it fails, which would be a foreign line among
// ours: it is dropped, since the kernel was asked for IPVS before. Nothing else
// logs through logrus.
func newHandle() (*mobyipvs.Handle, error) {
	logrus.SetOutput(io.Discard)
	return mobyipvs.New("")
}

// Close closes the socket.
func (n *Netlink) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handle.Close()
}

// attempts is how often a call is made that was interrupted, or whose answer
// was lost because buffers were full. When the lost answer was good, the next
// one is EEXIST or the like, and the caller looks what there is.
const attempts = 4

// call makes one. Those of others may come between two of them, so that a long
// listing holds up no pass.
func (n *Netlink) call(ctx context.Context, call func(*mobyipvs.Handle) error) error {
	return retry(ctx, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		return call(n.handle)
	})
}

func retry(ctx context.Context, call func() error) error {
	var err error
	for range attempts {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = call()
		if !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.EAGAIN) {
			return err
		}
	}
	return err
}

// List asks for the virtual servers, in one dump, and for the real servers of
// each, in one dump each.
func (n *Netlink) List(ctx context.Context, only ...Place) (Listing, error) {
	l := Listing{Connections: map[RealPlace]int{}}
	services, err := n.services(ctx, only)
	if err != nil {
		return Listing{}, err
	}
	for _, s := range services {
		v, ok := serverOf(s)
		if !ok || v.Family() != n.family {
			continue
		}
		var destinations []*mobyipvs.Destination
		err := n.call(ctx, func(h *mobyipvs.Handle) (err error) {
			destinations, err = h.GetDestinations(s)
			return err
		})
		if err != nil {
			return Listing{}, fmt.Errorf("real servers of %s: %w", v.Place, explain(err))
		}
		l.add(v, destinations)
	}
	l.Servers = sorted(l.Servers)
	return l, nil
}

// ListServices asks for the virtual servers, in one dump.
func (n *Netlink) ListServices(ctx context.Context) ([]*VirtualServer, error) {
	services, err := n.services(ctx, nil)
	if err != nil {
		return nil, err
	}
	var servers []*VirtualServer
	for _, s := range services {
		if v, ok := serverOf(s); ok && v.Family() == n.family {
			servers = append(servers, v)
		}
	}
	return sorted(servers), nil
}

// sorted is in the order of places, and has one of each: one comes twice where another
// program makes others during a dump. One that is left out is found when it is made,
// EEXIST, or with the next comparison.
func sorted(servers []*VirtualServer) []*VirtualServer {
	slices.SortFunc(servers, func(a, b *VirtualServer) int { return a.Compare(b.Place) })
	return slices.CompactFunc(servers, func(a, b *VirtualServer) bool { return a.Place == b.Place })
}

// explain says in words what an error of a listing means.
func explain(err error) error {
	if errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: %s", err, needsPermission)
	}
	return err
}

// dumps keeps what this process makes and deletes out of its dumps of virtual servers.
// The kernel goes on with a dump by counting, and both families are in one table: where
// one goes meanwhile, another is left out, and would stay in the kernel unknown.
var dumps sync.RWMutex //nolint:gochecknoglobals // that table is one for all

// services are all, or those at some places that are there.
func (n *Netlink) services(ctx context.Context, only []Place) (services []*mobyipvs.Service, err error) {
	if len(only) == 0 {
		err := n.call(ctx, func(h *mobyipvs.Handle) (err error) {
			dumps.RLock()
			defer dumps.RUnlock()
			services, err = h.GetServices()
			return err
		})
		return services, explain(err)
	}
	for _, place := range only {
		var s *mobyipvs.Service
		err := n.call(ctx, func(h *mobyipvs.Handle) (err error) {
			s, err = h.GetService(serviceOf(place, Settings{}))
			return err
		})
		switch {
		case errors.Is(err, syscall.ESRCH):
		case err != nil:
			return nil, fmt.Errorf("virtual server %s: %w", place, explain(err))
		default:
			services = append(services, s)
		}
	}
	return services, nil
}

func (l *Listing) add(v *VirtualServer, destinations []*mobyipvs.Destination) {
	for _, d := range destinations {
		addr, ok := netip.AddrFromSlice(d.Address)
		if !ok {
			continue
		}
		r := RealServer{
			Addr: netip.AddrPortFrom(addr.Unmap(), d.Port), Weight: uint16(d.Weight),
			Forwarding: Forwarding(d.ConnectionFlags & mobyipvs.ConnFwdMask), Upper: d.UpperThreshold, Lower: d.LowerThreshold,
		}
		v.Servers = append(v.Servers, r)
		if c := d.ActiveConnections + d.InactiveConnections; c > 0 {
			l.Connections[RealPlace{v.Place, r.Addr}] = c
		}
	}
	slices.SortFunc(v.Servers, func(a, b RealServer) int { return a.Addr.Compare(b.Addr) })
	l.Servers = append(l.Servers, v)
}

var protocolNumbers = map[corev1.Protocol]uint16{ //nolint:gochecknoglobals // a constant table
	corev1.ProtocolTCP: unix.IPPROTO_TCP, corev1.ProtocolUDP: unix.IPPROTO_UDP, corev1.ProtocolSCTP: unix.IPPROTO_SCTP,
}

// protocolOf is "" for any other.
func protocolOf(number uint16) corev1.Protocol {
	for name, n := range protocolNumbers {
		if n == number {
			return name
		}
	}
	return ""
}

// serverOf is the virtual server without its real servers; false for one that
// is known by a firewall mark.
func serverOf(s *mobyipvs.Service) (*VirtualServer, bool) {
	v := &VirtualServer{Settings: Settings{Scheduler: s.SchedName, Flags: Flags(s.Flags) & settable}}
	v.Protocol = protocolOf(s.Protocol)
	addr, ok := netip.AddrFromSlice(s.Address)
	if s.FWMark != 0 || v.Protocol == "" || !ok {
		return nil, false
	}
	v.Addr = netip.AddrPortFrom(addr.Unmap(), s.Port)
	if v.Flags&Persistent != 0 {
		v.Timeout, v.ClientBits = s.Timeout, prefixBits(s.Netmask, v.Family())
	}
	return v, true
}

// prefixBits reads the kernel's netmask: for IPv4 a mask in network byte order,
// for IPv6 the length of a prefix.
func prefixBits(mask uint32, family proxier.Family) uint8 {
	if family == proxier.IPv6 {
		return uint8(mask)
	}
	ones, _ := net.IPMask(nativeBytes(mask)).Size()
	return uint8(ones)
}

func netmask(bits uint8, family proxier.Family) uint32 {
	if family == proxier.IPv6 {
		return uint32(bits)
	}
	return nativeUint32(net.CIDRMask(int(bits), 32))
}

func serviceOf(place Place, s Settings) *mobyipvs.Service {
	family := place.Family()
	bits := uint8(family.Bits()) // the kernel wants a good mask in any case
	if s.Flags&Persistent != 0 {
		bits = s.ClientBits
	}
	af := uint16(unix.AF_INET)
	if family == proxier.IPv6 {
		af = unix.AF_INET6
	}
	return &mobyipvs.Service{
		AddressFamily: af, Protocol: protocolNumbers[place.Protocol],
		Address: place.Addr.Addr().AsSlice(), Port: place.Addr.Port(),
		SchedName: s.Scheduler, Flags: uint32(s.Flags), Timeout: s.Timeout, Netmask: netmask(bits, family),
	}
}

func destinationOf(r RealServer) *mobyipvs.Destination {
	return &mobyipvs.Destination{
		Address: r.Addr.Addr().AsSlice(), Port: r.Addr.Port(), Weight: int(r.Weight),
		ConnectionFlags: uint32(r.Forwarding), UpperThreshold: r.Upper, LowerThreshold: r.Lower,
	}
}

// Do sends one message for each operation.
func (n *Netlink) Do(ctx context.Context, ops []Op) (int, error) {
	for i, o := range ops {
		err := n.call(ctx, func(h *mobyipvs.Handle) error { return do(h, o) })
		if errno, ok := errors.AsType[syscall.Errno](err); ok {
			return i, &OpError{Op: o, Errno: errno}
		}
		if err != nil {
			return i, fmt.Errorf("ipvs: %q: %w", o, err)
		}
	}
	return len(ops), nil
}

func do(h *mobyipvs.Handle, o Op) error {
	s := serviceOf(o.Place, o.Settings)
	switch o.Kind {
	case NewService:
		dumps.Lock()
		defer dumps.Unlock()
		return h.NewService(s)
	case UpdateService:
		return h.UpdateService(s)
	case DeleteService:
		dumps.Lock()
		defer dumps.Unlock()
		return h.DelService(s)
	case NewServer:
		return h.NewDestination(s, destinationOf(o.Server))
	case UpdateServer:
		return h.UpdateDestination(s, destinationOf(o.Server))
	default:
		return h.DelDestination(s, destinationOf(o.Server))
	}
}
