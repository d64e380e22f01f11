package device

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netlink is the real Kernel: the devices of the network namespace of the
// calling thread.
type Netlink struct {
	// standIn is a type of device that tests use in place of dummy.
	standIn string
}

// Flags of linux/if_addr.h: usable at once, without duplicate address detection;
// and without a route to the prefix, which is the address itself.
const (
	flagNoDAD         = 0x02
	flagNoPrefixRoute = 0x200
)

// attempts are how often a list is asked for that changes came in between of.
const attempts = 5

// List returns what is there.
func (k Netlink) List(ctx context.Context) (Host, error) { return ask(ctx, k.list) }

// OwnAddresses are those of Host.OwnAddresses. It does not look at routes, of
// which there may be very many.
func (k Netlink) OwnAddresses(ctx context.Context) ([]netip.Addr, error) {
	host, err := ask(ctx, k.addresses)
	return host.OwnAddresses(), err
}

// ask asks again when changes came in between.
func ask(ctx context.Context, list func(*netlink.Handle) (Host, error)) (Host, error) {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return Host{}, fmt.Errorf("list addresses: %w", err)
	}
	defer h.Close()
	var host Host
	for range attempts {
		if host, err = list(h); !errors.Is(err, netlink.ErrDumpInterrupted) || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return Host{}, fmt.Errorf("list addresses: %w", err)
	}
	return host, nil
}

func (k Netlink) list(h *netlink.Handle) (Host, error) {
	host, err := k.addresses(h)
	if err != nil {
		return Host{}, err
	}
	retired, err := retiredRoutes(h)
	if err != nil {
		return Host{}, err
	}
	return host.WithRetired(retired), nil
}

// addresses is the Host without what routes tell.
func (k Netlink) addresses(h *netlink.Handle) (Host, error) {
	links, err := h.LinkList()
	if err != nil {
		return Host{}, err
	}
	names, typ := map[int]string{}, ""
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		if l.Attrs().Name == Name {
			typ = l.Type()
		}
	}
	if k.standIn != "" && typ == k.standIn {
		typ = linkType
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return Host{}, err
	}
	var bound []netip.Prefix
	var others []Addr
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		name, known := names[a.LinkIndex]
		if !known { // the device is newer than their list
			return Host{}, netlink.ErrDumpInterrupted
		}
		if name == Name {
			bits, _ := a.Mask.Size()
			bound = append(bound, netip.PrefixFrom(addr.Unmap(), bits))
		} else {
			others = append(others, Addr{addr, name})
		}
	}
	return NewHost(typ, nil, others).WithBound(bound), nil
}

// retiredRoutes are the addresses that routes of ours make local.
func retiredRoutes(h *netlink.Handle) ([]netip.Addr, error) {
	var addrs []netip.Addr
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Protocol: routeProtocol}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		routes, err := h.RouteListFiltered(family, filter, netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE|netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Dst == nil {
				continue
			}
			if addr, ok := netip.AddrFromSlice(r.Dst.IP); ok {
				addrs = append(addrs, addr.Unmap())
			}
		}
	}
	return addrs, nil
}

// retiredRoute is the route that makes a retired address local.
func retiredRoute(h *netlink.Handle, o Op) (*netlink.Route, error) {
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	r := &netlink.Route{
		Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Protocol: routeProtocol, Scope: netlink.SCOPE_HOST,
		LinkIndex: loopback.Attrs().Index, Dst: address(whole(o.Addr)).IPNet,
	}
	if o.Source.IsValid() {
		r.Src = o.Source.AsSlice()
	}
	return r, nil
}

// Do makes the changes in order.
func (k Netlink) Do(ctx context.Context, ops []Op) error {
	h, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("change device %s: %w", Name, err)
	}
	defer h.Close()
	var link netlink.Link
	for _, o := range ops {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if link == nil && (o.Verb == Add || o.Verb == Delete || o.Verb == DeleteDevice) {
			link, err = h.LinkByName(Name)
			if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone && o.Verb == DeleteDevice {
				return nil // the other family's pass was faster
			}
			if err != nil {
				return fmt.Errorf("%s: device %s: %w", o, Name, err)
			}
		}
		if err := k.do(h, link, o); err != nil {
			return fmt.Errorf("%s: %w", o, explain(o, err))
		}
	}
	return nil
}

func (k Netlink) do(h *netlink.Handle, link netlink.Link, o Op) error {
	var err error
	switch o.Verb {
	case CreateDevice:
		if err = h.LinkAdd(k.device()); errors.Is(err, syscall.EEXIST) {
			return k.checkType(h) // the other family's pass was faster
		}
		return err
	case DeleteDevice:
		return h.LinkDel(link)
	case Add:
		if err = h.AddrAdd(link, address(o.Bound())); errors.Is(err, syscall.EEXIST) {
			return nil
		}
	case Delete:
		if err = h.AddrDel(link, address(o.Bound())); errors.Is(err, syscall.EADDRNOTAVAIL) {
			return nil
		}
	case Retire, Release:
		return k.route(h, o)
	default:
		return errors.New("unknown verb")
	}
	return err
}

func (Netlink) route(h *netlink.Handle, o Op) error {
	r, err := retiredRoute(h, o)
	switch {
	case err != nil:
		return err
	case o.Verb == Retire:
		if err = h.RouteAppend(r); errors.Is(err, syscall.EEXIST) {
			return nil
		}
	default:
		if err = h.RouteDel(r); errors.Is(err, syscall.ESRCH) {
			return nil
		}
	}
	return err
}

// checkType refuses a device that is none of ours.
func (k Netlink) checkType(h *netlink.Handle) error {
	link, err := h.LinkByName(Name)
	if err != nil {
		return err
	}
	if typ := link.Type(); typ != linkType && typ != k.standIn {
		return fmt.Errorf("network device %s was made by somebody else, of type %q", Name, typ)
	}
	return nil
}

func (k Netlink) device() netlink.Link {
	attrs := netlink.LinkAttrs{Name: Name}
	if k.standIn != "" {
		return &netlink.GenericLink{LinkAttrs: attrs, LinkType: k.standIn}
	}
	return &netlink.Dummy{LinkAttrs: attrs}
}

// address is one for the device. IPv6 addresses are deprecated: the node then
// does not choose a Service's address as its own when it opens a connection (RFC
// 6724, section 5, rule 3). They are so for 68 years, the most that the type
// holds everywhere.
func address(p netip.Prefix) *netlink.Addr {
	addr := p.Addr()
	a := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(p.Bits(), addr.BitLen())}}
	if addr.Is6() {
		a.Flags = flagNoDAD | flagNoPrefixRoute
		a.PreferedLft, a.ValidLft = 0, math.MaxInt32
	}
	return a
}

func explain(o Op, err error) error {
	switch {
	case errors.Is(err, syscall.EPERM):
		return fmt.Errorf("%w: the capability NET_ADMIN is needed", err)
	case o.Verb == CreateDevice && errors.Is(err, syscall.EOPNOTSUPP):
		return fmt.Errorf("%w: the kernel has no dummy devices: load the module dummy", err)
	case o.Verb == Add && o.Addr.Is6() && errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: is IPv6 off on the device? See sysctl net.ipv6.conf.default.disable_ipv6", err)
	}
	return err
}
