package proxier

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Node is what the rules need to know of this node.
type Node struct {
	Name string
	// Zone is the label topology.kubernetes.io/zone; empty when there is none.
	Zone string
	// IPs are the node's own addresses, at most one of each family, the primary
	// one first.
	IPs []netip.Addr
	// Addresses are all of the node's own, sorted; IPs are among them. Not each of
	// them need be on a device: a cloud may translate it on the way.
	Addresses []netip.Addr
	// PodCIDRs are the ranges of this node's pods.
	PodCIDRs []netip.Prefix
}

// IP is the node's address of that family; invalid when it has none.
func (n Node) IP(family Family) netip.Addr {
	for _, ip := range n.IPs {
		if FamilyOf(ip) == family {
			return ip
		}
	}
	return netip.Addr{}
}

// MayLackDevice reports whether the address is one of the node's, but not the primary
// one of its family, which alone is sure to be on a device.
func (n Node) MayLackDevice(addr netip.Addr) bool {
	return slices.Contains(n.Addresses, addr) && !slices.Contains(n.IPs, addr)
}

func (n Node) equal(m Node) bool {
	return n.Name == m.Name && n.Zone == m.Zone &&
		slices.Equal(n.IPs, m.IPs) && slices.Equal(n.Addresses, m.Addresses) && slices.Equal(n.PodCIDRs, m.PodCIDRs)
}

// NodeFacts reads the node called name from its object, which may be nil.
// bindAddress, where valid and not the wildcard, is the operator's choice of
// the primary address and replaces the object's of the same family.
//
// The object's InternalIPs come before its ExternalIPs; the first is the
// primary one.
func NodeFacts(name string, object *corev1.Node, bindAddress netip.Addr) Node {
	n := Node{Name: name}
	add := func(ip netip.Addr) {
		if i, found := slices.BinarySearchFunc(n.Addresses, ip, netip.Addr.Compare); !found {
			n.Addresses = slices.Insert(n.Addresses, i, ip)
		}
		if !n.IP(FamilyOf(ip)).IsValid() {
			n.IPs = append(n.IPs, ip)
		}
	}
	if bindAddress.IsValid() && !bindAddress.IsUnspecified() {
		add(bindAddress)
	}
	if object == nil {
		return n
	}
	n.Zone = object.Labels[corev1.LabelTopologyZone]
	n.PodCIDRs, _ = ParsePrefixes(object.Spec.PodCIDRs)
	if len(n.PodCIDRs) == 0 && object.Spec.PodCIDR != "" {
		n.PodCIDRs, _ = ParsePrefixes([]string{object.Spec.PodCIDR})
	}
	for _, kind := range []corev1.NodeAddressType{corev1.NodeInternalIP, corev1.NodeExternalIP} {
		for _, a := range object.Status.Addresses {
			if a.Type != kind {
				continue
			}
			if ip, ok := parseAddr(a.Address); ok {
				add(ip)
			}
		}
	}
	return n
}

// HasAddress reports whether the object says an address of the node.
func HasAddress(object *corev1.Node) bool { return len(NodeFacts("", object, netip.Addr{}).IPs) > 0 }

// withAddressesOf is the object now, with the addresses of before in each family
// that now has none of.
func withAddressesOf(before, now *corev1.Node) *corev1.Node {
	if before == nil {
		return now
	}
	facts := NodeFacts("", now, netip.Addr{})
	var kept []corev1.NodeAddress
	for _, a := range before.Status.Addresses {
		ip, ok := parseAddr(a.Address)
		if ok && !facts.IP(FamilyOf(ip)).IsValid() {
			kept = append(kept, a)
		}
	}
	if len(kept) == 0 {
		return now
	}
	merged := *now
	merged.Status.Addresses = slices.Concat(now.Status.Addresses, kept)
	return &merged
}
