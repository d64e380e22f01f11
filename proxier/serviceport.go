package proxier

import (
	"cmp"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ServicePortName identifies one port of one Service.
type ServicePortName struct {
	types.NamespacedName
	// Port is the port's name; empty for the only port of a Service.
	Port     string
	Protocol corev1.Protocol
}

// String is "namespace/name:port", without the colon when the port has no name.
func (n ServicePortName) String() string {
	if n.Port == "" {
		return n.Namespace + "/" + n.Name
	}
	return n.Namespace + "/" + n.Name + ":" + n.Port
}

func (n ServicePortName) compare(m ServicePortName) int {
	return cmp.Or(CompareNames(n.NamespacedName, m.NamespacedName),
		compareStrings(n.Port, m.Port), compareStrings(string(n.Protocol), string(m.Protocol)))
}

// A ServicePort is one family's view of one port of a Service: where it
// listens and what its owner asked for.
type ServicePort struct {
	Name ServicePortName
	// Created is the Service's creation time; of two Services that claim the
	// same address and port the older one is served.
	Created time.Time

	ClusterIP netip.Addr
	Port      uint16
	// NodePort is 0 when there is none.
	NodePort        uint16
	ExternalIPs     []netip.Addr
	LoadBalancerIPs []netip.Addr
	// SourceRanges restrict who may use LoadBalancerIPs; nil lets everybody in.
	SourceRanges []netip.Prefix

	// Affinity is how long a client sticks to its endpoint after its last
	// connection; 0 when it need not.
	Affinity time.Duration
	// Scheduler is the IPVS scheduler the owner wants; empty for the node's
	// default. Only modes that schedule read it.
	Scheduler string
	// InternalLocal and ExternalLocal are the traffic policies: true for Local.
	InternalLocal, ExternalLocal bool
	// HealthCheckNodePort is 0 when there is none.
	HealthCheckNodePort uint16
}

// Exposed reports whether the port can be reached by another address than its
// ClusterIP.
func (p *ServicePort) Exposed() bool {
	return p.NodePort != 0 || len(p.LoadBalancerIPs) > 0 || len(p.ExternalIPs) > 0
}

// usesClusterEndpoints reports whether some traffic may go to any endpoint.
func (p *ServicePort) usesClusterEndpoints() bool {
	return !p.InternalLocal || p.Exposed()
}

// usesLocalEndpoints reports whether some traffic may only go to endpoints of
// this node.
func (p *ServicePort) usesLocalEndpoints() bool {
	return p.InternalLocal || p.ExternalLocal && p.Exposed()
}

func compareStrings(a, b string) int { return cmp.Compare(a, b) }
