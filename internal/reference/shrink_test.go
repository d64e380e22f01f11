package reference

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
)

// shrink leaves out of a crowd what it can without the disagreement going away. It
// may end as one about another packet.
func shrink(t *testing.T, crowd *clustergen.Crowd, d *disagreement) (*clustergen.Crowd, *disagreement) {
	t.Helper()
	for smaller := true; smaller; {
		smaller = false
		for _, next := range smallerThan(crowd) {
			if found := disagree(t, scenarioOf(t, next), d.mode, d.family, map[string]int{}); found != nil {
				crowd, d, smaller = next, found, true
				break
			}
		}
	}
	return crowd, d
}

// smallerThan are all crowds that lack one thing.
func smallerThan(c *clustergen.Crowd) []*clustergen.Crowd {
	var list []*clustergen.Crowd
	add := func(change func(*clustergen.Crowd)) {
		next := &clustergen.Crowd{
			Config: maps.Clone(c.Config), Node: c.Node.DeepCopy(), Others: c.Others, Devices: c.Devices,
			Services: slices.Clone(c.Services), Slices: slices.Clone(c.Slices),
		}
		change(next)
		list = append(list, next)
	}
	if len(c.Others) > 0 {
		add(func(n *clustergen.Crowd) { n.Others = nil })
	}
	if len(c.Devices) > 0 {
		add(func(n *clustergen.Crowd) { n.Devices = nil })
	}
	for i := range c.Services {
		add(func(n *clustergen.Crowd) { n.Services = slices.Delete(n.Services, i, i+1) })
	}
	for i := range c.Slices {
		add(func(n *clustergen.Crowd) { n.Slices = slices.Delete(n.Slices, i, i+1) })
	}
	for field := range c.Config {
		if field != "clusterCIDR" && field != "detectLocal" { // without it there is a default
			add(func(n *clustergen.Crowd) {
				delete(n.Config, field)
				if field == "detectLocalMode" {
					delete(n.Config, "detectLocal")
				}
			})
		}
	}
	for i, s := range c.Slices {
		for e := range s.Endpoints {
			add(func(n *clustergen.Crowd) {
				n.Slices[i] = s.DeepCopy()
				n.Slices[i].Endpoints = slices.Delete(n.Slices[i].Endpoints, e, e+1)
			})
		}
	}
	for i, s := range c.Services {
		for _, change := range simplerThan(s) {
			add(func(n *clustergen.Crowd) {
				n.Services[i] = s.DeepCopy()
				change(n.Services[i])
			})
		}
	}
	return list
}

// simplerThan are changes that leave something out of a Service that has it.
func simplerThan(s *corev1.Service) []func(*corev1.Service) {
	var list []func(*corev1.Service)
	add := func(has bool, change func(*corev1.Service)) {
		if has {
			list = append(list, change)
		}
	}
	for i := range s.Spec.Ports {
		add(len(s.Spec.Ports) > 1, func(s *corev1.Service) { s.Spec.Ports = slices.Delete(s.Spec.Ports, i, i+1) })
		add(s.Spec.Ports[i].NodePort > 0, func(s *corev1.Service) { s.Spec.Ports[i].NodePort = 0 })
	}
	add(len(s.Spec.ExternalIPs) > 0, func(s *corev1.Service) { s.Spec.ExternalIPs = s.Spec.ExternalIPs[1:] })
	ingress := s.Status.LoadBalancer.Ingress
	add(len(ingress) > 0, func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = ingress[1:] })
	add(len(s.Spec.LoadBalancerSourceRanges) > 0, func(s *corev1.Service) {
		s.Spec.LoadBalancerSourceRanges = s.Spec.LoadBalancerSourceRanges[1:]
	})
	add(s.Spec.SessionAffinity != "", func(s *corev1.Service) { s.Spec.SessionAffinity = "" })
	add(s.Spec.ExternalTrafficPolicy != "", func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = "" })
	add(s.Spec.InternalTrafficPolicy != nil, func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = nil })
	add(s.Spec.TrafficDistribution != nil, func(s *corev1.Service) { s.Spec.TrafficDistribution = nil })
	return list
}
