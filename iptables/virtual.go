package iptables

import (
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Virtual says that virtual servers of IPVS carry the traffic, and the rules do
// what those cannot: mark for masquerade, restrict sources, tell clients that
// nobody answers, and take the short circuit past an external traffic policy.
// The fields are names of IP sets, which must exist before the rules.
//
// A packet for a virtual server passes nat PREROUTING and filter INPUT, or nat
// OUTPUT, before IPVS sees it; from the node itself it passes filter OUTPUT
// after (the priorities of ip_vs_core.c and of netfilter_ipv4.h).
type Virtual struct {
	// ClusterIPs, ExternalIPs and ExternalIPsLocal are of type hash:ip,port:
	// what is served, by kind and external policy.
	ClusterIPs, ExternalIPs, ExternalIPsLocal string
	// NodePorts are of type bitmap:port, by protocol in lower case: node ports
	// of policy Cluster. That of SCTP is of type hash:ip,port: the kernel finds
	// no SCTP port in a bitmap (ip_set_get_ip_port in ip_set_getport.c).
	NodePortsTCP, NodePortsUDP, NodePortsSCTP string
	// Bound is of type hash:ip: the addresses the device holds.
	Bound string
}

func (w *writer) virtual() bool { return w.options.Virtual != Virtual{} }

// setMatch matches packets by an IP set.
func setMatch(name, flags string) string { return "-m set --match-set " + name + " " + flags }

// virtualChains are the chains of a Service port beside virtual servers: in nat
// those of the short circuit, in filter that of its source ranges.
//
// An address of another node must not be bound to this one, so that its packets do
// not get to IPVS: the rules serve all external frontends of such a port, as in
// iptables mode.
func (w *writer) virtualChains(t *proxier.Target) (nat, filter []*Chain) {
	if t.AtNodeAddress {
		return w.chainsOf(t, t.ShortCircuit, t.External), nil
	}
	if t.AllowedSources != nil && len(t.LoadBalancerIPs) > 0 && t.External.Verdict == proxier.Accept {
		filter = append(filter, w.restrictionChain(t))
	}
	if !hasShortCircuit(t) {
		return nil, filter
	}
	if needsChain(t, t.ShortCircuit) {
		nat = w.poolChains(t, t.ShortCircuit)
	}
	nat = append(nat, w.externalChain(t))
	if t.AllowedSources != nil && len(t.LoadBalancerIPs) > 0 {
		nat = append(nat, w.sourcesChain(t))
	}
	return nat, filter
}

// hasShortCircuit reports whether this node and its pods fare differently from
// others.
func hasShortCircuit(t *proxier.Target) bool { return t.ExternalLocal && hasExternalChain(t) }

// restrictionChain lets the allowed sources out and drops the others.
func (w *writer) restrictionChain(t *proxier.Target) *Chain {
	c := &Chain{Name: portChain(prefixSources, t.Name)}
	for _, source := range t.AllowedSources {
		c.Rules = append(c.Rules, rule{src: source, comment: t.Name.String() + " allowed source", target: "-j RETURN"}.String())
	}
	c.Rules = append(c.Rules, rule{comment: t.Name.String() + " is not for this source", target: "-j DROP"}.String())
	return c
}

// restrict are a restricted frontend's rules in the filter table: in INPUT, by
// its address.
func (w *writer) restrict(f *proxier.Frontend) []string {
	r := matchPlace(f, f.Target.Name.String()+" sources")
	r.target = jump(portChain(prefixSources, f.Target.Name))
	return []string{r.String()}
}

// restrictOwn are the same in OUTPUT, where IPVS has rewritten the destination:
// conntrack remembers the original one.
func (w *writer) restrictOwn(f *proxier.Frontend) []string {
	if w.options.Refused[f.Target] || f.AtNodeAddress() || !f.Restricted() || f.Target.External.Verdict != proxier.Accept {
		return nil
	}
	return []string{rule{
		protocol: protocolOf(f.Target), comment: f.Target.Name.String() + " sources",
		matches: []string{originalDestination(single(f.Addr), f.Port, f.Port)},
		target:  jump(portChain(prefixSources, f.Target.Name)),
	}.String()}
}

// virtualMarks mark what must be answered through this node.
func (w *writer) virtualMarks() []string {
	v := w.options.Virtual
	cluster := rule{comment: "cluster IPs", matches: []string{setMatch(v.ClusterIPs, "dst,dst")}}
	switch {
	case w.state.MasqueradeAll:
	case w.state.LocalPods.Known():
		others := w.fromLocalPods(false)
		cluster.src, cluster.notSrc, cluster.in, cluster.notIn = others.src, others.notSrc, others.in, others.notIn
	default:
		// The node picks a local address as source, and the ClusterIP is one.
		cluster.matches = []string{setMatch(v.ClusterIPs, "src,dst")}
	}
	cluster.target = jump(chainMarkMasq)
	return []string{cluster.String(), rule{
		comment: "external addresses", matches: []string{setMatch(v.ExternalIPs, "dst,dst")}, target: jump(chainMarkMasq),
	}.String()}
}

// virtualPlaces let out what is no node port's although its address is the node's:
// the device's addresses have none, and where a Service is served at an address of
// the node, address and port together say more than a node port.
func (w *writer) virtualPlaces() []string {
	return append(w.returnServed(), rule{
		comment: "no node ports at Service addresses", matches: []string{setMatch(w.options.Virtual.Bound, "dst")}, target: "-j RETURN",
	}.String())
}

// returnServed lets out what a virtual server at a Service's address gets.
func (w *writer) returnServed() []string {
	v := w.options.Virtual
	var rules []string
	for _, set := range []string{v.ClusterIPs, v.ExternalIPs, v.ExternalIPsLocal} {
		rules = append(rules, rule{matches: []string{setMatch(set, "dst,dst")}, target: "-j RETURN"}.String())
	}
	return rules
}

// virtualNodePorts mark node ports of policy Cluster.
func (w *writer) virtualNodePorts() []string {
	v := w.options.Virtual
	var rules []string
	for _, p := range []struct{ protocol, set, flags string }{
		{"tcp", v.NodePortsTCP, "dst"}, {"udp", v.NodePortsUDP, "dst"}, {"sctp", v.NodePortsSCTP, "dst,dst"},
	} {
		rules = append(rules, rule{
			protocol: p.protocol, comment: "node ports", matches: []string{setMatch(p.set, p.flags)}, target: jump(chainMarkMasq),
		}.String())
	}
	return rules
}

// virtualGuard keeps the host's own services from being reached at Service
// addresses, which the device makes local.
func (w *writer) virtualGuard() []string {
	return append(w.returnServed(), rule{
		comment: "the host is not at Service addresses", matches: []string{setMatch(w.options.Virtual.Bound, "dst")},
		target: "-j REJECT --reject-with " + w.rejectWith(),
	}.String())
}
