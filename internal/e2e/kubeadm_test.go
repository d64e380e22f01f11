package e2e

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/testenv/render"
)

// TestKubeadmsDaemonSetThereAndBack: with take-over.yaml a rollout stops where a
// pod is not ready, and hand-back.yaml leaves nothing of that.
func TestKubeadmsDaemonSetThereAndBack(t *testing.T) {
	t.Parallel()
	common(t)
	sets := shared.client.AppsV1().DaemonSets(render.Namespace)
	before, err := sets.Create(t.Context(), daemonSetOf(t, kubeadmObjects(t)), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sets.Delete(context.Background(), before.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	patch := func(file string) *appsv1.DaemonSet {
		set, err := sets.Patch(t.Context(), before.Name, types.StrategicMergePatchType, render.Patch(t, file), metav1.PatchOptions{FieldValidation: metav1.FieldValidationStrict})
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		return set
	}
	ours := patch("kubeadm/take-over.yaml")
	expectPatience(t, ours)
	expectMonitored(t, ours)

	after := patch("kubeadm/hand-back.yaml")
	if len(after.Spec.Template.Spec.InitContainers) != 1 {
		t.Errorf("init containers: %v", after.Spec.Template.Spec.InitContainers)
	}
	after.Spec.Template.Spec.InitContainers = nil
	if d := cmp.Diff(before.Spec, after.Spec); d != "" {
		t.Errorf("kubeadm's own (-) and what is handed back (+) differ:\n%s", d)
	}
}

// The PodMonitor of deploy finds the pods of each DaemonSet of deploy.
func TestPodsAreMonitored(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"kustomize/base", "kustomize/overlays/ipvs", "kustomize/overlays/kubeadm"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			expectMonitored(t, daemonSetOf(t, render.Kustomize(t, folder)))
		})
	}
}

func expectMonitored(t *testing.T, set *appsv1.DaemonSet) {
	t.Helper()
	ports := map[string]bool{}
	for _, port := range set.Spec.Template.Spec.Containers[0].Ports {
		ports[port.Name] = true
	}
	monitors := 0
	for _, o := range render.Kustomize(t, "monitoring") {
		if o.GetKind() != "PodMonitor" {
			continue
		}
		monitors++
		if selector := selectorOf(t, o); !selector.Matches(labels.Set(set.Spec.Template.Labels)) {
			t.Errorf("the PodMonitor selects %s, the pods have %v", selector, set.Spec.Template.Labels)
		}
		endpoints, _, err := unstructured.NestedSlice(o.Object, "spec", "podMetricsEndpoints")
		if err != nil || len(endpoints) == 0 {
			t.Fatalf("the PodMonitor asks nobody: %v", err)
		}
		for _, endpoint := range endpoints {
			if port, _, _ := unstructured.NestedString(endpoint.(map[string]any), "port"); !ports[port] {
				t.Errorf("the PodMonitor asks at port %q, the pods have %v", port, ports)
			}
		}
	}
	if monitors != 1 {
		t.Errorf("%d PodMonitors, want 1", monitors)
	}
}

func selectorOf(t *testing.T, monitor *unstructured.Unstructured) labels.Selector {
	t.Helper()
	fields, _, err := unstructured.NestedMap(monitor.Object, "spec", "selector")
	if err != nil {
		t.Fatal(err)
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		t.Fatal(err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}
