package ipvs

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// otherNodeProblems tells of Services that have an address of another node.
func (c *Compiled) otherNodeProblems() []proxier.Problem {
	if c.state.OtherNodes == nil || c.state.OtherNodes.Unknown {
		return nil // that will pass
	}
	var problems []proxier.Problem
	for _, service := range c.state.Services {
		if len(service.Targets) == 0 || !service.Targets[0].AtOtherNode { // all ports of a Service have the same addresses
			continue
		}
		t := service.Targets[0]
		for _, claim := range []struct {
			field string
			addrs []netip.Addr
		}{{"spec.externalIPs", t.ExternalIPs}, {"status.loadBalancer.ingress", t.LoadBalancerIPs}} {
			for _, addr := range claim.addrs {
				if c.state.OtherNodes.Have(addr) {
					problems = append(problems, atOtherNode(t.Name.NamespacedName, claim.field, addr))
				}
			}
		}
	}
	return problems
}

func atOtherNode(service types.NamespacedName, field string, addr netip.Addr) proxier.Problem {
	return proxier.Problem{
		Kind: "Service", Namespace: service.Namespace, Name: service.Name, Field: field, Value: addr.String(),
		Reason: "is an address of another node, which could not be reached from here if it was bound to kube-ipvs0: " +
			"rules serve all external addresses and node ports of the Service, without IPVS's scheduler",
	}
}
