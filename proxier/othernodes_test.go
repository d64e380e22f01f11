package proxier_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
		{"not known yet", store.AwaitOtherNodes, true, false},
		{"known, and there are none", store.OtherNodesKnown, false, false},
		{"a node elsewhere", func() { store.SetOtherNode(node("far", "172.18.0.99")) }, false, true},
		{"the node that has it", func() { store.SetOtherNode(node("node2", "172.18.0.12")) }, true, false},
		{"the same once more", func() { store.SetOtherNode(node("node2", "172.18.0.12")) }, true, true},
		{"it gets another address", func() { store.SetOtherNode(node("node2", "172.18.0.13")) }, false, false},
		{"a node has that address again", func() { store.SetOtherNode(node("node3", "172.18.0.12")) }, true, false},
		{"it is deleted", func() { store.DeleteOtherNode("node3") }, false, false},
	} {
		step.do()
		next := proxier.Build(state, store.Snapshot(), options)
		if have := next.Services[1].Targets[0].AtOtherNode; have != step.claimed {
			t.Errorf("%s: at another node: %v, want %v", step.name, have, step.claimed)
		}
		if same := next.Services[1] == state.Services[1]; same != step.same {
			t.Errorf("%s: the Service is the same: %v, want %v", step.name, same, step.same)
		}
		if next.Services[0] != state.Services[0] || next.Services[0].Targets[0].AtOtherNode {
			t.Errorf("%s: a Service that claims nothing is another", step.name)
		}
		state = next
	}
}
