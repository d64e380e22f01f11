package reference

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// An endpoint is one that a slice names.
type endpoint struct {
	at netip.AddrPort
	// ready ones serve; if there is none, those that serve while they terminate.
	ready, serving, terminating bool
	here                        bool
	zones, nodes                []string
}

// leaving reports whether the endpoint is good for the last moments of a Service.
func (e endpoint) leaving() bool { return !e.ready && e.serving && e.terminating }

// endpoints are all of a Service port, each once, in the order of the slices.
func (w *World) endpoints(s *corev1.Service, port corev1.ServicePort, v4 bool) []endpoint {
	var list []endpoint
	for _, slice := range w.Slices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Name {
			continue
		}
		for _, e := range w.named(slice, port, v4) {
			i := slices.IndexFunc(list, func(have endpoint) bool { return have.at == e.at })
			switch {
			case i < 0:
				list = append(list, e)
			case e.better(list[i]):
				list[i] = e
			}
		}
	}
	return list
}

// better tells which of two entries for one address and port counts: a pod that
// runs is not one that terminates and had its address before. Between entries that
// agree in that, it is the one that promises more.
func (e endpoint) better(than endpoint) bool {
	switch {
	case e.terminating != than.terminating:
		return !e.terminating
	case e.ready != than.ready:
		return e.ready
	default:
		return e.serving && !than.serving
	}
}

// named are the endpoints one slice names for a Service port.
func (w *World) named(slice *discoveryv1.EndpointSlice, port corev1.ServicePort, v4 bool) []endpoint {
	want := discoveryv1.AddressTypeIPv6
	if v4 {
		want = discoveryv1.AddressTypeIPv4
	}
	if _, headless := slice.Labels[corev1.IsHeadlessService]; headless || slice.AddressType != want {
		return nil
	}
	var list []endpoint
	for _, p := range slice.Ports {
		number := ptr.Deref(p.Port, 0)
		if p.Name == nil || *p.Name != port.Name || ptr.Deref(p.Protocol, corev1.ProtocolTCP) != port.Protocol || number < 1 || number > 65535 {
			continue
		}
		for _, from := range slice.Endpoints {
			if len(from.Addresses) == 0 {
				continue
			}
			a, ok := address(from.Addresses[0])
			if !ok || a.Is4() != v4 || !claimable(a) {
				continue
			}
			list = append(list, w.read(from, netip.AddrPortFrom(a, uint16(number))))
		}
	}
	return list
}

func (w *World) read(from discoveryv1.Endpoint, at netip.AddrPort) endpoint {
	e := endpoint{
		at:    at,
		ready: ptr.Deref(from.Conditions.Ready, true), serving: ptr.Deref(from.Conditions.Serving, true),
		terminating: ptr.Deref(from.Conditions.Terminating, false),
		here:        from.NodeName != nil && *from.NodeName == w.NodeName,
	}
	if from.Hints != nil {
		for _, z := range from.Hints.ForZones {
			e.zones = append(e.zones, z.Name)
		}
		for _, n := range from.Hints.ForNodes {
			e.nodes = append(e.nodes, n.Name)
		}
	}
	return e
}

func only(list []endpoint, keep func(endpoint) bool) []endpoint {
	var kept []endpoint
	for _, e := range list {
		if keep(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// anywhere are the endpoints for traffic that may leave the node.
func (w *World) anywhere(all []endpoint) []endpoint {
	ready := only(all, func(e endpoint) bool { return e.ready })
	if len(ready) == 0 {
		return only(all, endpoint.leaving)
	}
	near := only(ready, func(e endpoint) bool { return slices.Contains(e.nodes, w.NodeName) })
	if len(near) > 0 && !slices.ContainsFunc(ready, func(e endpoint) bool { return len(e.nodes) == 0 }) {
		return near
	}
	zone := w.Node.Labels[corev1.LabelTopologyZone]
	near = only(ready, func(e endpoint) bool { return zone != "" && slices.Contains(e.zones, zone) })
	if len(near) > 0 && !slices.ContainsFunc(ready, func(e endpoint) bool { return len(e.zones) == 0 }) {
		return near
	}
	return ready
}

// onNode are the endpoints for traffic that may not. Hints do not matter here.
func onNode(all []endpoint) []endpoint {
	here := only(all, func(e endpoint) bool { return e.here })
	if ready := only(here, func(e endpoint) bool { return e.ready }); len(ready) > 0 {
		return ready
	}
	return only(here, endpoint.leaving)
}
