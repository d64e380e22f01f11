package clustergen

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// Deep are 20 Services, one of them with all kinds of frontends, source ranges, many
// endpoints, and ports of which each bit parts a few from the others.
func Deep() *proxier.Store {
	const (
		among     = 5
		neighbour = 84 // of its ClusterIP
		endpoints = 1500
	)
	store := Uniform(20, 2)
	service := Service(among)
	service.Spec.Type, service.Spec.Ports = corev1.ServiceTypeLoadBalancer, nil
	service.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/24", "10.244.0.0/16", "2001:db8:51::/48", "fd00:10:244::/56"}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{IP: v4(10, 96, neighbour).String()}, {IP: v6("fd00:10:96::", neighbour).String()},
	}
	ports := []int32{32, 64, 128, 256, 512, 1024, 2048, 8192, 32768}
	for port := range int32(16) {
		ports = append(ports, port+1)
	}
	var named []discoveryv1.EndpointPort
	for i, port := range ports {
		name := fmt.Sprintf("p%d", port)
		service.Spec.Ports = append(service.Spec.Ports, corev1.ServicePort{
			Name: name, Protocol: corev1.ProtocolTCP, Port: port, NodePort: 30000 + int32(i),
		})
		named = append(named, discoveryv1.EndpointPort{Name: &name, Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To[int32](8080)})
	}
	store.SetService(service)
	for _, family := range proxier.Families {
		slice := Slice(among, family, endpoints, 0)
		slice.Ports = named
		store.SetEndpointSlice(slice)
	}
	return store
}
