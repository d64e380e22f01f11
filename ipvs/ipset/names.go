package ipset

import (
	"strings"

	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	prefix     = "KUBE-"
	prefixIPv6 = "KUBE-6-"
	// maxName is IPSET_MAXNAMELEN of linux/netfilter/ipset/ip_set.h without the
	// terminating zero.
	maxName = 31
)

// The names of the sets for IPv4; Name makes those for IPv6 of them.
const (
	// ClusterIPs is a HashIPPort of the ClusterIPs that are served.
	ClusterIPs = "KUBE-CLUSTER-IP"
	// ExternalIPs is a HashIPPort of external and load balancer addresses with
	// policy Cluster.
	ExternalIPs = "KUBE-EXTERNAL-IP"
	// ExternalIPsLocal is the same for policy Local.
	ExternalIPsLocal = "KUBE-EXTERNAL-IP-LOCAL"
	// NodePortsTCP, NodePortsUDP and NodePortsSCTP are BitmapPorts of node ports
	// with policy Cluster.
	NodePortsTCP  = "KUBE-NODE-PORT-TCP"
	NodePortsUDP  = "KUBE-NODE-PORT-UDP"
	NodePortsSCTP = "KUBE-NODE-PORT-SCTP"
	// Bound is a HashIP of the addresses on kube-ipvs0.
	Bound = "KUBE-IPVS-IPS"
)

// Name is the name for a family of a set that has the given name for IPv4.
func Name(f proxier.Family, name string) string {
	if f == proxier.IPv6 {
		name = prefixIPv6 + strings.TrimPrefix(name, prefix)
	}
	return name[:min(len(name), maxName)]
}

// Owned reports whether a set of this name is ours, in the given family.
// kube-proxy names its sets in the same way: they are taken over.
func Owned(f proxier.Family, name string) bool {
	if !strings.HasPrefix(name, prefix) {
		return false
	}
	return strings.HasPrefix(name, prefixIPv6) == (f == proxier.IPv6)
}
