package reference

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/iptables/tracer"
)

// kind is by what a Service has a place. An external IP comes before a load
// balancer's address: who opens an address to everybody cannot restrict it, too.
type kind int

const (
	clusterIP kind = iota
	externalIP
	loadBalancerIP
	nodePort
)

// A claim is one port of a Service that wants the packet.
type claim struct {
	service *corev1.Service
	port    corev1.ServicePort
	kind    kind
}

// claimants are who gets the packets for a place: whose address and port it is, and
// whose node port, in this order, for the former say more than a number that holds
// at all addresses. Of those that want the same, a ClusterIP goes first, since the
// cluster allocated it; then the older Service; then the name.
func (w *World) claimants(p tracer.Packet) []claim {
	var exact, ports []claim
	for _, s := range w.Services {
		for _, c := range w.claims(s, p) {
			if c.kind == nodePort {
				ports = append(ports, c)
			} else {
				exact = append(exact, c)
			}
		}
	}
	var first []claim
	for _, list := range [][]claim{exact, ports} {
		if len(list) > 0 {
			first = append(first, slices.MinFunc(list, claim.compare))
		}
	}
	return first
}

func (c claim) compare(d claim) int {
	allocated := func(k kind) int {
		if k == clusterIP {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(allocated(c.kind), allocated(d.kind)),
		c.service.CreationTimestamp.Compare(d.service.CreationTimestamp.Time),
		cmp.Compare(c.service.Namespace, d.service.Namespace),
		cmp.Compare(c.service.Name, d.service.Name),
		cmp.Compare(c.port.Name, d.port.Name),
		cmp.Compare(c.kind, d.kind),
	)
}

// claims are the ports of one Service that want the packet.
func (w *World) claims(s *corev1.Service, p tracer.Packet) []claim {
	if !w.served(s, p.Dst.Is4()) {
		return nil
	}
	var claims []claim
	for _, port := range ports(s) {
		if !strings.EqualFold(string(port.Protocol), p.Protocol) {
			continue
		}
		if int32(p.DstPort) == port.Port {
			for k, list := range w.places(s) {
				if slices.Contains(list, p.Dst) {
					claims = append(claims, claim{s, port, k})
				}
			}
		}
		if int32(p.DstPort) == port.NodePort && w.hasNodePorts(p.Dst) {
			claims = append(claims, claim{s, port, nodePort})
		}
	}
	return claims
}

// served reports whether a Service is this proxy's business in one family.
func (w *World) served(s *corev1.Service, v4 bool) bool {
	_, others := s.Labels["service.kubernetes.io/service-proxy-name"]
	if others || s.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone {
		return false
	}
	_, ok := clusterIPOf(s, v4)
	return ok
}

// clusterIPOf is the Service's ClusterIP of a family, as ipFamilies says; objects
// from before dual stack have one address, which speaks for itself.
func clusterIPOf(s *corev1.Service, v4 bool) (netip.Addr, bool) {
	text := s.Spec.ClusterIP
	if len(s.Spec.IPFamilies) > 0 {
		family := corev1.IPv6Protocol
		if v4 {
			family = corev1.IPv4Protocol
		}
		all := s.Spec.ClusterIPs
		if len(all) == 0 {
			all = []string{s.Spec.ClusterIP}
		}
		i := slices.Index(s.Spec.IPFamilies, family)
		if i < 0 || i >= len(all) {
			return netip.Addr{}, false
		}
		text = all[i]
	}
	a, ok := address(text)
	return a, ok && a.Is4() == v4 && claimable(a)
}

// claimable reports whether a Service may have the address: not those that would
// take over what the node says to itself or to its neighbours.
func claimable(a netip.Addr) bool {
	return !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLinkLocalUnicast()
}

// ports are those of a Service that can be served. Of two with one name and
// protocol, which no slice could tell apart, the first counts.
func ports(s *corev1.Service) []corev1.ServicePort {
	var list []corev1.ServicePort
	for _, port := range s.Spec.Ports {
		if port.Protocol == "" {
			port.Protocol = corev1.ProtocolTCP
		}
		known := slices.Contains([]corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}, port.Protocol)
		twice := slices.ContainsFunc(list, func(q corev1.ServicePort) bool {
			return q.Name == port.Name && q.Protocol == port.Protocol
		})
		if known && !twice && port.Port >= 1 && port.Port <= 65535 {
			list = append(list, port)
		}
	}
	return list
}

// places are the addresses of a Service that is served.
func (w *World) places(s *corev1.Service) map[kind][]netip.Addr {
	places := map[kind][]netip.Addr{}
	add := func(k kind, text string) {
		if a, ok := address(text); ok && claimable(a) {
			places[k] = append(places[k], a)
		}
	}
	for _, v4 := range []bool{true, false} {
		if a, ok := clusterIPOf(s, v4); ok {
			places[clusterIP] = append(places[clusterIP], a)
		}
	}
	if allowed, set := w.Config.FeatureGates["AllowServiceExternalIPs"]; allowed || !set {
		for _, text := range s.Spec.ExternalIPs {
			add(externalIP, text)
		}
	}
	for _, ingress := range s.Status.LoadBalancer.Ingress {
		if ptr.Deref(ingress.IPMode, corev1.LoadBalancerIPModeVIP) == corev1.LoadBalancerIPModeVIP {
			add(loadBalancerIP, ingress.IP)
		}
	}
	return places
}

// bound reports whether IPVS mode makes an address the node's: any that a Service
// serves a port at, unless it is the node's anyway, or rules serve that Service.
func (w *World) bound(a netip.Addr) bool {
	if w.isNode(a) || slices.Contains(addressesOf(w.Node), a) {
		return false
	}
	for _, s := range w.Services {
		for _, port := range ports(s) {
			place := tracer.Packet{Protocol: strings.ToLower(string(port.Protocol)), Dst: a, DstPort: uint16(port.Port)} //nolint:gosec // ports checks it
			first := w.claimants(place)
			if len(first) > 0 && first[0].kind != nodePort && (first[0].kind == clusterIP || !w.atNode(first[0].service, a.Is4())) {
				return true
			}
		}
	}
	return false
}

// atNode reports whether one of a Service's external addresses is another node's, or
// one of this node's that may be on no device: bound here, it would cut off the rest
// of what is at that address.
func (w *World) atNode(s *corev1.Service, v4 bool) bool {
	var nodes []netip.Addr
	for _, n := range w.Others {
		nodes = append(nodes, addressesOf(n)...)
	}
	primary, _ := w.primary(v4)
	for _, a := range addressesOf(w.Node) {
		if a != primary {
			nodes = append(nodes, a)
		}
	}
	places := w.places(s)
	return slices.ContainsFunc(slices.Concat(places[externalIP], places[loadBalancerIP]), func(a netip.Addr) bool {
		return a.Is4() == v4 && slices.Contains(nodes, a)
	})
}

func addressesOf(n *corev1.Node) []netip.Addr {
	var list []netip.Addr
	for _, entry := range n.Status.Addresses {
		if a, ok := address(entry.Address); ok && (entry.Type == corev1.NodeInternalIP || entry.Type == corev1.NodeExternalIP) {
			list = append(list, a)
		}
	}
	return list
}
