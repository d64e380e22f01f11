package iptables_test

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-proxier/kube-proxier/internal/clustergen"
	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/iptables/iptablestest"
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
		state := build(b, store)
		for b.Loop() {
			iptables.Compile(nil, state, config.Options)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, _ int) {
		rs := iptables.Compile(nil, build(b, store), config.Options).Ruleset
		for b.Loop() {
			b.SetBytes(int64(len(rs.String())))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, _ int) {
		text := iptables.Compile(nil, build(b, store), config.Options).Ruleset.String()
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := iptables.ParseSave(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Diff against a kernel that was just read: equal in all but one chain.
func BenchmarkDiff(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, services int) {
		before := iptables.Compile(nil, build(b, store), config.Options).Ruleset
		kernel, err := iptables.ParseSave(before.String())
		if err != nil {
			b.Fatal(err)
		}
		have := iptables.Observe(kernel)
		store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 10, 1))
		want := iptables.Compile(nil, build(b, store), config.Options).Ruleset
		for b.Loop() {
			if n := iptables.Diff(have, want, 0).Written; n != 1 {
				b.Fatalf("%d chains", n)
			}
		}
	})
}

// A whole pass after one endpoint changed: Snapshot, Build, Plan and Apply to a
// kernel that takes the input and does nothing with it. The work follows the
// change: see sent-B/op and allocs/op at both sizes.
func BenchmarkPassOneEndpoint(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, services int) {
		benchmarkPass(b, store, func(n int) {
			store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 10, n))
		})
	})
}

// A whole pass after a Service came or went.
func BenchmarkPassOneService(b *testing.B) {
	sizes(b, func(b *testing.B, store *proxier.Store, services int) {
		extra := clustergen.Service(services)
		store.SetEndpointSlice(clustergen.Slice(services, proxier.IPv4, 10, 0))
		benchmarkPass(b, store, func(n int) {
			if n%2 == 1 {
				store.SetService(extra)
			} else {
				store.DeleteService(types.NamespacedName{Namespace: extra.Namespace, Name: extra.Name})
			}
		})
	})
}

func benchmarkPass(b *testing.B, store *proxier.Store, change func(n int)) {
	kernel := &counter{Kernel: iptablestest.New()}
	r := proxier.Reconciler{
		Store: store, Options: clustergen.Options(proxier.IPv4),
		Dataplanes: []proxier.Dataplane{iptables.NewDataplane(kernel, config)},
	}
	if err := r.Sync(context.Background()); err != nil {
		b.Fatal(err)
	}
	kernel.bytes = 0
	n := 0
	for b.Loop() {
		n++
		change(n)
		if err := r.Sync(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(kernel.bytes)/float64(n), "sent-B/op")
}

// A counter counts what is sent and keeps nothing.
type counter struct {
	iptables.Kernel
	bytes int
}

func (c *counter) Restore(_ context.Context, input string) error {
	c.bytes += len(input)
	return nil
}

// The same as the benchmarks say, held to: after one endpoint changed, a pass
// over ten times the Services allocates no more often and sends no more.
func TestAPassFollowsTheChange(t *testing.T) {
	measure := func(services int) (allocs float64, sent int) {
		store := clustergen.Uniform(services, 3)
		kernel := &counter{Kernel: iptablestest.New()}
		r := proxier.Reconciler{
			Store: store, Options: clustergen.Options(proxier.IPv4),
			Dataplanes: []proxier.Dataplane{iptables.NewDataplane(kernel, config)},
		}
		n := 0
		pass := func() {
			n++
			kernel.bytes = 0
			store.SetEndpointSlice(clustergen.Slice(services/2, proxier.IPv4, 3, n))
			if err := r.Sync(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		pass()
		return testing.AllocsPerRun(10, pass), kernel.bytes
	}
	small, sentSmall := measure(200)
	large, sentLarge := measure(2000)
	if large > 1.5*small {
		t.Errorf("%v allocations at 2,000 Services, %v at 200: the work grows with the cluster", large, small)
	}
	if sentLarge > 2*sentSmall {
		t.Errorf("%d bytes sent at 2,000 Services, %d at 200", sentLarge, sentSmall)
	}
}
