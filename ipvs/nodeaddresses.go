package ipvs

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// nodeAddressProblems tells of Services that have an address of another node, or one of
// this node's that may be on none of its devices.
func (c *Compiled) nodeAddressProblems() []proxier.Problem {
	var problems []proxier.Problem
	for _, service := range c.state.Services {
		if len(service.Targets) == 0 || !service.Targets[0].AtNodeAddress { // all ports of a Service have the same addresses
			continue
		}
		t := service.Targets[0]
		for _, claim := range []struct {
			field string
			addrs []netip.Addr
		}{{"spec.externalIPs", t.ExternalIPs}, {"status.loadBalancer.ingress", t.LoadBalancerIPs}} {
			for _, addr := range claim.addrs {
				if whose := c.nodeOf(addr); whose != "" {
					problems = append(problems, atNodeAddress(t.Name.NamespacedName, claim.field, addr, whose))
				}
			}
		}
	}
	return problems
}

// nodeOf says whose address it is; nothing if it is no node's, as far as is known.
func (c *Compiled) nodeOf(addr netip.Addr) string {
	switch {
	case c.state.Node.MayLackDevice(addr):
		return "an address of this node, by its Node object, the rest of which"
	case c.state.OtherNodes.Have(addr):
		return "an address of another node, which"
	}
	return ""
}

func atNodeAddress(service types.NamespacedName, field string, addr netip.Addr, whose string) proxier.Problem {
	return proxier.Problem{
		Kind: "Service", Namespace: service.Namespace, Name: service.Name, Field: field, Value: addr.String(),
		Reason: "is " + whose + " could not be reached from here if it was bound to kube-ipvs0: " +
			"rules serve all external addresses and node ports of the Service, without IPVS's scheduler",
	}
}
