package e2e

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// object is a JSON merge patch (RFC 7396): nil deletes a field.
type object = map[string]any

// createService creates a dual-stack Service with port 80 (TCP and UDP) and
// what else change says.
func (s *stage) createService(name string, change func(*corev1.Service)) *corev1.Service {
	s.t.Helper()
	policy := corev1.IPFamilyPolicyRequireDualStack
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{
			IPFamilyPolicy: &policy,
			Ports: []corev1.ServicePort{
				{Name: "tcp", Port: 80, Protocol: corev1.ProtocolTCP},
				{Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP},
			},
		},
	}
	if change != nil {
		change(service)
	}
	created, err := shared.client.CoreV1().Services(s.namespace).Create(s.t.Context(), service, metav1.CreateOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return created
}

var ports atomic.Int32

// freshPort is a node port that no Service has and the API server gives to none, but
// on request (KEP-3668: the first 86 of its range).
func freshPort() int32 { return 30000 + ports.Add(1)%86 }

// createBalanced is createService of type LoadBalancer, with addresses as a
// cloud would give it.
func (s *stage) createBalanced(name string) *corev1.Service {
	s.t.Helper()
	s.createService(name, func(service *corev1.Service) { service.Spec.Type = corev1.ServiceTypeLoadBalancer })
	v4, v6 := freshVIPs()
	return s.patchService(name, object{"status": object{"loadBalancer": object{
		"ingress": []object{{"ip": v4.String()}, {"ip": v6.String()}},
	}}}, "status")
}

// patchService merges the patch into a Service or one of its subresources.
func (s *stage) patchService(name string, patch object, subresources ...string) *corev1.Service {
	s.t.Helper()
	service, err := shared.client.CoreV1().Services(s.namespace).Patch(
		s.t.Context(), name, types.MergePatchType, s.marshal(patch), metav1.PatchOptions{}, subresources...)
	if err != nil {
		s.t.Fatal(err)
	}
	return service
}

// patchSpec merges fields into a Service's spec.
func (s *stage) patchSpec(name string, spec object) *corev1.Service {
	s.t.Helper()
	return s.patchService(name, object{"spec": spec})
}

// patchNodeLabels merges labels into those of node1's object.
func (s *stage) patchNodeLabels(labels object) {
	s.t.Helper()
	patch := s.marshal(object{"metadata": object{"labels": labels}})
	if _, err := shared.client.CoreV1().Nodes().Patch(s.t.Context(), s.nodeName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) marshal(patch object) []byte {
	s.t.Helper()
	text, err := json.Marshal(patch)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}

func (s *stage) deleteService(name string) {
	s.t.Helper()
	if err := shared.client.CoreV1().Services(s.namespace).Delete(s.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// A backend is an endpoint of a Service.
type backend struct {
	pod *testenv.Host
	// notReady is the condition, zone a hint.
	notReady bool
	zone     string
}

// setEndpoints writes the EndpointSlices of a Service, one for each family.
func (s *stage) setEndpoints(service string, pods ...*testenv.Host) {
	s.t.Helper()
	s.setSlices(service, "first", backends(pods))
}

// setBackends is setEndpoints of endpoints that say more.
func (s *stage) setBackends(service string, backends ...backend) {
	s.t.Helper()
	s.setSlices(service, "first", backends)
}

func backends(pods []*testenv.Host) []backend {
	var all []backend
	for _, pod := range pods {
		all = append(all, backend{pod: pod})
	}
	return all
}

// setSlices writes one EndpointSlice for each family. A Service can have several
// such pairs.
func (s *stage) setSlices(service, pair string, backends []backend) {
	s.t.Helper()
	for _, family := range families {
		slice := s.slice(service, pair, family, backends)
		slices := shared.client.DiscoveryV1().EndpointSlices(s.namespace)
		_, err := slices.Update(s.t.Context(), slice, metav1.UpdateOptions{})
		if apierrors.IsNotFound(err) {
			_, err = slices.Create(s.t.Context(), slice, metav1.CreateOptions{})
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

// deleteSlices deletes a pair of EndpointSlices.
func (s *stage) deleteSlices(service, pair string) {
	s.t.Helper()
	for _, family := range families {
		if err := shared.client.DiscoveryV1().EndpointSlices(s.namespace).Delete(s.t.Context(), sliceName(service, pair, family), metav1.DeleteOptions{}); err != nil {
			s.t.Fatal(err)
		}
	}
}

var families = []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6}

func sliceName(service, pair string, family discoveryv1.AddressType) string {
	return service + "-" + pair + "-" + strings.ToLower(string(family))
}

func (s *stage) slice(service, pair string, family discoveryv1.AddressType, backends []backend) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name:   sliceName(service, pair, family),
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: family,
		Endpoints:   []discoveryv1.Endpoint{},
		Ports: []discoveryv1.EndpointPort{
			{Name: new("tcp"), Port: new(int32(backendPort)), Protocol: new(corev1.ProtocolTCP)},
			{Name: new("udp"), Port: new(int32(backendPort)), Protocol: new(corev1.ProtocolUDP)},
		},
	}
	for _, b := range backends {
		addr := b.pod.Addr4()
		if family == discoveryv1.AddressTypeIPv6 {
			addr = b.pod.Addr6()
		}
		endpoint := discoveryv1.Endpoint{
			Addresses:  []string{addr.String()},
			Conditions: discoveryv1.EndpointConditions{Ready: new(!b.notReady)},
			NodeName:   new(s.nodeOf(addr)),
		}
		if b.zone != "" {
			endpoint.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: b.zone}}}
		}
		slice.Endpoints = append(slice.Endpoints, endpoint)
	}
	return slice
}

// nodeOf is the name of the Node whose pods have the address.
func (s *stage) nodeOf(addr netip.Addr) string {
	for _, prefix := range s.node1.PodCIDRs {
		if prefix.Contains(addr) {
			return s.nodeName
		}
	}
	return "node2"
}

// deleteObjects removes what the test has created, for other tests' sake.
func (s *stage) deleteObjects() {
	ctx := context.WithoutCancel(s.t.Context())
	report := func(err error) {
		if err != nil {
			s.t.Errorf("remove the test's objects: %v", err)
		}
	}
	services := shared.client.CoreV1().Services(s.namespace)
	all, err := services.List(ctx, metav1.ListOptions{})
	report(err)
	if err == nil {
		for i := range all.Items {
			report(services.Delete(ctx, all.Items[i].Name, metav1.DeleteOptions{}))
		}
	}
	report(shared.client.DiscoveryV1().EndpointSlices(s.namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}))
	report(shared.client.CoreV1().Nodes().Delete(ctx, s.nodeName, metav1.DeleteOptions{}))
}
