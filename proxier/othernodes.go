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

// mayBeClaimedBy reports whether one of the port's external addresses is, or may be,
// another node's.
func (n *OtherNodes) mayBeClaimedBy(port *ServicePort) bool {
	for _, addrs := range [][]netip.Addr{port.ExternalIPs, port.LoadBalancerIPs} {
		for _, addr := range addrs {
			if n.mayHave(addr) {
				return true
			}
		}
	}
	return false
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

// AwaitOtherNodes says that the addresses of other nodes count from now on, in a
// mode that binds addresses. They are not known before OtherNodesKnown.
func (s *Store) AwaitOtherNodes() { s.setOthers(&s.othersAwaited) }

// OtherNodesKnown says that all other nodes that exist are in the store, or that no
// more will come to be known.
func (s *Store) OtherNodesKnown() { s.setOthers(&s.othersKnown) }

// setOthers sets one of the two.
func (s *Store) setOthers(what *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !*what {
		*what, s.others = true, nil
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
	unknown := s.othersAwaited && !s.othersKnown
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

// WantsOtherNodes reports whether the other nodes are awaited and some Service has
// external or load balancer addresses, which may be theirs.
func (s *Store) WantsOtherNodes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.othersAwaited {
		return false
	}
	for _, o := range s.services {
		if o.Service != nil && (len(o.Service.Spec.ExternalIPs) > 0 || len(o.Service.Status.LoadBalancer.Ingress) > 0) {
			return true
		}
	}
	return false
}
