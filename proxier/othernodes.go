package proxier

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// OtherNodes are the addresses of all nodes but this one. It is immutable.
//
// A Service may claim such an address as external IP, or have it as load balancer
// address. A node that took all of the address for its own would lose touch with
// the other one.
type OtherNodes struct {
	// Unknown is whether they are still to be found out: any address may be one.
	Unknown bool

	addrs map[netip.Addr]bool
}

// Have reports whether the address is another node's, as far as is known.
func (n *OtherNodes) Have(addr netip.Addr) bool { return n != nil && n.addrs[addr] }

// mayHave reports whether the address is another node's or may be one.
func (n *OtherNodes) mayHave(addr netip.Addr) bool { return n != nil && (n.Unknown || n.addrs[addr]) }

// atNodeAddress reports whether one of the port's external addresses is, or may be,
// another node's, or one of this node's that may be on none of its devices.
func atNodeAddress(port *ServicePort, others *OtherNodes, node Node) bool {
	claimed := func(addr netip.Addr) bool { return others.mayHave(addr) || node.MayLackDevice(addr) }
	return slices.ContainsFunc(port.ExternalIPs, claimed) || slices.ContainsFunc(port.LoadBalancerIPs, claimed)
}

// nodeAddresses are the addresses of a Node's object, without names.
func nodeAddresses(node *corev1.Node) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if a.Type != corev1.NodeInternalIP && a.Type != corev1.NodeExternalIP {
			continue
		}
		if addr, ok := parseAddr(a.Address); ok {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

// otherNodesInterest is whether the addresses of other nodes matter, and are there.
type otherNodesInterest struct {
	// awaited is whether they count, and externalIPs whether spec.externalIPs may be
	// theirs.
	awaited, externalIPs bool
	known                bool
}

// AwaitOtherNodes says that the addresses of other nodes count from now on, in a
// mode that binds addresses; those in spec.externalIPs, too, if these are served. They
// are not known before OtherNodesKnown.
func (s *Store) AwaitOtherNodes(externalIPs bool) {
	s.setInterest(func(i *otherNodesInterest) { i.awaited, i.externalIPs = true, externalIPs })
}

// IgnoreOtherNodes says that they do not count from now on.
func (s *Store) IgnoreOtherNodes() {
	s.setInterest(func(i *otherNodesInterest) { i.awaited = false })
}

// OtherNodesKnown says that all other nodes that exist are in the store, or that no
// more will come to be known.
func (s *Store) OtherNodesKnown() {
	s.setInterest(func(i *otherNodesInterest) { i.known = true })
}

// ForgetOtherNodes removes all of them: nobody says any more what becomes of them.
// They are not known again before OtherNodesKnown.
func (s *Store) ForgetOtherNodes() {
	s.setInterest(func(i *otherNodesInterest) {
		i.known = false
		clear(s.otherNodes)
	})
}

// setInterest changes it, with s.mu held.
func (s *Store) setInterest(change func(*otherNodesInterest)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.interest
	if change(&s.interest); s.interest != before {
		s.others = nil
		s.notify()
	}
}

// SetOtherNode adds or replaces a node that is not this one.
func (s *Store) SetOtherNode(node *corev1.Node) { s.replaceOtherNode(node.Name, nodeAddresses(node)) }

// DeleteOtherNode removes it.
func (s *Store) DeleteOtherNode(name string) { s.replaceOtherNode(name, nil) }

func (s *Store) replaceOtherNode(name string, addrs []netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Equal(s.otherNodes[name], addrs) {
		return
	}
	delete(s.otherNodes, name)
	if len(addrs) > 0 {
		s.otherNodes[name] = addrs
	}
	s.others = nil
	s.notify()
}

// snapshotOthers is shared between Snapshots as long as no node changes; nil where
// there is none. s.mu is held.
func (s *Store) snapshotOthers() *OtherNodes {
	unknown := s.interest.awaited && !s.interest.known
	if s.others == nil && (unknown || len(s.otherNodes) > 0) {
		s.others = &OtherNodes{Unknown: unknown, addrs: map[netip.Addr]bool{}}
		for _, addrs := range s.otherNodes {
			for _, addr := range addrs {
				s.others.addrs[addr] = true
			}
		}
	}
	return s.others
}

// AwaitsOtherNodes reports whether their addresses count.
func (s *Store) AwaitsOtherNodes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.interest.awaited
}

// WantsOtherNodes reports whether the other nodes are awaited and some Service has
// external or load balancer addresses, which may be theirs.
func (s *Store) WantsOtherNodes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.interest.awaited {
		return false
	}
	for _, o := range s.services {
		if claimsAddresses(o.Service, s.interest.externalIPs) {
			return true
		}
	}
	return false
}
