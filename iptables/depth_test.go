package iptables_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// mostJumps is how many jumps of ours may follow each other: nf_tables refuses the
// sixteenth (NFT_JUMP_STACK_SIZE), and others may have chains that lead to ours.
const mostJumps = 13

// deepest is the longest way by jumps from a table's built-in chains.
func deepest(table iptables.Table) []string {
	ways := map[string][]string{}
	var way func(name string) []string
	way = func(name string) []string {
		if w, ok := ways[name]; ok {
			return w
		}
		c := table.Chain(name)
		if c == nil {
			return nil
		}
		var longest []string
		for _, rule := range c.Rules {
			if w := way(rule[strings.LastIndex(rule, " -j ")+len(" -j "):]); len(w) > len(longest) {
				longest = w
			}
		}
		ways[name] = append([]string{name}, longest...)
		return ways[name]
	}
	var longest []string
	for _, c := range table.Chains {
		if c.Policy != "" {
			if w := way(c.Name); len(w) > len(longest) {
				longest = w
			}
		}
	}
	return longest
}

func mustNotBeTooDeep(t *testing.T, state *proxier.State, options iptables.Options) (most int) {
	t.Helper()
	for _, table := range iptables.Compile(nil, state, options).Ruleset.Tables {
		way := deepest(table)
		if len(way)-1 > mostJumps {
			t.Errorf("%s: %d jumps, want at most %d:\n%s", table.Name, len(way)-1, mostJumps, strings.Join(way, "\n"))
		}
		most = max(most, len(way)-1)
	}
	return most
}

func TestJumpsAreNotTooDeep(t *testing.T) {
	state := build(t, clustergen.Deep())
	if most := mustNotBeTooDeep(t, state, config.Options); most < mostJumps {
		t.Errorf("the deepest has %d jumps: this says nothing of %d", most, mostJumps)
	}
	virtual := config.Options
	virtual.Virtual = iptables.Virtual{ClusterIPs: "A", ExternalIPs: "B", ExternalIPsLocal: "C", Bound: "D"}
	mustNotBeTooDeep(t, state, virtual)
	tr := trace(t, iptables.Compile(nil, state, config.Options).Ruleset)
	for _, f := range slices.Concat(state.Frontends, state.NodePorts) {
		if f.Kind != proxier.NodePort && f.Port > 4 || f.Port > 30001 {
			continue // like the others
		}
		for _, o := range origins {
			p := packet(o, proxier.IPv4, f)
			if err := fares(tr, p, expect(state, f, o, p.Src)); err != nil {
				t.Errorf("from %s to %s of %s: %v", o.name, f, f.Target.Name, err)
			}
		}
	}
	for seed := range uint64(8) {
		cluster := clustergen.NewRandom(seed, 20<<seed)
		for range 40 << seed {
			cluster.Step()
		}
		for _, family := range proxier.Families {
			o := config.Options
			o.BPF = seed%2 == 0
			mustNotBeTooDeep(t, proxier.Build(nil, cluster.Store.Snapshot(), clustergen.Options(family)), o)
		}
	}
}

func TestGroupsOfALargePoolAreOnTwoLevels(t *testing.T) {
	state := build(t, clustergen.Uniform(1, 30000))
	const want = 4 // to KUBE-SERVICES, the Service, and twice to a group
	if most := mustNotBeTooDeep(t, state, config.Options); most != want {
		t.Errorf("%d jumps, want %d", most, want)
	}
}
