package proxier

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
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
	m := endpointMerger{nodeName: nodeName, ports: map[portKey]map[netip.AddrPort]Endpoint{}}
	for _, slice := range objects.Slices {
		if slice.AddressType == discoveryv1.AddressType(family) && isServiceSlice(slice) {
			m.add(slice)
		}
	}
	merged := make(map[portKey][]Endpoint, len(m.ports))
	for key, byAddr := range m.ports {
		endpoints := make([]Endpoint, 0, len(byAddr))
		for _, e := range byAddr {
			endpoints = append(endpoints, e)
		}
		slices.SortFunc(endpoints, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
		merged[key] = endpoints
	}
	return merged, m.problems
}

func isServiceSlice(slice *discoveryv1.EndpointSlice) bool {
	_, headless := slice.Labels[corev1.IsHeadlessService]
	return !headless && slice.Labels[discoveryv1.LabelServiceName] != ""
}

type endpointMerger struct {
	nodeName string
	ports    map[portKey]map[netip.AddrPort]Endpoint
	problems []Problem
}

func (m *endpointMerger) add(slice *discoveryv1.EndpointSlice) {
	problem := func(field, value, reason string) {
		m.problems = append(m.problems, Problem{
			Kind: "EndpointSlice", Namespace: slice.Namespace, Name: slice.Name,
			Field: field, Value: value, Reason: reason,
		})
	}
	weights, err := parseWeights(slice.Annotations[WeightsAnnotation])
	if err != nil {
		problem("metadata.annotations["+WeightsAnnotation+"]", slice.Annotations[WeightsAnnotation], err.Error()+": all weights are 1")
	}
	endpoints, addrs := make([]Endpoint, 0, len(slice.Endpoints)), make([]netip.Addr, 0, len(slice.Endpoints))
	for i := range slice.Endpoints {
		addr, reason := endpointAddr(slice, i)
		if reason != "" {
			value := ""
			if a := slice.Endpoints[i].Addresses; len(a) > 0 {
				value = a[0]
			}
			problem(fmt.Sprintf("endpoints[%d].addresses", i), value, reason+": the endpoint is left out")
			continue
		}
		e := m.endpoint(&slice.Endpoints[i])
		if weight, ok := weights[addr]; ok {
			e.Weight = weight
		}
		endpoints = append(endpoints, e)
		addrs = append(addrs, addr)
	}
	for i, port := range slice.Ports {
		field := fmt.Sprintf("ports[%d].", i)
		if port.Name == nil {
			problem(field+"name", "", "is missing: the port is left out")
			continue
		}
		number := ptr.Deref(port.Port, 0)
		if number < 1 || number > 65535 {
			problem(field+"port", fmt.Sprint(number), "is not a port number (1 to 65535): the port is left out")
			continue
		}
		key := portKey{*port.Name, ptr.Deref(port.Protocol, corev1.ProtocolTCP)}
		for j, addr := range addrs {
			endpoints[j].Addr = netip.AddrPortFrom(addr, uint16(number))
			m.merge(key, endpoints[j])
		}
	}
}

func (m *endpointMerger) endpoint(from *discoveryv1.Endpoint) Endpoint {
	return Endpoint{
		Ready:       ptr.Deref(from.Conditions.Ready, true),
		Serving:     ptr.Deref(from.Conditions.Serving, true),
		Terminating: ptr.Deref(from.Conditions.Terminating, false),
		Local:       from.NodeName != nil && *from.NodeName == m.nodeName,
		Weight:      1,
		hints:       from.Hints,
	}
}

// merge adds an endpoint that another slice, or the same one, may have named
// already: a pod that runs wins over one that terminates and had the same
// address, and of two that run the one that is ready wins.
func (m *endpointMerger) merge(key portKey, e Endpoint) {
	byAddr := m.ports[key]
	if byAddr == nil {
		byAddr = map[netip.AddrPort]Endpoint{}
		m.ports[key] = byAddr
	}
	have, exists := byAddr[e.Addr]
	if !exists || rank(&e) > rank(&have) {
		byAddr[e.Addr] = e
	}
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

// endpointAddr is the first address of endpoint i, or why it has none that can
// be used. The API server refuses such addresses; a file does not.
func endpointAddr(slice *discoveryv1.EndpointSlice, i int) (netip.Addr, string) {
	addresses := slice.Endpoints[i].Addresses
	if len(addresses) == 0 {
		return netip.Addr{}, "is empty"
	}
	addr, ok := parseAddr(addresses[0])
	switch {
	case !ok:
		return netip.Addr{}, "is not an IP address"
	case string(FamilyOf(addr)) != string(slice.AddressType):
		return netip.Addr{}, "is not of addressType " + string(slice.AddressType)
	case addr.IsUnspecified(), addr.IsLoopback(), addr.IsMulticast(), addr.IsLinkLocalUnicast():
		return netip.Addr{}, "must not be unspecified, loopback, multicast or link-local"
	}
	return addr, ""
}
