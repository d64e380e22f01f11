package ipvs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/ipvs"
	"github.com/kube-proxier/kube-proxier/ipvs/ipvstest"
	"github.com/kube-proxier/kube-proxier/proxier"
)

// Each benchmark runs for clusters of these sizes.
func sizes(b *testing.B, run func(b *testing.B, store *proxier.Store, services int)) {
	for _, services := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("%dx10", services), func(b *testing.B) {
			store := clustergen.Uniform(services, 10)
			b.ReportAllocs()
			run(b, store, services)
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, _ int) {
		state := build(store, proxier.IPv4)
		for b.Loop() {
			ipvs.Compile(nil, state, options())
		}
	})
}

// A whole first pass over an empty kernel.
func BenchmarkStart(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, _ int) {
		n := 0
		for b.Loop() {
			kernel := &counter{Kernel: ipvstest.New(proxier.IPv4)}
			pass(b, newReconciler(store, kernel))
			n += kernel.ops
		}
		b.ReportMetric(float64(n)/float64(b.N), "sent-ops/op")
	})
}

// A whole pass after one endpoint changed, with a kernel that takes operations
// and does nothing with them. The work follows the change: see sent-ops/op and
// allocs/op at both sizes.
func BenchmarkPassOneEndpoint(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, services int) {
		kernel := &counter{Kernel: ipvstest.New(proxier.IPv4)}
		r := newReconciler(store, kernel)
		pass(b, r)
		kernel.ops = 0
		n := 0
		for b.Loop() {
			n++
			store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 10, n))
			pass(b, r)
		}
		b.ReportMetric(float64(kernel.ops)/float64(n), "sent-ops/op")
	})
}

func newReconciler(store *proxier.Store, kernel ipvs.Kernel) *proxier.Reconciler {
	c := config()
	c.DrainTimeout = 0 // or those that drain would pile up
	return &proxier.Reconciler{
		Store: store, Options: clustergen.Options(proxier.IPv4),
		Dataplanes: []proxier.Dataplane{ipvs.NewDataplane(kernel, c)},
	}
}

func pass(t testing.TB, r *proxier.Reconciler) {
	t.Helper()
	if err := r.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A counter counts operations and keeps nothing.
type counter struct {
	ipvs.Kernel
	ops int
}

func (c *counter) Do(_ context.Context, ops []ipvs.Op) (int, error) {
	c.ops += len(ops)
	return len(ops), nil
}

// The same as the benchmarks say, held to: a start sends one operation for each
// server, a changed endpoint two, however many Services there are, and nothing
// changed sends nothing.
func TestAPassFollowsTheChange(t *testing.T) {
	measure := func(services int) float64 {
		store := clustergen.Uniform(services, 3)
		kernel := &counter{Kernel: ipvstest.New(proxier.IPv4)}
		r := newReconciler(store, kernel)
		expect := func(what string, want int) {
			t.Helper()
			kernel.ops = 0
			pass(t, r)
			if kernel.ops != want {
				t.Errorf("%d Services: %s sends %d operations, want %d", services, what, kernel.ops, want)
			}
		}
		expect("the start", services*4)
		expect("no change", 0)
		n := 0
		return testing.AllocsPerRun(10, func() {
			n++
			store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 3, n))
			expect("one endpoint", 2)
		})
	}
	small, large := measure(200), measure(2000)
	if large > 1.5*small {
		t.Errorf("%v allocations at 2,000 Services, %v at 200: the work grows with the cluster", large, small)
	}
}
