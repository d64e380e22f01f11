package metrics_test

import (
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/metrics"
)

// What counting adds to a pass in which one Service of many changed.
func BenchmarkSynced(b *testing.B) {
	for _, services := range []int{1000, 10000, 50000} {
		b.Run(fmt.Sprint(services), func(b *testing.B) {
			store := clustergen.Uniform(services, 2)
			r := metrics.New(store, "v1").Reporter(proxier.IPv4)
			before := proxier.Build(nil, store.Snapshot(), clustergen.Options(proxier.IPv4))
			store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 2, 1))
			after := proxier.Build(before, store.Snapshot(), clustergen.Options(proxier.IPv4))
			states := []*proxier.State{before, after}
			for i := 0; b.Loop(); i++ {
				r.Synced(proxier.Report{Family: proxier.IPv4, Dataplane: "iptables", State: states[i%2], Plan: counted{}, Last: true})
			}
		})
	}
}
