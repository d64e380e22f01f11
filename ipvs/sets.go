package ipvs

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/ipvs/ipset"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// compileSets makes the sets, taking over those of prev that have the same
// entries. prev is empty or in the same order.
func (c *Compiled) compileSets(prev []ipset.Set) []ipset.Set {
	var sets []ipset.Set
	add := func(name string, typ ipset.Type, entries []ipset.Entry) {
		if i := len(sets); i < len(prev) && slices.Equal(prev[i].Entries, entries) {
			sets = append(sets, prev[i])
			return
		}
		sets = append(sets, ipset.New(ipset.Name(c.state.Family, name), typ, c.state.Family, entries))
	}
	addressed := func(wanted func(*proxier.Frontend) bool) []ipset.Entry {
		entries := make([]ipset.Entry, 0, len(c.frontends))
		for _, f := range c.frontends {
			if f.server != nil && wanted(f.frontend) {
				entries = append(entries, ipset.Entry{Addr: f.frontend.Addr, Protocol: f.frontend.Protocol(), Port: f.frontend.Port})
			}
		}
		return entries
	}
	add(ipset.ClusterIPs, ipset.HashIPPort, addressed(func(f *proxier.Frontend) bool { return f.Kind == proxier.ClusterIP }))
	add(ipset.ExternalIPs, ipset.HashIPPort, addressed(func(f *proxier.Frontend) bool {
		return f.Kind != proxier.ClusterIP && !f.Target.ExternalLocal
	}))
	add(ipset.ExternalIPsLocal, ipset.HashIPPort, addressed(func(f *proxier.Frontend) bool {
		return f.Kind != proxier.ClusterIP && f.Target.ExternalLocal
	}))
	add(ipset.NodePortsTCP, ipset.BitmapPort, c.nodePortEntries(corev1.ProtocolTCP))
	add(ipset.NodePortsUDP, ipset.BitmapPort, c.nodePortEntries(corev1.ProtocolUDP))
	add(ipset.NodePortsSCTP, ipset.HashIPPort, c.nodePortPlaces(c.nodePortEntries(corev1.ProtocolSCTP)))
	add(ipset.Bound, ipset.HashIP, c.boundEntries())
	return sets
}

// nodePortEntries are the node ports of policy Cluster that are served.
func (c *Compiled) nodePortEntries(protocol corev1.Protocol) []ipset.Entry {
	var entries []ipset.Entry
	for _, f := range c.state.NodePorts {
		if f.Protocol() == protocol && !f.Target.ExternalLocal && served(f) {
			entries = append(entries, ipset.Entry{Port: f.Port})
		}
	}
	return entries
}

// nodePortPlaces are SCTP node ports at each of the addresses that serve them:
// the kernel finds no SCTP port in a bitmap.
func (c *Compiled) nodePortPlaces(ports []ipset.Entry) []ipset.Entry {
	var entries []ipset.Entry
	for _, addr := range c.nodeAddrs {
		for _, e := range ports {
			entries = append(entries, ipset.Entry{Addr: addr, Protocol: corev1.ProtocolSCTP, Port: e.Port})
		}
	}
	return entries
}

// boundEntries are the addresses that exist for Services only. The node's own
// must not be among them: what is not for a Service is for the node there.
func (c *Compiled) boundEntries() []ipset.Entry {
	own := make(map[netip.Addr]bool, len(c.options.NodeAddresses)+len(c.state.Node.Addresses))
	for _, addr := range slices.Concat(c.options.NodeAddresses, c.state.Node.Addresses) {
		own[addr] = true
	}
	entries := make([]ipset.Entry, 0, len(c.Addresses))
	for _, a := range c.Addresses {
		if !own[a.Addr] {
			entries = append(entries, ipset.Entry{Addr: a.Addr})
		}
	}
	return entries
}
