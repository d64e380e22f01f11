package clustergen

import (
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func proxierName(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func (c *Random) chance(percent int) bool { return c.r.IntN(100) < percent }

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// hostileNames are what a file may hold as a name, though no API server does.
var hostileNames = []string{ //nolint:gochecknoglobals // a constant list
	"web", "api", "db", `quo"te`, "new\nline", "-j ACCEPT", "$(reboot)", "COMMIT", "näme", "a/b:c",
}

// service is Service i with some random wishes.
func (c *Random) service(i int) *corev1.Service {
	s := Service(i)
	s.CreationTimestamp = metav1.NewTime(time.Unix(int64(1700000000+c.r.IntN(1000)), 0))
	spec := &s.Spec
	spec.Ports = nil
	for p := range 1 + c.r.IntN(4) {
		port := corev1.ServicePort{
			Name: fmt.Sprintf("p%d", p), Port: int32(80 + p),
			Protocol: pick(c.r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP),
		}
		if c.chance(5) {
			port.Name = pick(c.r, hostileNames...)
		}
		spec.Ports = append(spec.Ports, port)
	}
	if c.chance(25) {
		spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if c.chance(20) {
		spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	}
	if c.chance(50) {
		c.expose(i, s)
	}
	return s
}

// expose gives the Service addresses for clients outside of the cluster, some
// of which other Services want, too.
func (c *Random) expose(i int, s *corev1.Service) {
	s.Spec.Type = pick(c.r, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer)
	for p := range s.Spec.Ports {
		s.Spec.Ports[p].NodePort = int32(30000 + (i*4+p)%2000 - c.r.IntN(2))
	}
	if c.chance(40) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		s.Spec.HealthCheckNodePort = int32(32000 + i%700)
	}
	if c.chance(30) {
		s.Spec.ExternalIPs = []string{v4(192, 0, uint32(0x200+c.r.IntN(c.size))).String(), v6("2001:db8:1::", uint64(c.r.IntN(c.size))).String()}
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
		{IP: v4(203, 0, uint32(0x7100+i)).String()}, {IP: v6("2001:db8:113::", uint64(i)).String()},
	}
	if c.chance(40) {
		s.Spec.LoadBalancerSourceRanges = []string{"198.51.100.0/24", " 172.18.0.0/16 ", "2001:db8:51::/48"}
	}
}

// slice number n of the Service, with endpoints in all conditions.
func (c *Random) slice(service *corev1.Service, family proxier.Family, n int) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: service.Namespace, Name: fmt.Sprintf("%s-%s-%d", service.Name, family, n),
			Labels: map[string]string{discoveryv1.LabelServiceName: service.Name},
		},
		AddressType: discoveryv1.AddressType(family),
	}
	for p := range 4 {
		for _, protocol := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP} {
			slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{
				Name: ptr.To(fmt.Sprintf("p%d", p)), Port: ptr.To(int32(8080 + p)), Protocol: ptr.To(protocol),
			})
		}
	}
	count := c.r.IntN(4)
	if c.chance(10) {
		count = c.r.IntN(120)
	}
	hints := c.chance(30)
	for range count {
		e := discoveryv1.Endpoint{
			Addresses: []string{podIP(c.r.IntN(5000), family).String()},
			Conditions: discoveryv1.EndpointConditions{
				Ready: ptr.To(c.chance(75)), Serving: ptr.To(c.chance(85)), Terminating: ptr.To(c.chance(25)),
			},
			NodeName: ptr.To(pick(c.r, NodeName, "node2", "node3")),
		}
		if hints {
			e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: pick(c.r, "zone-a", "zone-b")}}}
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return slice
}
