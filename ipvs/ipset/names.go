package ipset

import (
	"slices"
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

// The names of the sets for IPv4; Name makes those for IPv6 of them. Those that
// kube-proxy has, too, hold the same kind of entries there.
const (
	// ClusterIPs is a HashIPPort of the ClusterIPs that are served.
	ClusterIPs = "KUBE-CLUSTER-IP"
	// ExternalIPs is a HashIPPort of external and load balancer addresses with
	// policy Cluster.
	ExternalIPs = "KUBE-EXTERNAL-IP"
	// ExternalIPsLocal is the same for policy Local.
	ExternalIPsLocal = "KUBE-EXTERNAL-IP-LOCAL"
	// NodePortsTCP and NodePortsUDP are BitmapPorts of node ports with policy
	// Cluster.
	NodePortsTCP = "KUBE-NODE-PORT-TCP"
	NodePortsUDP = "KUBE-NODE-PORT-UDP"
	// NodePortsSCTP is a HashIPPort of the same at the node's addresses: in a
	// bitmap the kernel finds ports of TCP and UDP only.
	NodePortsSCTP = "KUBE-NODE-PORT-SCTP-HASH"
	// Bound is a HashIP of the addresses on kube-ipvs0.
	Bound = "KUBE-IPVS-IPS"

	// spare is the set that takes the place of another; it lives for a few Ops.
	spare = "KUBE-PROXIER-SPARE"
)

// ours are the names of all sets that are ours: those above, and the others of
// kube-proxy, to be taken over. The prefix alone does not tell: network policies
// of kube-router live in sets called KUBE-SRC-… and KUBE-DST-…
var ours = []string{ //nolint:gochecknoglobals // a constant list
	ClusterIPs, ExternalIPs, ExternalIPsLocal, NodePortsTCP, NodePortsUDP, NodePortsSCTP, Bound, spare,
	"KUBE-LOOP-BACK", "KUBE-HEALTH-CHECK-NODE-PORT",
	"KUBE-LOAD-BALANCER", "KUBE-LOAD-BALANCER-LOCAL", "KUBE-LOAD-BALANCER-FW",
	"KUBE-LOAD-BALANCER-SOURCE-IP", "KUBE-LOAD-BALANCER-SOURCE-CIDR",
	"KUBE-NODE-PORT-LOCAL-TCP", "KUBE-NODE-PORT-LOCAL-UDP",
	"KUBE-NODE-PORT-LOCAL-SCTP-HASH",
}

// Name is the name for a family of a set that has the given name for IPv4.
func Name(f proxier.Family, name string) string {
	if f == proxier.IPv6 {
		name = prefixIPv6 + strings.TrimPrefix(name, prefix)
	}
	return name[:min(len(name), maxName)]
}

// Owned reports whether a set of this name is ours, in the given family.
func Owned(f proxier.Family, name string) bool {
	return slices.ContainsFunc(ours, func(own string) bool { return Name(f, own) == name })
}
