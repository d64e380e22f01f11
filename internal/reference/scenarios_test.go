package reference

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	proxyconfig "k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/yaml"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/iptables/tracer"
	"github.com/kube-proxier/kube-proxier/iptables/tracer/packets"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// worldOf is what the model is told of a scenario: the objects, and the file.
func worldOf(t testing.TB, s *scenarios.Scenario, mode string) *World {
	t.Helper()
	w := &World{
		NodeName: s.Config.NodeName, Node: s.Objects.Node, Others: s.Objects.OtherNodes, Addresses: s.Addresses(),
		Services: s.Objects.Services, Slices: s.Objects.EndpointSlices,
	}
	if err := yaml.Unmarshal([]byte(s.ConfigFile), &w.Config); err != nil {
		t.Fatal(err)
	}
	w.Config.Mode = proxyconfig.ProxyMode(mode)
	return w
}

// What people wrote by hand, the model says, too.
func TestTheModelAgreesWithTheScenarios(t *testing.T) {
	all, err := scenarios.LoadAll("../../testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, s := range all {
		world := worldOf(t, s, "iptables")
		for _, family := range proxier.Families {
			cases, err := s.Cases(family)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range cases {
				want, ok := world.Fate(c.Packet)
				if !ok || c.Packet.State != tracer.StateNew {
					continue
				}
				compared++
				if diff := cmp.Diff(inOrder(c.Want), inOrder(want)); diff != "" {
					t.Errorf("%s, line %d, %q: the model says %s", s.Name, c.Line, c.Text, want)
				}
			}
		}
	}
	if compared < 1000 {
		t.Errorf("%d packets were compared, want at least 1000", compared)
	}
}

// inOrder is an expectation with its endpoints sorted.
func inOrder(w packets.Want) string {
	w.Endpoints = slices.Clone(w.Endpoints)
	slices.SortFunc(w.Endpoints, func(a, b packets.Endpoint) int { return a.Compare(b.AddrPort) })
	return w.String()
}
