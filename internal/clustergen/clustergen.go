// Package clustergen makes clusters of Services for tests and benchmarks: large
// uniform ones to measure, and random ones that mix everything a Service can
// ask for.
package clustergen

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// NodeName is the node the clusters are seen from; a third of the endpoints is
// on it.
const NodeName = "node1"

// Options are proxier's options that fit the clusters.
func Options(family proxier.Family) proxier.Options {
	cidrs, _ := proxier.ParsePrefixes([]string{"10.244.0.0/14", "fd00:10:244::/48"})
	return proxier.Options{
		Family: family, NodeName: NodeName, ClusterCIDRs: cidrs, LocalhostNodePorts: true, ExternalIPs: true,
	}
}

// Node is the object of NodeName.
func Node() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{corev1.LabelTopologyZone: "zone-a"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: "172.18.0.11"},
			{Type: corev1.NodeInternalIP, Address: "fd00:172:18::11"},
		}},
	}
}

// Uniform fills a store with Services of one TCP port over both families, each
// with as many endpoints.
func Uniform(services, endpoints int) *proxier.Store {
	s := proxier.NewStore()
	s.SetNode(Node())
	for i := range services {
		s.SetService(Service(i))
		s.SetEndpointSlice(Slice(i, proxier.IPv4, endpoints, 0))
		s.SetEndpointSlice(Slice(i, proxier.IPv6, endpoints, 0))
	}
	s.SetSynced()
	return s
}

// Service is Service i of a uniform cluster.
func Service(i int) *corev1.Service {
	v4, v6 := clusterIP(i, proxier.IPv4).String(), clusterIP(i, proxier.IPv6).String()
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("ns-%d", i%50), Name: fmt.Sprintf("service-%d", i),
			CreationTimestamp: metav1.NewTime(time.Unix(int64(1700000000+i), 0)),
		},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: v4, ClusterIPs: []string{v4, v6},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			Ports:      []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
}

// Slice holds n endpoints of Service i. Another generation replaces the first
// of them by another pod.
func Slice(i int, family proxier.Family, n, generation int) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: fmt.Sprintf("ns-%d", i%50), Name: fmt.Sprintf("service-%d-%s", i, family),
			Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprintf("service-%d", i)},
		},
		AddressType: discoveryv1.AddressType(family),
		Ports: []discoveryv1.EndpointPort{{
			Name: ptr.To("http"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP),
		}},
	}
	for e := range n {
		pod := i*n + e
		if e == 0 && generation > 0 {
			pod = 200000 + (i*37+generation)%50000
		}
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{podIP(pod, family).String()},
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false)},
			NodeName:   ptr.To(fmt.Sprintf("node%d", pod%3+1)),
		})
	}
	return slice
}

// clusterIP spreads addresses over the range as an allocator does that picks
// at random.
func clusterIP(i int, family proxier.Family) netip.Addr {
	scattered := uint32(i)*0x9e3779b1>>12 ^ uint32(i) // 20 bits, and i: unlikely to repeat
	if family == proxier.IPv4 {
		return v4(10, 96, uint32(i)<<4%(1<<20)|scattered%16)
	}
	return v6("fd00:10:96::", uint64(i)<<4|uint64(scattered%16))
}

func podIP(pod int, family proxier.Family) netip.Addr {
	if family == proxier.IPv4 {
		return v4(10, 244, uint32(pod)+2)
	}
	return v6("fd00:10:244::", uint64(pod)+2)
}

// v4 is a.b.0.0 plus n.
func v4(a, b byte, n uint32) netip.Addr {
	var out [4]byte
	binary.BigEndian.PutUint32(out[:], uint32(a)<<24|uint32(b)<<16+n)
	return netip.AddrFrom4(out)
}

// v6 is prefix plus n.
func v6(prefix string, n uint64) netip.Addr {
	out := netip.MustParseAddr(prefix).As16()
	binary.BigEndian.PutUint64(out[8:], n)
	return netip.AddrFrom16(out)
}

// A Random cluster is changed step by step, by its own seed.
type Random struct {
	Store *proxier.Store

	r    *rand.Rand
	size int
}

// NewRandom returns an empty cluster of at most size Services.
func NewRandom(seed uint64, size int) *Random {
	c := &Random{Store: proxier.NewStore(), r: rand.New(rand.NewPCG(seed, 1)), size: size}
	c.Store.SetNode(Node())
	c.Store.SetSynced()
	return c
}

// Step changes one object.
func (c *Random) Step() {
	i := c.r.IntN(c.size)
	service := c.service(i)
	name := proxierName(service)
	switch c.r.IntN(8) {
	case 0:
		c.Store.DeleteService(name)
	case 1, 2, 3:
		c.Store.SetService(service)
	default:
		family := proxier.Families[c.r.IntN(2)]
		slice := c.slice(service, family, c.r.IntN(3))
		if c.r.IntN(5) == 0 {
			c.Store.DeleteEndpointSlice(proxierName(slice))
		} else {
			c.Store.SetEndpointSlice(slice)
		}
	}
}
