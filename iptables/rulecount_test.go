package iptables_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// ruleCounts are those of the kernel's own words.
func ruleCounts(t *testing.T, d *iptables.Dataplane, state *proxier.State) []proxier.RuleCount {
	t.Helper()
	p := plan(t, d, state)
	if _, err := p.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.Findings().Rules
}

func TestRuleCounts(t *testing.T) {
	store := clustergen.Uniform(50, 3)
	kernel := iptablestest.New()
	d := iptables.NewDataplane(kernel, config)
	state := build(t, store)
	total := func(table string) int {
		text, err := kernel.Save(t.Context(), table)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(text, "\n-A ")
	}
	nat, filter := total("nat"), total("filter")
	first := ruleCounts(t, d, state)
	nat, filter = total("nat")-nat, total("filter")-filter
	want := []proxier.RuleCount{{Table: "nat", Total: nat, Written: nat}, {Table: "filter", Total: filter, Written: filter}}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("the first pass (-want +got):\n%s", diff)
	}

	store.SetEndpointSlice(clustergen.Slice(7, proxier.IPv4, 3, 1))
	next := proxier.Build(state, store.Snapshot(), clustergen.Options(proxier.IPv4))
	want[0].Written, want[1].Written = 4, 0
	if diff := cmp.Diff(want, ruleCounts(t, d, next)); diff != "" {
		t.Errorf("one endpoint changed (-want +got):\n%s", diff)
	}
}
