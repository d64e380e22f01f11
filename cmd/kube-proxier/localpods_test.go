package main

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2/ktesting"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func TestPodsThatCannotBeRecognisedAreLogged(t *testing.T) {
	log := ktesting.NewLogger(t, ktesting.NewConfig(ktesting.BufferLogs(true)))
	reporter := &logReporter{logger: log}
	logged := 0 // bytes that were looked at
	store := clustergen.Uniform(1, 1)
	options := clustergen.Options(proxier.IPv6)
	v4, both := options.ClusterCIDRs[:1], options.ClusterCIDRs
	pass := func(following bool) string {
		t.Helper()
		state := proxier.Build(nil, store.Snapshot(), options)
		reporter.Synced(proxier.Report{Family: proxier.IPv6, Dataplane: "iptables", State: state, Plan: mode.OtherTurn{}, Following: following})
		text := log.GetSink().(ktesting.Underlier).GetBuffer().String()
		defer func() { logged = len(text) }()
		return text[logged:]
	}
	services := func() {
		store.SetService(clustergen.Service(0))
		store.SetEndpointSlice(clustergen.Slice(0, proxier.IPv6, 1, 0))
	}
	none := func() {
		service := clustergen.Service(0)
		store.DeleteService(types.NamespacedName{Namespace: service.Namespace, Name: service.Name})
	}
	node := func(cidrs ...string) {
		object := clustergen.Node()
		object.Spec = corev1.NodeSpec{PodCIDRs: cidrs}
		store.SetNode(object)
	}
	const unknown, again, masquerade = "Pods cannot be told from other clients", "Pods can be told from other clients again", "not masqueraded"
	for _, step := range []struct {
		name      string
		do        func()
		following bool
		want, not []string
	}{
		{"a range of the family", func() {}, false, nil, []string{"Pods"}},
		{"no Services", func() { none(); options.ClusterCIDRs = v4 }, false, nil, []string{"Pods"}},
		{"a follower, whose State may be an earlier one", services, true, nil, []string{"Pods"}},
		{"no range for Services", func() {}, false, []string{unknown, "IPv6", "ClusterCIDR", "clusterCIDR has no IPv6 range", "externalTrafficPolicy Local", masquerade}, nil},
		{"the next pass", func() {}, false, nil, []string{"Pods"}},
		{"Services go", none, false, nil, []string{"Pods"}},
		{"Services come", services, false, nil, []string{"Pods"}},
		{"a range again", func() { options.ClusterCIDRs = both }, false, []string{again, "IPv6", "source fd00:10:244::/48"}, nil},
		{"no range, and all is masqueraded", func() { options.ClusterCIDRs, options.MasqueradeAll = v4, true }, false, []string{unknown}, []string{masquerade}},
		{"another mode", func() { options.LocalPodsMode = proxier.ByNodeCIDR }, false, []string{unknown, "NodeCIDR", "the Node object has no IPv6 range"}, []string{"clusterCIDR"}},
		{"a range of the other family", func() { node("10.244.1.0/24") }, false, nil, []string{"Pods"}},
		{"a range of the node", func() { node("10.244.1.0/24", "fd00:10:244:1::/64") }, false, []string{again, "fd00:10:244:1::/64"}, nil},
		{"an interface", func() { options.LocalPodsMode, options.PodInterface = proxier.ByBridgeInterface, "cni0" }, false, nil, []string{"Pods"}},
	} {
		step.do()
		text := pass(step.following)
		for _, want := range step.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: the log has no %q: %q", step.name, want, text)
			}
		}
		for _, not := range step.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: the log has %q: %q", step.name, not, text)
			}
		}
	}
}
