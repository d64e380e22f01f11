package device

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Name is the device's name, kube-proxy's as well.
const Name = "kube-ipvs0"

// linkType is the type the device must have.
const linkType = "dummy"

// A Host is the network devices' addresses, as far as they matter. It is
// immutable.
type Host struct {
	// Type is kube-ipvs0's, such as "dummy"; empty when it is not there.
	Type string
	// Bound are the addresses on it, of both families, sorted, each with the prefix
	// that it has there. Ours have their own length; what somebody else has put there
	// is deleted with its own.
	Bound []netip.Prefix
	// Others are the addresses on all other devices, sorted.
	Others []Addr
	// Retired are those that nothing but a route of ours makes local, of both
	// families, sorted; see Retire.
	Retired []netip.Addr
}

// An Addr is an address and the device that has it.
type Addr struct {
	Addr   netip.Addr
	Device string
}

func (a Addr) compare(b Addr) int {
	return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Device, b.Device))
}

// WithRetired is the Host with retired addresses.
func (h Host) WithRetired(addrs []netip.Addr) Host {
	h.Retired = slices.Clone(addrs)
	slices.SortFunc(h.Retired, netip.Addr.Compare)
	h.Retired = slices.Compact(h.Retired)
	return h
}

// NewHost returns a Host with sorted addresses, each once. Those on kube-ipvs0 are
// there as ours are.
func NewHost(typ string, bound []netip.Addr, others []Addr) Host {
	h := Host{Type: typ}
	for _, o := range others {
		o.Addr = o.Addr.Unmap()
		h.Others = append(h.Others, o)
	}
	slices.SortFunc(h.Others, Addr.compare)
	h.Others = slices.Compact(h.Others)
	prefixes := make([]netip.Prefix, len(bound))
	for i, a := range bound {
		prefixes[i] = whole(a.Unmap())
	}
	return h.WithBound(prefixes)
}

// WithBound is the Host with these addresses on kube-ipvs0, sorted, each once. IPv6
// link-local ones are the kernel's, and left out.
func (h Host) WithBound(bound []netip.Prefix) Host {
	h.Bound = slices.DeleteFunc(slices.Clone(bound), func(p netip.Prefix) bool {
		return p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()
	})
	slices.SortFunc(h.Bound, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	h.Bound = slices.Compact(h.Bound)
	return h
}

// whole is the prefix that holds nothing but the address.
func whole(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// NodeAddresses are the addresses of a family by which others reach this node:
// those of all devices but kube-ipvs0, without loopback and link-local ones;
// sorted, each once.
func (h Host) NodeAddresses(family proxier.Family) []netip.Addr {
	var out []netip.Addr
	for _, o := range h.Others {
		if proxier.FamilyOf(o.Addr) == family && !o.Addr.IsLoopback() && !o.Addr.IsLinkLocalUnicast() {
			out = append(out, o.Addr)
		}
	}
	return slices.Compact(out)
}

// OwnAddresses are those of both families at which programs of this node can
// listen, loopback among them: all but kube-ipvs0's; sorted, each once. Those of
// IPv6 that are valid on one link only have its name as their zone.
func (h Host) OwnAddresses() []netip.Addr {
	out := make([]netip.Addr, 0, len(h.Others))
	for _, o := range h.Others {
		if o.Addr.Is6() && o.Addr.IsLinkLocalUnicast() {
			o.Addr = o.Addr.WithZone(o.Device)
		}
		out = append(out, o.Addr)
	}
	return slices.Compact(out)
}

// BoundOf are the addresses of a family on kube-ipvs0, sorted, each once.
func (h Host) BoundOf(family proxier.Family) []netip.Addr {
	all := make([]netip.Addr, len(h.Bound))
	for i, p := range h.Bound {
		all[i] = p.Addr()
	}
	return of(family, slices.Compact(all))
}

// as is how these addresses, which are sorted, stand on kube-ipvs0.
func (h Host) as(addrs []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range h.Bound {
		if _, found := slices.BinarySearchFunc(addrs, p.Addr(), netip.Addr.Compare); found {
			out = append(out, p)
		}
	}
	return out
}

// RetiredOf are the retired addresses of a family, sorted.
func (h Host) RetiredOf(family proxier.Family) []netip.Addr { return of(family, h.Retired) }

func of(family proxier.Family, all []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range all {
		if proxier.FamilyOf(a) == family {
			out = append(out, a)
		}
	}
	return out
}

// owner is the device that has an address; empty when none has.
func (h Host) owner(addr netip.Addr) string {
	i, found := slices.BinarySearchFunc(h.Others, addr, func(o Addr, a netip.Addr) int { return o.Addr.Compare(a) })
	if !found {
		return ""
	}
	return h.Others[i].Device
}

// After is the Host when the Ops have been done.
func (h Host) After(ops []Op) Host {
	bound, retired := newChanges[netip.Prefix](), newChanges[netip.Addr]()
	for _, o := range ops {
		switch o.Verb {
		case CreateDevice:
			h.Type = linkType
		case DeleteDevice:
			h.Type, h.Bound, bound = "", nil, newChanges[netip.Prefix]()
		case Add:
			bound.add(o.Bound())
		case Delete:
			bound.remove(o.Bound())
		case Retire:
			retired.add(o.Addr)
		case Release:
			retired.remove(o.Addr)
		}
	}
	return h.WithBound(bound.after(h.Bound)).WithRetired(retired.after(h.Retired))
}

// changes are what comes to a list, and what goes.
type changes[T comparable] struct {
	added []T
	gone  map[T]bool
}

func newChanges[T comparable]() changes[T] { return changes[T]{gone: map[T]bool{}} }

func (c *changes[T]) add(t T) {
	c.added = append(c.added, t)
	delete(c.gone, t)
}

func (c *changes[T]) remove(t T) { c.gone[t] = true }

// after is the list with the changes.
func (c *changes[T]) after(list []T) []T {
	return slices.DeleteFunc(slices.Concat(list, c.added), func(t T) bool { return c.gone[t] })
}
