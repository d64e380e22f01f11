package conntrack_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/conntrack"
	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

const (
	vip4, vip6 = "10.96.0.10", "fd00:10:96::a"
	external   = "203.0.113.10"
	balancer   = "203.0.113.20"
	nodePort   = 30053
	nodeIP4    = "172.18.0.11"
	nodeIP6    = "fd00:172:18::11"
)

// service is the Service shop/dns with a UDP and a TCP port 53, changed by the
// mutations.
func service(mutate ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "dns"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: vip4, ClusterIPs: []string{vip4, vip6},
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			Ports: []corev1.ServicePort{
				{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53},
				{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: 53},
			},
		},
	}
	for _, m := range mutate {
		m(s)
	}
	return s
}

// exposed gives the Service all kinds of frontends.
func exposed(s *corev1.Service) {
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Spec.ExternalIPs = []string{external}
	s.Spec.Ports[0].NodePort = nodePort
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: balancer}}
}

func internalLocal(s *corev1.Service) {
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
}

func externalLocal(s *corev1.Service) {
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
}

// slice holds the endpoints of shop/dns that texts name: an address, and words
// for what is unusual about it: "unready", "terminating", "unserving", "here"
// and "port=N".
func slice(family proxier.Family, texts ...string) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "dns-" + string(family), Labels: map[string]string{discoveryv1.LabelServiceName: "dns"},
		},
		AddressType: discoveryv1.AddressType(family),
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("dns"), Port: ptr.To[int32](5353), Protocol: ptr.To(corev1.ProtocolUDP)},
			{Name: ptr.To("dns-tcp"), Port: ptr.To[int32](5353), Protocol: ptr.To(corev1.ProtocolTCP)},
		},
	}
	for _, text := range texts {
		words := strings.Fields(text)
		e := discoveryv1.Endpoint{Addresses: words[:1], NodeName: ptr.To("node2"), Conditions: discoveryv1.EndpointConditions{
			Ready: ptr.To(true), Serving: ptr.To(true), Terminating: ptr.To(false),
		}}
		for _, word := range words[1:] {
			var port int32
			switch word {
			case "unready":
				e.Conditions.Ready = ptr.To(false)
			case "unserving":
				e.Conditions.Serving = ptr.To(false)
			case "terminating":
				e.Conditions.Terminating = ptr.To(true)
			case "here":
				e.NodeName = ptr.To(clustergen.NodeName)
			default:
				if _, err := fmt.Sscanf(word, "port=%d", &port); err != nil {
					panic("unknown word " + word)
				}
				out.Ports[0].Port = ptr.To(port)
			}
		}
		out.Endpoints = append(out.Endpoints, e)
	}
	return out
}

// cluster is a store with shop/dns; a nil service is left out.
func cluster(s *corev1.Service, slices ...*discoveryv1.EndpointSlice) *proxier.Store {
	store := proxier.NewStore()
	store.SetNode(clustergen.Node())
	if s != nil {
		store.SetService(s)
	}
	for _, slice := range slices {
		store.SetEndpointSlice(slice)
	}
	store.SetSynced()
	return store
}

func build(store *proxier.Store, prev *proxier.State, options ...func(*proxier.Options)) *proxier.State {
	o := clustergen.Options(proxier.IPv4)
	for _, option := range options {
		option(&o)
	}
	return proxier.Build(prev, store.Snapshot(), o)
}

func state(s *corev1.Service, slices ...*discoveryv1.EndpointSlice) *proxier.State {
	return build(cluster(s, slices...), nil)
}

var dns = types.NamespacedName{Namespace: "shop", Name: "dns"}

// flow is a UDP flow of a pod to an address and port, answered by another.
func flow(to, answeredBy string) conntrack.Flow {
	src := netip.MustParseAddrPort("10.244.1.7:4000")
	dst, answers := netip.MustParseAddrPort(to), netip.MustParseAddrPort(answeredBy)
	if dst.Addr().Is6() {
		src = netip.MustParseAddrPort("[fd00:10:244:1::7]:4000")
	}
	return conntrack.Flow{
		Protocol: conntrack.UDP,
		Original: conntrack.Tuple{Src: src, Dst: dst}, Reply: conntrack.Tuple{Src: answers, Dst: src},
		ToNode: dst.Addr().IsLoopback() || dst.Addr().String() == nodeIP4 || dst.Addr().String() == nodeIP6,
	}
}

func count(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// many is a store with n Services like shop/dns, of one endpoint each.
func many(n int) *proxier.Store {
	store := proxier.NewStore()
	store.SetNode(clustergen.Node())
	for i := range n {
		name := fmt.Sprintf("dns-%d", i)
		store.SetService(service(func(s *corev1.Service) {
			s.Name, s.Spec.ClusterIP = name, fmt.Sprintf("10.97.%d.%d", i/256, i%256)
			s.Spec.ClusterIPs, s.Spec.IPFamilies = []string{s.Spec.ClusterIP}, s.Spec.IPFamilies[:1]
		}))
		endpoints := slice(proxier.IPv4, fmt.Sprintf("10.244.%d.%d", i/256, i%256))
		endpoints.Name, endpoints.Labels[discoveryv1.LabelServiceName] = name, name
		store.SetEndpointSlice(endpoints)
	}
	store.SetSynced()
	return store
}

func netipPort(a netip.AddrPort, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr(), port)
}
