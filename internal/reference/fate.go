package reference

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
)

// Fate is what has to become of the first packet of a connection; promised is false
// where nobody says.
func (w *World) Fate(p tracer.Packet) (_ packets.Want, promised bool) {
	if p.Dst.Is4() && p.Dst.IsLoopback() && !p.Src.IsLoopback() {
		return packets.Want{Verdict: tracer.Drop}, true // what listens there is for the node alone
	}
	claimants := w.claimants(p)
	switch {
	case len(claimants) > 0:
	case w.ipvs() && w.bound(p.Dst):
		return packets.Want{Verdict: tracer.Reject}, true // or else a daemon of the node would answer
	default:
		return packets.Want{}, true
	}
	want, ok := w.answer(claimants[0], p), true
	if len(claimants) > 1 {
		want, ok = w.either(want, w.answer(claimants[1], p), p)
	}
	for _, e := range want.Endpoints {
		if w.ipvs() && w.takenAgain(e.AddrPort, p) {
			return packets.Want{}, false
		}
	}
	return want, ok
}

// either is for a place that one Service has by its address, which is the node's,
// and another by its node port: who does not take the packet leaves it to the other.
func (w *World) either(byAddress, byNodePort packets.Want, p tracer.Packet) (_ packets.Want, ok bool) {
	self := func(e packets.Endpoint) bool { return e.AddrPort == netip.AddrPortFrom(p.Dst, p.DstPort) }
	switch {
	case len(byAddress.Endpoints) > 0:
		// To be sent to where one was going anyway leaves no trace that could keep
		// the other Service from refusing.
		return byAddress, len(byNodePort.Endpoints) > 0 || !slices.ContainsFunc(byAddress.Endpoints, self)
	case len(byNodePort.Endpoints) > 0:
		return byNodePort, !w.ipvs() // which refuses before it looks for virtual servers
	default:
		return byAddress, true
	}
}

// takenAgain reports whether what IPVS mode sends to an endpoint does not get there:
// the node takes a Service's address for its own, and a virtual server at one of its
// addresses takes what rules have sent to the same place.
func (w *World) takenAgain(endpoint netip.AddrPort, p tracer.Packet) bool {
	p.Dst, p.DstPort = endpoint.Addr(), endpoint.Port()
	return w.bound(p.Dst) || w.isNode(p.Dst) && len(w.claimants(p)) > 0
}

// answer is how a Service port receives a packet.
//
//	any usable endpoint   policy    usable endpoint here   from outside    from this node and its pods
//	no                    any       -                      reject          reject
//	yes                   Cluster   -                      cluster's       cluster's
//	yes                   Local     yes                    this node's     cluster's
//	yes                   Local     no                     drop            cluster's
//
// The last column is for external addresses; a ClusterIP with policy Local has no
// such exception.
func (w *World) answer(c claim, p tracer.Packet) packets.Want {
	all := w.endpoints(c.service, c.port, p.Dst.Is4())
	if len(only(all, func(e endpoint) bool { return e.ready || e.leaving() })) == 0 {
		return packets.Want{Verdict: tracer.Reject}
	}
	if c.kind == loadBalancerIP && !w.admitted(c.service, p) {
		return packets.Want{Verdict: tracer.Drop}
	}
	local := externalLocal(c.service)
	if c.kind == clusterIP {
		local = internalLocal(c.service)
	}
	if local && c.kind != clusterIP && (w.sentByPod(p) || w.sentByNode(p)) {
		local = false
	}
	chosen := w.anywhere(all)
	if local {
		chosen = onNode(all)
	}
	if len(chosen) == 0 {
		return packets.Want{Verdict: tracer.Drop}
	}
	want := packets.Want{Recent: c.service.Spec.SessionAffinity == corev1.ServiceAffinityClientIP}
	for _, e := range chosen {
		masquerade := (w.masqueraded(c, p) || e.at.Addr() == p.Src) && !w.staysHere(p, e)
		want.Endpoints = append(want.Endpoints, packets.Endpoint{AddrPort: e.at, Masquerade: masquerade})
	}
	return want
}

// masqueraded reports whether the sender's address is replaced by the node's,
// whichever endpoint is chosen.
func (w *World) masqueraded(c claim, p tracer.Packet) bool {
	switch {
	case c.kind == clusterIP:
		return w.masqueradeAll() || w.podsKnown(p.Dst.Is4()) && !w.sentByPod(p)
	case externalLocal(c.service):
		return w.sentByNode(p) && !w.sentByPod(p)
	default:
		return true
	}
}

// staysHere reports whether the packet comes in and goes no further than to the
// node itself: its source matters to nobody, and the kernel keeps it.
func (w *World) staysHere(p tracer.Packet, e endpoint) bool {
	return p.InInterface != "" && w.isNode(e.at.Addr())
}

func (w *World) masqueradeAll() bool { return w.Config.IPTables.MasqueradeAll }

func internalLocal(s *corev1.Service) bool {
	policy := s.Spec.InternalTrafficPolicy
	return policy != nil && *policy == corev1.ServiceInternalTrafficPolicyLocal
}

// externalLocal reports whether externalTrafficPolicy Local counts.
func externalLocal(s *corev1.Service) bool {
	if s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return false
	}
	t := s.Spec.Type
	return t == corev1.ServiceTypeLoadBalancer || t == corev1.ServiceTypeNodePort || len(s.Spec.ExternalIPs) > 0
}

// admitted reports whether loadBalancerSourceRanges let the sender in. A family
// without a range is open. Where the node itself is let in, so is what it sends
// with a balancer's address, which it may have on a device.
func (w *World) admitted(s *corev1.Service, p tracer.Packet) bool {
	var ranges []netip.Prefix
	for _, text := range s.Spec.LoadBalancerSourceRanges {
		if r, ok := cidr(text); ok && r.Addr().Is4() == p.Dst.Is4() {
			ranges = append(ranges, r)
		}
	}
	if len(ranges) == 0 {
		return true
	}
	node, known := w.primary(p.Dst.Is4())
	for _, r := range ranges {
		if r.Contains(p.Src) {
			return true
		}
		if !known || !r.Contains(node) {
			continue
		}
		for _, a := range w.places(s)[loadBalancerIP] {
			if a == p.Src {
				return true
			}
		}
	}
	return false
}
