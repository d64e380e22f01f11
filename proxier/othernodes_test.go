package proxier_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func node(name, address string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}},
	}
}

// What a Service claims decides, and only that Service is made anew.
func TestAddressesOfOtherNodes(t *testing.T) {
	store := clustergen.Uniform(3, 1)
	claiming := store.Snapshot().Services[1].Service.DeepCopy()
	claiming.Spec.ExternalIPs = []string{"172.18.0.12"}
	store.SetService(claiming)
	options := clustergen.Options(proxier.IPv4)
	options.ExternalIPs = true
	state := proxier.Build(nil, store.Snapshot(), options)
	for _, step := range []struct {
		name    string
		do      func()
		claimed bool // whether the Service counts as one at another node
		same    bool // whether it is the same as before
	}{
		{"nobody asks", func() {}, false, true},
		{"not known yet", func() { store.AwaitOtherNodes(true) }, true, false},
		{"known, and there are none", store.OtherNodesKnown, false, false},
		{"a node elsewhere", func() { store.SetOtherNode(node("far", "172.18.0.99")) }, false, true},
		{"the node that has it", func() { store.SetOtherNode(node("node2", "172.18.0.12")) }, true, false},
		{"the same once more", func() { store.SetOtherNode(node("node2", "172.18.0.12")) }, true, true},
		{"it gets another address", func() { store.SetOtherNode(node("node2", "172.18.0.13")) }, false, false},
		{"a node has that address again", func() { store.SetOtherNode(node("node3", "172.18.0.12")) }, true, false},
		{"it is deleted", func() { store.DeleteOtherNode("node3") }, false, false},
		{"nobody hears of them any more", store.ForgetOtherNodes, true, false},
		{"another mode", store.IgnoreOtherNodes, false, false},
	} {
		step.do()
		next := proxier.Build(state, store.Snapshot(), options)
		if have := next.Services[1].Targets[0].AtNodeAddress; have != step.claimed {
			t.Errorf("%s: at another node: %v, want %v", step.name, have, step.claimed)
		}
		if same := next.Services[1] == state.Services[1]; same != step.same {
			t.Errorf("%s: the Service is the same: %v, want %v", step.name, same, step.same)
		}
		if next.Services[0] != state.Services[0] || next.Services[0].Targets[0].AtNodeAddress {
			t.Errorf("%s: a Service that claims nothing is another", step.name)
		}
		state = next
	}
}

// Who watches all nodes is sent a lot: only for an address that would be served.
func TestWhoWantsOtherNodes(t *testing.T) {
	ingress := func(i corev1.LoadBalancerIngress) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{i} }
	}
	externalIP := func(s *corev1.Service) { s.Spec.ExternalIPs = []string{"172.18.0.12"} }
	for _, test := range []struct {
		name        string
		change      func(*corev1.Service)
		externalIPs bool
		want        bool
	}{
		{"no address but the ClusterIP", func(*corev1.Service) {}, true, false},
		{"an external IP", externalIP, true, true},
		{"an external IP where none are served", externalIP, false, false},
		{"a load balancer's address", ingress(corev1.LoadBalancerIngress{IP: "172.18.0.12"}), false, true},
		{"its name only", ingress(corev1.LoadBalancerIngress{Hostname: "lb.example"}), true, false},
		{"ipMode VIP", ingress(corev1.LoadBalancerIngress{IP: "172.18.0.12", IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)}), true, true},
		{"ipMode Proxy", ingress(corev1.LoadBalancerIngress{IP: "172.18.0.12", IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)}), true, false},
		{"a headless Service", func(s *corev1.Service) { externalIP(s); s.Spec.ClusterIP = corev1.ClusterIPNone }, true, false},
		{"an ExternalName", func(s *corev1.Service) { externalIP(s); s.Spec.Type = corev1.ServiceTypeExternalName }, true, false},
		{"another proxy's", func(s *corev1.Service) {
			externalIP(s)
			s.Labels = map[string]string{proxier.ServiceProxyNameLabel: "other"}
		}, true, false},
	} {
		store := clustergen.Uniform(2, 1)
		service := store.Snapshot().Services[1].Service.DeepCopy()
		test.change(service)
		store.SetService(service)
		if store.WantsOtherNodes() {
			t.Errorf("%s: wanted although nobody awaits them", test.name)
		}
		store.AwaitOtherNodes(test.externalIPs)
		if got := store.WantsOtherNodes(); got != test.want {
			t.Errorf("%s: wanted: %v, want %v", test.name, got, test.want)
		}
		// What nobody asks for would stay unknown for ever.
		options := clustergen.Options(proxier.IPv4)
		options.ExternalIPs = test.externalIPs
		for target := range proxier.Build(nil, store.Snapshot(), options).Targets {
			if target.AtNodeAddress && !test.want {
				t.Errorf("%s: a Service waits for nodes that nobody wants", test.name)
			}
		}
	}
}
