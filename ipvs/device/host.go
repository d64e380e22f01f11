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
	// Bound are the addresses on it, of both families, sorted.
	Bound []netip.Addr
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

// NewHost returns a Host with sorted addresses, each once. IPv6 link-local
// addresses on kube-ipvs0 are the kernel's, and left out.
func NewHost(typ string, bound []netip.Addr, others []Addr) Host {
	h := Host{Type: typ}
	for _, a := range bound {
		if a = a.Unmap(); a.Is4() || !a.IsLinkLocalUnicast() {
			h.Bound = append(h.Bound, a)
		}
	}
	for _, o := range others {
		o.Addr = o.Addr.Unmap()
		h.Others = append(h.Others, o)
	}
	slices.SortFunc(h.Bound, netip.Addr.Compare)
	slices.SortFunc(h.Others, Addr.compare)
	h.Bound, h.Others = slices.Compact(h.Bound), slices.Compact(h.Others)
	return h
}

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

// BoundOf are the addresses of a family on kube-ipvs0, sorted.
func (h Host) BoundOf(family proxier.Family) []netip.Addr { return of(family, h.Bound) }

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
	added, gone := []netip.Addr(nil), map[netip.Addr]bool{}
	retired := slices.Clone(h.Retired)
	for _, o := range ops {
		switch o.Verb {
		case CreateDevice:
			h.Type = linkType
		case DeleteDevice:
			h.Type, h.Bound, added = "", nil, nil
		case Add:
			added = append(added, o.Addr)
			delete(gone, o.Addr)
		case Delete:
			gone[o.Addr] = true
		case Retire:
			retired = append(retired, o.Addr)
		case Release:
			retired = slices.DeleteFunc(retired, func(a netip.Addr) bool { return a == o.Addr })
		}
	}
	bound := slices.DeleteFunc(slices.Concat(h.Bound, added), func(a netip.Addr) bool { return gone[a] })
	slices.SortFunc(bound, netip.Addr.Compare)
	h.Bound = slices.Compact(bound)
	return h.WithRetired(retired)
}
