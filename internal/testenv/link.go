package testenv

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
)

// tableLocal is RT_TABLE_LOCAL of linux/rtnetlink.h: the host's own addresses.
const tableLocal = 255

// connect joins two hosts by a veth pair: device aDev on a, bDev on b, both up.
func connect(a *Host, aDev string, b *Host, bDev string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aDev
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: bDev, PeerNamespace: netlink.NsFd(b.ns.handle)}
	if err := a.links.LinkAdd(pair); err != nil {
		return fmt.Errorf("connect %s %s with %s %s: %w", a.Name, aDev, b.Name, bDev, err)
	}
	if err := a.up(aDev); err != nil {
		return err
	}
	return b.up(bDev)
}

func (h *Host) up(dev string) error {
	link, err := h.links.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: device %s: %w", h.Name, dev, err)
	}
	if err := h.links.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: set device %s up: %w", h.Name, dev, err)
	}
	return nil
}

// addAddr puts an address on a device and, unless it is link-local, into Addrs.
func (h *Host) addAddr(dev string, a *netlink.Addr) error {
	link, err := h.links.LinkByName(dev)
	if err != nil {
		return fmt.Errorf("%s: device %s: %w", h.Name, dev, err)
	}
	if err := h.links.AddrAdd(link, a); err != nil {
		return fmt.Errorf("%s: add address %s to %s: %w", h.Name, a.IPNet, dev, err)
	}
	if err := h.awaitLocal(link, a); err != nil {
		return err
	}
	if addr, ok := netip.AddrFromSlice(a.IP); ok && !addr.Unmap().IsLinkLocalUnicast() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.addrs = append(h.addrs, addr.Unmap())
	}
	return nil
}

// addressDeadline is how long the kernel may take until it receives packets for
// a new IPv6 address. It takes a few milliseconds.
const addressDeadline = 5 * time.Second

// awaitLocal waits until the host takes packets to the address as its own. IPv4
// does when the address is added. IPv6 adds the route of type "local" later, from
// a work queue; until then packets to the address are forwarded, or dropped.
func (h *Host) awaitLocal(link netlink.Link, a *netlink.Addr) error {
	if a.IP.To4() != nil {
		return nil
	}
	want := &netlink.Route{
		Table:     tableLocal,
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: a.IP, Mask: net.CIDRMask(128, 128)},
	}
	filter := netlink.RT_FILTER_TABLE | netlink.RT_FILTER_OIF | netlink.RT_FILTER_DST
	for deadline := time.Now().Add(addressDeadline); ; {
		found, err := h.links.RouteListFiltered(netlink.FAMILY_V6, want, filter)
		switch {
		case err != nil:
			return fmt.Errorf("%s: list local routes: %w", h.Name, err)
		case len(found) > 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s: address %s on %s is not in use after %s", h.Name, a.IPNet, link.Attrs().Name, addressDeadline)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // between two polls, until the deadline
	}
}

// route is one line of a host's routing table.
type route struct {
	to  netip.Prefix
	via netip.Addr // zero: on link
	dev string
	src netip.Addr // preferred source of the host's own packets; zero: any
}

// addRoutes adds routes, replacing those with the same destination.
func (h *Host) addRoutes(routes ...route) error {
	for _, r := range routes {
		link, err := h.links.LinkByName(r.dev)
		if err != nil {
			return fmt.Errorf("%s: device %s: %w", h.Name, r.dev, err)
		}
		nl := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.to)}
		if r.via.IsValid() {
			nl.Gw = r.via.AsSlice()
		} else {
			nl.Scope = netlink.SCOPE_LINK
		}
		if r.src.IsValid() {
			nl.Src = r.src.AsSlice()
		}
		if err := h.links.RouteReplace(nl); err != nil {
			return fmt.Errorf("%s: route %s via %s dev %s: %w", h.Name, r.to, r.via, r.dev, err)
		}
	}
	return nil
}

// newAddr is p as an address that is usable at once.
func newAddr(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = ifaFlagNoDAD
	}
	return a
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
