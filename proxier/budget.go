package proxier

import "fmt"

// maxRules bounds what one Service may cost. Ports, addresses and source ranges
// multiply: without a bound a single object of the size that etcd takes, 1.5 MB,
// asks for some hundred million rules, on every node. No real Service comes near.
const maxRules = 100_000

// cost is how many rules a port needs apart from its endpoints, about.
func (p *ServicePort) cost() int {
	cost := 1 + len(p.ExternalIPs) + len(p.LoadBalancerIPs)
	if len(p.LoadBalancerIPs) > 0 {
		cost += len(p.SourceRanges)
	}
	if p.NodePort != 0 {
		cost++
	}
	return cost
}

// withinBudget are the first of the ports, as many as one Service may have.
func (r *serviceReader) withinBudget(ports []*ServicePort) []*ServicePort {
	total := 0
	for i, p := range ports {
		if total += p.cost(); total > maxRules {
			r.problem(fmt.Sprintf("spec.ports[%d:]", i), fmt.Sprint(len(ports)-i),
				"ports ask for more than %d rules, with the addresses and source ranges that each of them has: they are not served", maxRules)
			return ports[:i]
		}
	}
	return ports
}
