package source

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestReflectionRefusesOtherObjects(t *testing.T) {
	fail := func(*corev1.Service) { t.Error("a Node was taken for a Service") }
	r := newReflection(nil, fail, fail, func(types.NamespacedName) { t.Error("a Node was deleted as a Service") })
	for name, err := range map[string]error{
		"Add": r.Add(&corev1.Node{}), "Update": r.Update(&corev1.Node{}),
		"Delete": r.Delete(&corev1.Node{}), "Replace": r.Replace([]any{&corev1.Node{}}, ""),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	select {
	case <-r.synced:
		t.Error("synced by a listing of another kind")
	default:
	}
}

func TestReplaceRemovesOnlyWhatIsGone(t *testing.T) {
	var removed []string
	r := newReflection(nil, stripService, func(*corev1.Service) {}, func(name types.NamespacedName) { removed = append(removed, name.Name) })
	for _, listing := range [][]any{
		{apiService("a", ""), apiService("b", "")},
		{apiService("b", ""), apiService("c", "")},
		{apiService("b", ""), apiService("c", "")},
	} {
		if err := r.Replace(listing, ""); err != nil {
			t.Fatal(err)
		}
	}
	if d := cmp.Diff([]string{"a"}, removed); d != "" {
		t.Errorf("removed (-want +got):\n%s", d)
	}
}

// bulky is metadata as a server sends it; lean what is kept of it.
func bulky(labels, annotations map[string]string) metav1.ObjectMeta {
	m := lean(labels, annotations)
	m.GenerateName, m.Generation, m.SelfLink = "x-", 3, "/x" //nolint:staticcheck // deprecated, but still sent
	m.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
	m.OwnerReferences, m.Finalizers = []metav1.OwnerReference{{Name: "x"}}, []string{"x"}
	m.Labels = map[string]string{"app": "x"}
	for k, v := range labels {
		m.Labels[k] = v
	}
	m.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"}
	for k, v := range annotations {
		m.Annotations[k] = v
	}
	return m
}

func lean(labels, annotations map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "ns", Name: "x", UID: "u", ResourceVersion: "7",
		CreationTimestamp: metav1.NewTime(time.Unix(1, 0)), Labels: labels, Annotations: annotations,
	}
}

func TestStripKeepsWhatAProxyReads(t *testing.T) {
	t.Run("Service", func(t *testing.T) {
		labels := map[string]string{proxier.ServiceProxyNameLabel: ""}
		got := &corev1.Service{ObjectMeta: bulky(labels, nil)}
		got.Spec.ClusterIP, got.Spec.Selector = "10.0.0.1", map[string]string{"a": "b"}
		got.Status.Conditions = []metav1.Condition{{Type: "x"}}
		got.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
		want := &corev1.Service{ObjectMeta: lean(labels, nil)}
		want.Spec.ClusterIP, want.Status.LoadBalancer = "10.0.0.1", got.Status.LoadBalancer
		stripped(t, got, want, stripService)
	})
	t.Run("EndpointSlice", func(t *testing.T) {
		labels := map[string]string{discoveryv1.LabelServiceName: "web"}
		annotations := map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-01-01T00:00:00Z"}
		got := &discoveryv1.EndpointSlice{ObjectMeta: bulky(labels, annotations)}
		hints := &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z"}}}
		got.Endpoints = []discoveryv1.Endpoint{{
			Addresses: []string{"10.1.0.1"}, NodeName: ptr.To("n"), Hints: hints, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
			Hostname: ptr.To("h"), Zone: ptr.To("z"), TargetRef: &corev1.ObjectReference{Name: "pod"}, DeprecatedTopology: map[string]string{"a": "b"},
		}}
		got.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http"), AppProtocol: ptr.To("h2c")}}
		want := &discoveryv1.EndpointSlice{ObjectMeta: lean(labels, annotations)}
		want.Endpoints = []discoveryv1.Endpoint{{
			Addresses: []string{"10.1.0.1"}, NodeName: ptr.To("n"), Hints: hints, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
		}}
		want.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("http")}}
		stripped(t, got, want, stripEndpointSlice)
	})
	t.Run("Node", func(t *testing.T) {
		labels := map[string]string{corev1.LabelTopologyZone: "z"}
		got := &corev1.Node{ObjectMeta: bulky(labels, nil)}
		got.Spec = corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24"}, Taints: []corev1.Taint{{Key: "t"}}, ProviderID: "x"}
		got.Status = corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}},
			Images:    []corev1.ContainerImage{{Names: []string{"x"}}}, Conditions: []corev1.NodeCondition{{Type: "Ready"}},
		}
		want := &corev1.Node{ObjectMeta: lean(labels, nil)}
		want.Spec = corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24"}, Taints: []corev1.Taint{{Key: "t"}}}
		want.Status = corev1.NodeStatus{Addresses: got.Status.Addresses}
		stripped(t, got, want, stripNode)
	})
}

func stripped[T any](t *testing.T, got, want T, strip func(T)) {
	t.Helper()
	for range 2 { // a second time changes nothing
		strip(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	}
}
