package source

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

// The strip functions change an object in place: they drop everything a proxy
// does not read. In a large cluster that is most of the memory, and for a Node,
// whose status changes every few seconds, most of the changes.

func stripService(s *corev1.Service) {
	stripMeta(&s.ObjectMeta, []string{proxier.ServiceProxyNameLabel, proxier.ClusterDNSLabel}, []string{proxier.SchedulerAnnotation})
	s.Spec.Selector = nil
	s.Spec.TrafficDistribution = nil
	s.Spec.LoadBalancerClass = nil
	s.Spec.LoadBalancerIP = ""
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].TargetPort = intstr.IntOrString{}
		s.Spec.Ports[i].AppProtocol = nil
	}
	s.Status.Conditions = nil
}

func stripEndpointSlice(s *discoveryv1.EndpointSlice) {
	stripMeta(&s.ObjectMeta,
		[]string{discoveryv1.LabelServiceName, corev1.IsHeadlessService},
		[]string{corev1.EndpointsLastChangeTriggerTime, proxier.WeightsAnnotation})
	for i := range s.Ports {
		s.Ports[i].AppProtocol = nil
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		e.Hostname, e.TargetRef, e.DeprecatedTopology, e.Zone = nil, nil, nil, nil
	}
}

// stripNode keeps the taints: some of them say that the node is going away.
func stripNode(n *corev1.Node) {
	stripMeta(&n.ObjectMeta, []string{corev1.LabelTopologyZone}, nil)
	n.Spec = corev1.NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs, Taints: n.Spec.Taints}
	n.Status = corev1.NodeStatus{Addresses: n.Status.Addresses}
}

// stripMeta keeps what identifies and orders objects, and the listed labels
// and annotations.
func stripMeta(m *metav1.ObjectMeta, labels, annotations []string) {
	*m = metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
		Labels: only(m.Labels, labels), Annotations: only(m.Annotations, annotations),
	}
}

// only is the part of m under the given keys; nil when there is none.
func only(m map[string]string, keys []string) map[string]string {
	var kept map[string]string
	for _, key := range keys {
		if value, ok := m[key]; ok {
			if kept == nil {
				kept = make(map[string]string, len(keys))
			}
			kept[key] = value
		}
	}
	return kept
}
