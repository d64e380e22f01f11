package proxier

import (
	"cmp"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// Options are the operator's choices that decide what is served, for one
// family.
type Options struct {
	Family Family
	// NodeName is this node's name, in lower case.
	NodeName string
	// BindAddress overrides the node's own address where valid.
	BindAddress netip.Addr

	LocalPodsMode LocalPodsMode
	// ClusterCIDRs are for ByClusterCIDR; the first of the family counts.
	ClusterCIDRs []netip.Prefix
	// PodInterface is the bridge's name, or the beginning of the interfaces'.
	PodInterface string

	// MasqueradeAll rewrites the source of all traffic to ClusterIPs.
	MasqueradeAll bool
	// NodePortAddresses are ranges of both families; empty for all addresses.
	NodePortAddresses []netip.Prefix
	// NodePortPrimary narrows node ports to the node's primary address.
	NodePortPrimary bool
	// LocalhostNodePorts serves node ports on 127.0.0.1, too.
	LocalhostNodePorts bool
	// ExternalIPs serves spec.externalIPs.
	ExternalIPs bool
}

// A State is what this node should serve over one family: a sorted, immutable
// value.
type State struct {
	Family        Family
	Node          Node
	LocalPods     LocalPods
	MasqueradeAll bool
	// NodePortAddresses say where NodePorts are served.
	NodePortAddresses NodePortAddresses

	// Services are sorted by name; those that serve nothing are among them.
	Services []*Service
	// Frontends have an address; they are sorted by address, protocol and port,
	// and there is one of each.
	Frontends []*Frontend
	// NodePorts are sorted by protocol and port.
	NodePorts []*Frontend
	// Problems are what could not be served, in the order of the Services.
	Problems []Problem

	// OtherNodes are the addresses of the other nodes, as far as they are known.
	OtherNodes *OtherNodes

	options    Options
	candidates []*Frontend // all frontends of all Services, sorted, with those that lost their place
}

// LocalPodsMode is how LocalPods were to be recognised.
func (s *State) LocalPodsMode() LocalPodsMode { return cmp.Or(s.options.LocalPodsMode, ByClusterCIDR) }

// A Service is the part of a State that comes from one Service's objects.
type Service struct {
	Objects *ServiceObjects
	// Targets are sorted by name.
	Targets []*Target

	frontends []*Frontend
	problems  []Problem
}

// A HealthCheck is one Service's health check node port.
type HealthCheck struct {
	Service ServicePortName // without port and protocol
	Port    uint16
	// LocalEndpoints is the number of distinct addresses of ready endpoints on
	// this node, over all ports.
	LocalEndpoints int
}

// HealthChecks are the health check node ports, sorted by Service.
func (s *State) HealthChecks() []HealthCheck {
	var checks []HealthCheck
	for _, service := range s.Services {
		if len(service.Targets) == 0 || service.Targets[0].HealthCheckNodePort == 0 {
			continue
		}
		local := map[netip.Addr]bool{}
		for _, t := range service.Targets {
			for i := range t.Endpoints {
				if e := &t.Endpoints[i]; e.Local && e.Ready {
					local[e.Addr.Addr()] = true
				}
			}
		}
		first := service.Targets[0]
		checks = append(checks, HealthCheck{
			Service:        ServicePortName{NamespacedName: first.Name.NamespacedName},
			Port:           first.HealthCheckNodePort,
			LocalEndpoints: len(local),
		})
	}
	return checks
}

// Service is the one of that name; nil where there is none.
func (s *State) Service(name types.NamespacedName) *Service {
	i, found := slices.BinarySearchFunc(s.Services, name, func(service *Service, name types.NamespacedName) int {
		return CompareNames(service.Objects.Name, name)
	})
	if !found {
		return nil
	}
	return s.Services[i]
}

// Served is the number of Services that are served over this family, with endpoints
// or without.
func (s *State) Served() int {
	n := 0
	for _, service := range s.Services {
		if len(service.Targets) > 0 {
			n++
		}
	}
	return n
}

// Targets calls yield with every target, in order.
func (s *State) Targets(yield func(*Target) bool) {
	for _, service := range s.Services {
		for _, t := range service.Targets {
			if !yield(t) {
				return
			}
		}
	}
}

// Essentials is the State with only those Services that the cluster itself
// needs: the API server's and DNS. They are programmed first on a node that
// serves nothing yet.
func (s *State) Essentials() *State {
	essential := *s
	essential.Services, essential.Frontends, essential.NodePorts = nil, nil, nil
	keep := map[*Target]bool{}
	for _, service := range s.Services {
		if !isEssential(service.Objects) {
			continue
		}
		essential.Services = append(essential.Services, service)
		for _, t := range service.Targets {
			keep[t] = true
		}
	}
	served := func(all []*Frontend) (kept []*Frontend) {
		for _, f := range all {
			if keep[f.Target] {
				kept = append(kept, f)
			}
		}
		return kept
	}
	essential.Frontends, essential.NodePorts = served(s.Frontends), served(s.NodePorts)
	return &essential
}

func isEssential(o *ServiceObjects) bool {
	if o.Name.Namespace == "default" && o.Name.Name == "kubernetes" {
		return true
	}
	return o.Name.Namespace == "kube-system" && o.Service != nil && o.Service.Labels[ClusterDNSLabel] == "kube-dns"
}

// ClusterDNSLabel on a Service of kube-system, with the value kube-dns, is what
// cluster DNS is found by, whichever server it is.
const ClusterDNSLabel = "k8s-app"
