package ipvs_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Each address is told once, however many ports and addresses the Service has.
func TestAddressesOfOtherNodesAreToldOnce(t *testing.T) {
	store := clustergen.Uniform(2, 1)
	store.AwaitOtherNodes()
	addresses := []string{"172.18.0.12", "172.18.0.13", "203.0.113.7"}
	for i, address := range addresses[:2] {
		store.SetOtherNode(&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: []string{"node2", "node3"}[i]},
			Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
		})
	}
	store.OtherNodesKnown()
	claiming := store.Snapshot().Services[1].Service.DeepCopy()
	claiming.Spec.ExternalIPs = addresses
	claiming.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: addresses[1]}}
	claiming.Spec.Ports = append(claiming.Spec.Ports, corev1.ServicePort{Name: "more", Port: 8080, Protocol: corev1.ProtocolTCP})
	store.SetService(claiming)
	o := clustergen.Options(proxier.IPv4)
	o.ExternalIPs = true
	var got []string
	for _, p := range ipvs.Compile(nil, proxier.Build(nil, store.Snapshot(), o), options()).Problems {
		got = append(got, p.Name+" "+p.Field+" "+p.Value)
	}
	want := []string{
		"service-1 spec.externalIPs 172.18.0.12", "service-1 spec.externalIPs 172.18.0.13", "service-1 status.loadBalancer.ingress 172.18.0.13",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
