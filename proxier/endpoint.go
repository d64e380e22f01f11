package proxier

import (
	"cmp"
	"net/netip"
	"slices"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// An Endpoint is one address and port that answers for a ServicePort.
type Endpoint struct {
	Addr netip.AddrPort
	// Ready, Serving and Terminating are the slice's conditions, with unset
	// ones read as the API documents: ready, serving, not terminating.
	Ready, Serving, Terminating bool
	// Local is true for an endpoint on this node.
	Local bool
	// Weight is the endpoint's share relative to the others', 1 unless its
	// owner says otherwise; 0 gives it no new connections. Only modes that
	// schedule read it.
	Weight uint16
	// hints of topology; nil if there are none.
	hints *discoveryv1.EndpointHints
}

// usableWhileTerminating reports whether the endpoint may serve when no ready
// one is left (KEP-1669).
func (e *Endpoint) usableWhileTerminating() bool {
	return !e.Ready && e.Serving && e.Terminating
}

// portKey is what a slice's ports and a Service's ports are matched by: the
// name, never the number.
type portKey struct {
	name     string
	protocol corev1.Protocol
}

// endpointsByPort merges the slices of one Service and one family. Endpoints
// are sorted by address and port.
func endpointsByPort(objects *ServiceObjects, family Family, nodeName string) (map[portKey][]Endpoint, []Problem) {
	node := unique.Make(nodeName)
	merged := map[portKey][]Endpoint{}
	var problems []Problem
	for _, slice := range objects.Slices {
		if slice.Family != family {
			continue
		}
		problems = append(problems, slice.problems...)
		for _, port := range slice.ports {
			all := slices.Grow(merged[port.portKey], len(slice.endpoints))
			for i := range slice.endpoints {
				all = append(all, slice.endpoints[i].on(port.number, node))
			}
			merged[port.portKey] = all
		}
	}
	for key, all := range merged {
		merged[key] = oneOfEach(all)
	}
	return merged, problems
}

// oneOfEach sorts endpoints, of which several slices, or one of them twice, may
// have named the same: a pod that runs wins over one that terminates and had the
// same address, and of two that run the one that is ready wins; else the first.
func oneOfEach(all []Endpoint) []Endpoint {
	slices.SortStableFunc(all, func(a, b Endpoint) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(rank(&b), rank(&a)))
	})
	return slices.CompactFunc(all, func(a, b Endpoint) bool { return a.Addr == b.Addr })
}

func rank(e *Endpoint) int {
	r := 0
	if !e.Terminating {
		r += 4
	}
	if e.Ready {
		r += 2
	}
	if e.Serving {
		r++
	}
	return r
}
