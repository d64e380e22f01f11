package kerneltest

import (
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// TestRandomClusters: whatever becomes of a cluster, hostile names, conflicts and
// large Services among it, the kernel takes the difference in one call or in many
// small ones, and nothing is left to do.
func TestRandomClusters(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		hosts := []*testenv.Host{c.Client(), c.Node("node1").Host}
		for i, maxNames := range []int{0, 40} {
			for _, family := range proxier.Families {
				t.Run(fmt.Sprintf("%s/at most %d names", family, maxNames), func(t *testing.T) {
					t.Parallel()
					k := newKernel(t, hosts[i], variant, family)
					config := k.config(t, 14)
					config.MaxNames = maxNames
					changeAtRandom(t, k, config, uint64(i))
				})
			}
		}
	})
}

// TestDeepTrees: nf_tables takes no more than so many jumps after each other.
func TestDeepTrees(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := testenv.StartCluster(t)
		for _, family := range proxier.Families {
			k := newKernel(t, c.Node("node1").Host, variant, family)
			state := proxier.Build(nil, clustergen.Deep().Snapshot(), clustergen.Options(family))
			config := k.config(t, 14)
			serve(t, iptables.NewDataplane(k, config), state)
			mustBeRight(t, k, config, state)
		}
	})
}

func changeAtRandom(t *testing.T, k *kernel, config iptables.Config, seed uint64) {
	const (
		services = 60
		rounds   = 10
		first    = 300 // steps of the first round; the others are small and large
	)
	cluster := clustergen.NewRandom(seed, services)
	d := iptables.NewDataplane(k, config)
	var state *proxier.State
	for round := range rounds {
		steps := first
		if round > 0 {
			steps = 1 + round*round
		}
		for range steps {
			cluster.Step()
		}
		state = proxier.Build(state, cluster.Store.Snapshot(), clustergen.Options(k.tool.Family))
		serve(t, d, state)
		mustBeRight(t, k, config, state)
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
	if config.MaxNames > 0 && k.sent() < 2*rounds {
		t.Errorf("%d calls in %d rounds: they were not split, this says nothing", k.sent(), rounds)
	}
}
