package kerneltest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/testenv"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// BenchmarkRepair measures the time from the end of the program that does
// mischief until the pass that repairs it has ended, over both variants:
//
//	SERVICES=10000 go test ./internal/kerneltest -run '^$' -bench Repair -benchtime 100x
//
// Each trial is a proxy of its own, so that no feud damps the repairs.
func BenchmarkRepair(b *testing.B) {
	services := 100
	if n, err := strconv.Atoi(os.Getenv("SERVICES")); err == nil {
		services = n
	}
	for _, variant := range testenv.Variants() {
		for _, m := range mischiefs() {
			b.Run(fmt.Sprintf("%s/%s", variant, m.name), func(b *testing.B) {
				testenv.Need(b, testenv.Root, variant.Capability())
				host := testenv.StartCluster(b).Node("node1").Host
				var took []time.Duration
				for b.Loop() {
					b.StopTimer()
					took = append(took, repairTime(b, host, variant, m, services))
					b.StartTimer()
				}
				slices.Sort(took)
				quantile := func(q int) float64 { return took[(len(took)-1)*q/100].Seconds() * 1000 }
				b.ReportMetric(quantile(50), "p50-ms")
				b.ReportMetric(quantile(99), "p99-ms")
				b.ReportMetric(0, "ns/op") // says nothing here
			})
		}
	}
}

func repairTime(b *testing.B, host *testenv.Host, variant testenv.Variant, m mischief, services int) time.Duration {
	b.Helper()
	g := startGuarded(b, host, variant, proxier.IPv4, services)
	defer g.stop()
	m.do(b, g)
	start := time.Now()
	g.await(b, "the repair", func() bool { return g.repaired > 0 })
	return time.Since(start)
}
