package ipvs

import (
	"fmt"
	"net/netip"
	"slices"
)

// A PortRange is the cluster's range of node ports, both ends included.
type PortRange struct {
	First, Last uint16
}

// DefaultNodePorts are the API server's, unless it is told otherwise.
var DefaultNodePorts = PortRange{30000, 32767} //nolint:gochecknoglobals // a constant

// String is such as "30000-32767".
func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func (r PortRange) contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Ownership says which virtual servers are ours to delete. The kernel keeps no
// mark on them, so that a process that has just started has to tell by the
// place:
//
//	wanted now                                     ours, to update
//	of this process                                ours
//	in Exclude                                     foreign
//	at an address of kube-ipvs0                    ours
//	at the node's address, and a node port         ours
//	any other, RemoveForeign is set                taken for ours
//	any other                                      foreign
type Ownership struct {
	// NodePorts is the range of node ports.
	NodePorts PortRange
	// RemoveForeign makes every virtual server ours, as kube-proxy does.
	RemoveForeign bool
	// Exclude are ranges in which nothing is ours that is not wanted.
	Exclude []netip.Prefix
}

// Addresses are the addresses of this host, of one or both families.
type Addresses struct {
	// Bound are those on kube-ipvs0.
	Bound []netip.Addr
	// Node are those of all other interfaces, without loopback and link-local.
	Node []netip.Addr
}

// A Listing is what the kernel holds.
type Listing struct {
	// Servers are sorted by place.
	Servers []*VirtualServer
	// Connections are how many connections each real server has, active and
	// inactive ones; those with none are left out.
	Connections map[RealPlace]int
}

// Own are those of the listed virtual servers that are ours. made are those that
// were ours when the kernel was last known, and that were to be made since;
// sorted by place.
func (o Ownership) Own(list []*VirtualServer, want *Compiled, addresses Addresses, made []*VirtualServer) []*VirtualServer {
	bound, node := setOf(addresses.Bound), setOf(addresses.Node)
	var own []*VirtualServer
	for _, v := range list {
		addr := v.Addr.Addr()
		switch {
		case want.Frontend(v.Place) != nil, Find(made, v.Place) != nil:
		case slices.ContainsFunc(o.Exclude, func(p netip.Prefix) bool { return p.Contains(addr) }):
			continue
		case bound[addr], node[addr] && o.NodePorts.contains(v.Addr.Port()), o.RemoveForeign:
		default:
			continue
		}
		own = append(own, v)
	}
	return own
}

func setOf(addrs []netip.Addr) map[netip.Addr]bool {
	set := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		set[a] = true
	}
	return set
}
