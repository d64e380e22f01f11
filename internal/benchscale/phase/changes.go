package phase

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
	"github.com/kube-proxier/kube-proxier/internal/testenv"
)

// probe is the Service whose change is watched. Others are changed beside it.
const probe = 0

// follow replaces an endpoint of the probe and returns how long it took until a
// connection came to the new one.
func (r *runner) follow(ctx context.Context) (time.Duration, error) {
	start := time.Now()
	fresh, err := r.cluster.Replace(ctx, probe)
	if err != nil {
		return 0, err
	}
	for {
		for range 2 * r.Size.Endpoints { // one of them is the new one, most probably
			if r.endpoint(ctx) == fresh {
				return time.Since(start), nil
			}
		}
		if err := r.process.Ended(); err != nil {
			return 0, err
		}
		if err := pause(ctx, 2*time.Millisecond, start); err != nil {
			return 0, fmt.Errorf("no connection has come to the new endpoint: %w", err)
		}
	}
}

// endpoint is the one that a new connection to the probe comes to.
func (r *runner) endpoint(ctx context.Context) netip.Addr {
	reply, err := r.stage.node.caller.Dial(ctx, "tcp", load.Frontend(probe), testenv.DialOptions{Timeout: tryPatience})
	if err != nil {
		return netip.Addr{} // while there are no rules for a moment, or it is loaded
	}
	return reply.Local.Addr()
}

// changes replaces one endpoint after another, each when the program is done with
// the one before.
func (r *runner) changes(ctx context.Context) error {
	var delays measure.Sample
	var cpus []time.Duration
	if _, err := r.settle(ctx); err != nil {
		return err
	}
	start := time.Now()
	lines, err := r.lines(ctx)
	if err != nil {
		return err
	}
	for range r.Effort.Changes {
		before, err := r.cgroup.CPU()
		if err != nil {
			return err
		}
		delay, err := r.follow(ctx)
		if err != nil {
			return err
		}
		after, err := r.settle(ctx)
		if err != nil {
			return err
		}
		delays, cpus = append(delays, delay), append(cpus, after-before)
	}
	sent, err := r.lines(ctx)
	if err != nil {
		return err
	}
	// The median leaves out changes during which the program also did something
	// that it does from time to time.
	slices.Sort(cpus)
	r.run.One = newChanges(0, delays, time.Since(start))
	r.run.One.CPU = cpus[len(cpus)/2].Seconds()
	r.run.One.Lines = r.linesOfOne(lines, sent, len(delays))
	r.logf("p50 %.4f s, p99 %.4f s, CPU %.4f s each", r.run.One.P50, r.run.One.P99, r.run.One.CPU)
	return nil
}

func newChanges(rate float64, delays measure.Sample, took time.Duration) *report.Changes {
	return &report.Changes{
		Rate: rate, Count: len(delays), Seconds: took.Seconds(),
		P50: delays.Percentile(50).Seconds(), P99: delays.Percentile(99).Seconds(),
	}
}

// lines is what the program says of lines it has written; see linesOfOne.
func (r *runner) lines(ctx context.Context) (float64, error) {
	counters, err := r.process.Counters(ctx)
	if err != nil {
		return 0, err
	}
	if written := r.written(counters); written != nil {
		return *written, nil
	}
	return counters["kubeproxy_sync_proxy_rules_iptables_last"], nil
}

// linesOfOne are the lines of one of n changes: kube-proxier counts all it has
// written, kube-proxy tells, in iptables mode, of the last pass.
func (r *runner) linesOfOne(before, after float64, n int) *float64 {
	switch {
	case r.Kind.Program == subject.Ours:
		return new((after - before) / float64(n))
	case r.Kind.Mode == subject.IPTables:
		return &after
	}
	return nil
}

// leastFollowed is how many changes are followed at each rate, even if that takes
// longer than Effort.Churn.
const leastFollowed = 5

// churn replaces endpoints of random Services at a rate, and meanwhile follows
// those of the probe.
func (r *runner) churn(ctx context.Context, rate int) (*report.Changes, error) {
	before, err := r.settle(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	following, done := context.WithCancel(ctx)
	defer done()
	group.Go(func() error { return r.changeOthers(following, rate) })
	var delays measure.Sample
	group.Go(func() error {
		defer done()
		for time.Since(start) < r.Effort.Churn || len(delays) < leastFollowed {
			delay, err := r.follow(ctx)
			if err != nil {
				return err
			}
			delays = append(delays, delay)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, err := r.cgroup.CPU()
	if err != nil {
		return nil, err
	}
	changes := newChanges(float64(rate), delays, took)
	changes.CPU = (after - before).Seconds() / took.Seconds()
	r.logf("p50 %.3f s, p99 %.3f s, %.0f %% of a processor", changes.P50, changes.P99, 100*changes.CPU)
	return changes, nil
}

// changeOthers replaces an endpoint of a random Service, rate times per second,
// until ctx ends.
func (r *runner) changeOthers(ctx context.Context, rate int) error {
	if r.Size.Services < 2 {
		return nil
	}
	random := rand.New(rand.NewPCG(seed, uint64(rate))) //nolint:gosec // a small positive number
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := r.cluster.Replace(ctx, 1+random.IntN(r.Size.Services-1)); err != nil && ctx.Err() == nil {
			return err
		}
	}
}
