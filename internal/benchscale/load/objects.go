// Package load makes the cluster that is measured: uniform Services with
// endpoints that all answer, written through a real API server.
//
// Every Service has one TCP port, a cluster IP that follows from its number, and
// endpoints of its own. The cluster IPs are scattered over the range, as those are
// that an API server picks. IPv4 only.
package load

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace has all Services.
const Namespace = "bench"

// The ports of all Services and of all endpoints.
const (
	ServicePort  = 80
	EndpointPort = 8080
)

// ClusterIPs is the range of the cluster IPs, EndpointIPs that of the endpoints,
// ClusterCIDR has the endpoints and all pods.
func ClusterIPs() netip.Prefix { return netip.MustParsePrefix("10.96.0.0/16") }

// EndpointIPs is where endpoints are.
func EndpointIPs() netip.Prefix { return netip.MustParsePrefix("10.128.0.0/10") }

// ClusterCIDR is where all pods are, endpoints or not.
func ClusterCIDR() netip.Prefix { return netip.MustParsePrefix("10.128.0.0/9") }

// Multiplying by scatter permutes the numbers from 1 to below the prime scatterOver.
// It is near the golden ratio's part of them, which keeps neighbours apart.
const (
	scatter     = 40503
	scatterOver = 65521
)

// ClusterIP is the address of Service i; there can be 60,000. The first addresses
// of the range are left to the API server.
func ClusterIP(i int) netip.Addr {
	return add(ClusterIPs(), 10+uint32(i+1)*scatter%scatterOver) //nolint:gosec // a number of Services
}

// Frontend is where clients reach Service i.
func Frontend(i int) netip.AddrPort { return netip.AddrPortFrom(ClusterIP(i), ServicePort) }

// EndpointIP is the address of endpoint n of all.
func EndpointIP(n int) netip.Addr { return add(EndpointIPs(), uint32(256+n)) } //nolint:gosec // a number of endpoints

// spare is the number of the first endpoint that is none at the start.
const spare = 2_000_000

// SpareIP is the address of the n-th endpoint that takes another's place.
func SpareIP(n int) netip.Addr { return EndpointIP(spare + n) }

func add(prefix netip.Prefix, n uint32) netip.Addr {
	b := prefix.Addr().As4()
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(b[:])+n)))
}

// service is a Service with a name and an address.
func service(name string, ip netip.Addr) *corev1.Service {
	policy := corev1.IPFamilyPolicySingleStack
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec: corev1.ServiceSpec{
			ClusterIP: ip.String(), IPFamilyPolicy: &policy, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: ServicePort}},
		},
	}
}

// slice is an EndpointSlice of a Service with these endpoints.
func slice(service, name string, endpoints []netip.Addr) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: Namespace,
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: new("http"), Port: new(int32(EndpointPort)), Protocol: new(corev1.ProtocolTCP)},
		},
	}
	for i, ip := range endpoints {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{ip.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
			NodeName:   new(fmt.Sprintf("node%d", i%3+1)),
		})
	}
	return s
}

func serviceName(i int) string { return fmt.Sprintf("service-%05d", i) }

// node is the object of the node that is measured.
func node(name string, ip netip.Addr) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: ip.String()},
		}},
	}
}
