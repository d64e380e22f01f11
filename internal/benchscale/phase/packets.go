package phase

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// to is always the same destination.
func to(addr netip.AddrPort) func() netip.AddrPort { return func() netip.AddrPort { return addr } }

// aPod is an endpoint, reached without a Service.
func aPod() netip.AddrPort { return netip.AddrPortFrom(load.EndpointIP(0), load.EndpointPort) }

// sample measures a way beside the same connection on the control node.
func (r *runner) sample(name string, way measure.Way) (*report.Packets, error) {
	samples, err := measure.FirstPackets(r.Effort.Packets, way, measure.Way{From: r.stage.control.caller, To: to(aPod())})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := report.Packets{
		Way: name, Samples: len(samples[0]),
		P50: microseconds(samples[0].Percentile(50)), P99: microseconds(samples[0].Percentile(99)),
		Base: microseconds(samples[1].Percentile(50)),
	}
	r.run.Packets = append(r.run.Packets, p)
	r.logf("%s: p50 %.1f µs, p99 %.1f µs, where %.1f µs is the p50 of no rules", name, p.P50, p.P99, p.Base)
	return &r.run.Packets[len(r.run.Packets)-1], nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// baseline measures without a proxy: first as the kernel is; then, on the control
// node, as it is on any node, with connection tracking, NAT and a rule in each of the
// hooks a forwarded packet passes. Costs of a proxy are what comes on top of that.
func (r *runner) baseline(ctx context.Context) error {
	if _, err := r.sample(report.WayBare, measure.Way{From: r.stage.node.caller, To: to(aPod())}); err != nil {
		return err
	}
	const stranger = "192.0.2.1/32"
	rules := [][]string{
		{"-t", "nat", "-A", "PREROUTING", "-s", stranger, "-j", "ACCEPT"},
		{"-t", "nat", "-A", "POSTROUTING", "-s", stranger, "-j", "ACCEPT"},
		{"-A", "FORWARD", "-s", stranger, "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT"},
	}
	for _, rule := range rules {
		if _, err := r.iptables(ctx, r.stage.control.Host, "iptables", append([]string{"-w"}, rule...)...); err != nil {
			return err
		}
	}
	_, err := r.sample(report.WayBaseline, measure.Way{From: r.stage.control.caller, To: to(aPod())})
	return err
}

// iptables runs one of the variant's tools on a host.
func (r *runner) iptables(ctx context.Context, host *testenv.Host, name string, args ...string) (string, error) {
	dir, err := r.Kind.Variant.PathDir(r.stage.dir)
	if err != nil {
		return "", err
	}
	cmd := host.Command(ctx, name, args...)
	cmd.Env = testenv.Environ(dir)
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return string(output), nil
}

// larges are how many endpoints the large Services have; see report.WayLarge.
func larges() []int { return []int{1000, 5000} }

// packets measures connections past, to and among Services.
func (r *runner) packets(ctx context.Context) (err error) {
	frontends, err := r.createLarge(ctx)
	defer func() { err = errors.Join(err, r.deleteLarge(context.WithoutCancel(ctx))) }()
	if err != nil {
		return err
	}
	ways, err := r.ways(ctx, frontends)
	if err != nil {
		return err
	}
	rules, err := r.rules(ctx)
	if err != nil {
		return err
	}
	for _, w := range ways {
		measured, err := r.sample(w.name, measure.Way{From: r.stage.node.caller, To: w.next})
		if err != nil {
			return err
		}
		if measured.Rules, err = rules.walked(w.next, w.count); err != nil {
			return err
		}
	}
	return nil
}

// createLarge makes the large Services, and waits until they are served.
func (r *runner) createLarge(ctx context.Context) ([]netip.AddrPort, error) {
	var all []netip.AddrPort
	for n, endpoints := range larges() {
		frontend, err := r.cluster.CreateLarge(ctx, n, endpoints)
		if err != nil {
			return nil, err
		}
		all = append(all, frontend)
	}
	if _, err := r.awaitServed(ctx, all); err != nil {
		return nil, err
	}
	_, err := r.settle(ctx)
	return all, err
}

// deleteLarge removes them, so that the next run starts with the same objects.
func (r *runner) deleteLarge(ctx context.Context) error {
	for n := range larges() {
		if err := r.cluster.DeleteLarge(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// A way is where connections are opened to, and how many of them tell the average
// of rules walked.
type way struct {
	name  string
	next  func() netip.AddrPort
	count int
}

func (r *runner) ways(ctx context.Context, larges []netip.AddrPort) ([]way, error) {
	first, last, err := r.ends(ctx)
	if err != nil {
		return nil, err
	}
	random := rand.New(rand.NewPCG(seed, 1))
	return []way{
		{report.WayPod, to(aPod()), 1},
		{report.WayFirst, to(first), 1},
		{report.WayLast, to(last), 1},
		{report.WayRandom, func() netip.AddrPort { return load.Frontend(random.IntN(r.Size.Services)) }, 200},
		{report.WayLarge, to(larges[0]), 1},
		{report.WayLargest, to(larges[1]), 1},
	}, nil
}
