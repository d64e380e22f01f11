package proxier

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestEligibilityFollowsTheNodeWithoutAPass(t *testing.T) {
	node := func(change func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
		change(n)
		return n
	}
	taint := func(key string) func(*corev1.Node) {
		return func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: key, Effect: corev1.TaintEffectNoSchedule}} }
	}
	plain := node(func(*corev1.Node) {})
	s := NewStore()
	if got := s.Eligibility(); got != ObjectsMissing {
		t.Errorf("before all objects are there: %q, want %q", got, ObjectsMissing)
	}
	s.SetSynced()
	if got := s.Eligibility(); got != NodeMissing {
		t.Errorf("before there is a Node: %q, want %q", got, NodeMissing)
	}
	s.SetNode(plain)
	wake := s.Watch()
	<-wake
	for _, step := range []struct {
		name string
		do   func()
		want Eligibility
	}{
		{"plain", func() { s.SetNode(plain) }, Eligible},
		{"taint of the autoscaler", func() { s.SetNode(node(taint("ToBeDeletedByClusterAutoscaler"))) }, NodeTainted},
		{"another taint", func() { s.SetNode(node(taint("node.kubernetes.io/unschedulable"))) }, Eligible},
		{"being deleted", func() {
			s.SetNode(node(func(n *corev1.Node) { now := metav1.Now(); n.DeletionTimestamp = &now }))
		}, NodeDeleted},
		{"gone", s.DeleteNode, NodeMissing},
		{"there again", func() { s.SetNode(plain) }, Eligible},
	} {
		step.do()
		if got := s.Eligibility(); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		select {
		case <-wake:
			t.Errorf("%s: woken, though nothing that is served has changed", step.name)
		default:
		}
	}
	s.DeleteNode()
	if s.Snapshot().Node == nil {
		t.Error("the last Node object does not stay in force after it was deleted")
	}
}
