package kerneltest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-proxier/kube-proxier/internal/scenarios"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

func loadScenarios(t *testing.T) []*scenarios.Scenario {
	t.Helper()
	all, err := scenarios.LoadAll("../../testdata/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRulesRoundTrip: every scenario's rules load in one pass over whatever the
// one before left, come back byte for byte, and leave nothing to do.
func TestRulesRoundTrip(t *testing.T) {
	all := loadScenarios(t)
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		hosts := []*testenv.Host{c.Client(), c.Node("node1").Host, c.Node("node2").Host}
		for i, host := range hosts {
			for _, family := range proxier.Families {
				t.Run(fmt.Sprintf("%s/%d", family, i), func(t *testing.T) {
					t.Parallel()
					k := newKernel(t, host, variant, family)
					for n := i; n < len(all); n += len(hosts) {
						t.Run(all[n].Name, func(t *testing.T) { roundTrip(t, k, all[n]) })
					}
				})
			}
		}
	})
}

func roundTrip(t *testing.T, k *kernel, s *scenarios.Scenario) {
	state, config := s.State(k.tool.Family), k.config(t, s.Config.MasqueradeBit)
	serve(t, iptables.NewDataplane(k, config), state)
	mustBeRight(t, k, config, state) // has just saved both tables
	for _, want := range s.IPTables(k.tool.Family, config.Features).Tables {
		have := rulesOf(k.saves[want.Name])
		for _, chain := range want.Chains {
			var lines []string
			for _, rule := range chain.Rules {
				lines = append(lines, "-A "+chain.Name+" "+rule)
			}
			if diff := cmp.Diff(lines, have[chain.Name]); diff != "" {
				t.Errorf("%s, chain %s (- ours, + iptables-save):\n%s", want.Name, chain.Name, diff)
			}
			delete(have, chain.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(have)) {
			if iptables.OwnedChain(want.Name, name) {
				t.Errorf("%s: chain %s is there, and should not be", want.Name, name)
			}
		}
	}
}

// TestRestartSendsNothing: a daemon that starts over rules that are right
// calls iptables-restore not once.
func TestRestartSendsNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			config := k.config(t, 14)
			state := dumpState(t, family)
			serve(t, iptables.NewDataplane(k, config), state)
			if k.sent() != 1 {
				t.Errorf("%s: the first start sent %d calls, want 1", family, k.sent())
			}
			for range 2 {
				if plan := serve(t, iptables.NewDataplane(k, config), state); !plan.Empty() {
					t.Errorf("%s: restarted, it plans\n%s", family, plan)
				}
			}
			if k.sent() != 1 {
				t.Errorf("%s: two restarts sent %d calls, want none", family, k.sent()-1)
			}
		}
	})
}
