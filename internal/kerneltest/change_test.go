package kerneltest

import (
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/source"
)

// TestChangesUnderTraffic: while Services come, change and go, and trees of
// chains split and merge around them, connections to a Service that stays never
// fail; also where a patch is sent in many calls, which the kernel commits one
// by one.
func TestChangesUnderTraffic(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant testenv.Variant) {
		c := castOf(t, dumpObjects(t), takeoverTraffic)
		p := &play{stage: newStage(t, c.places, c.targets()), cast: c}
		p.startServers(t)
		kernels := newKernels(t, p.node1.Host, variant)
		for _, maxNames := range []int{0, 20} {
			dataplanes := map[proxier.Family]*iptables.Dataplane{}
			for family, k := range kernels {
				config := k.config(t, 14)
				config.MaxNames = maxNames
				dataplanes[family] = iptables.NewDataplane(k, config)
			}
			p.changeAround(t, dataplanes)
		}
	})
}

// changeAround serves the dump's objects, which the traffic is for, and a
// cluster that changes.
func (p *play) changeAround(t *testing.T, dataplanes map[proxier.Family]*iptables.Dataplane) {
	const (
		changes = 6
		steps   = 40 // of one change
	)
	around := clustergen.NewRandom(7, 150)
	source.Fill(around.Store, p.Objects) // older than all others: in a conflict these win
	states := map[proxier.Family]*proxier.State{}
	next := func() {
		for family, d := range dataplanes {
			states[family] = proxier.Build(states[family], around.Store.Snapshot(), p.Config.Options(family))
			serve(t, d, states[family])
		}
	}
	next()
	stop := p.stream(t)
	for range changes {
		for range steps {
			around.Step()
		}
		next()
	}
	stop()
}
