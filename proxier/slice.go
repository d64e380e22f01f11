package proxier

import (
	"fmt"
	"net/netip"
	"reflect"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// An EndpointSlice is what a proxy reads of the API's object. A large cluster has
// very many endpoints: here each takes a third of the memory.
type EndpointSlice struct {
	Name   string
	Family Family
	// Trigger is when the Pod or Service changed that made the controller write the
	// slice; zero if it does not say.
	Trigger time.Time

	ports     []slicePort
	endpoints []sliceEndpoint
	problems  []Problem
}

type slicePort struct {
	portKey

	number uint16
}

// A sliceEndpoint has no port yet, and does not know whether it is local.
type sliceEndpoint struct {
	Endpoint

	node unique.Handle[string]
}

// on is the endpoint at a port, seen from a node.
func (e *sliceEndpoint) on(port uint16, node unique.Handle[string]) Endpoint {
	at := e.Endpoint
	at.Addr = netip.AddrPortFrom(e.Addr.Addr(), port)
	at.Local = e.node == node
	return at
}

// readSlice reads what can be used of a slice and notes what cannot. One of a
// headless Service or without IP addresses has no endpoints for a proxy.
func readSlice(from *discoveryv1.EndpointSlice) *EndpointSlice {
	s := &EndpointSlice{Name: from.Name, Family: Family(from.AddressType)}
	s.Trigger, _ = time.Parse(time.RFC3339Nano, from.Annotations[corev1.EndpointsLastChangeTriggerTime])
	if _, headless := from.Labels[corev1.IsHeadlessService]; headless || s.Family != IPv4 && s.Family != IPv6 {
		return s
	}
	problem := func(field, value, reason string) {
		s.problems = append(s.problems, Problem{
			Kind: "EndpointSlice", Namespace: from.Namespace, Name: from.Name,
			Field: field, Value: value, Reason: reason,
		})
	}
	s.readEndpoints(from, problem)
	s.readPorts(from.Ports, problem)
	return s
}

func (s *EndpointSlice) readEndpoints(from *discoveryv1.EndpointSlice, problem func(field, value, reason string)) {
	weights, err := parseWeights(from.Annotations[WeightsAnnotation])
	if err != nil {
		problem("metadata.annotations["+WeightsAnnotation+"]", from.Annotations[WeightsAnnotation], err.Error()+": all weights are 1")
	}
	s.endpoints = make([]sliceEndpoint, 0, len(from.Endpoints))
	for i := range from.Endpoints {
		addr, reason := endpointAddr(from, i)
		if reason != "" {
			value := ""
			if a := from.Endpoints[i].Addresses; len(a) > 0 {
				value = a[0]
			}
			problem(fmt.Sprintf("endpoints[%d].addresses", i), value, reason+": the endpoint is left out")
			continue
		}
		e := readEndpoint(&from.Endpoints[i])
		e.Addr = netip.AddrPortFrom(addr, 0)
		if weight, ok := weights[addr]; ok {
			e.Weight = weight
		}
		s.endpoints = append(s.endpoints, e)
	}
}

func readEndpoint(from *discoveryv1.Endpoint) sliceEndpoint {
	e := sliceEndpoint{Endpoint: Endpoint{
		Ready:       ptr.Deref(from.Conditions.Ready, true),
		Serving:     ptr.Deref(from.Conditions.Serving, true),
		Terminating: ptr.Deref(from.Conditions.Terminating, false),
		Weight:      1,
		hints:       from.Hints,
	}}
	if from.NodeName != nil {
		e.node = unique.Make(*from.NodeName)
	}
	return e
}

func (s *EndpointSlice) readPorts(from []discoveryv1.EndpointPort, problem func(field, value, reason string)) {
	s.ports = make([]slicePort, 0, len(from))
	for i, port := range from {
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
		s.ports = append(s.ports, slicePort{key, uint16(number)})
	}
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

// sameServed reports whether two slices of one name differ in nothing that is
// served or reported.
func (s *EndpointSlice) sameServed(other *EndpointSlice) bool {
	a, b := *s, *other
	a.Trigger, b.Trigger = time.Time{}, time.Time{}
	return reflect.DeepEqual(a, b)
}
