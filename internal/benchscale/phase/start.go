package phase

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/kube-proxier/kube-proxier/internal/benchscale/load"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/measure"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/report"
	"github.com/kube-proxier/kube-proxier/internal/benchscale/subject"
)

// seed makes runs alike.
const seed = 1

// launch starts the program and returns when, and the CPU time used before.
func (r *runner) launch() (time.Time, time.Duration, error) {
	before, err := r.cgroup.CPU()
	if err != nil {
		return time.Time{}, 0, err
	}
	start := time.Now()
	r.process, err = subject.Start(r.setting)
	return start, before, err
}

// start starts the program with nothing in the kernel.
func (r *runner) start(ctx context.Context) error {
	start, before, err := r.launch()
	if err != nil {
		return err
	}
	served, err := r.awaitServed(ctx, r.inRandomOrder())
	if err != nil {
		return err
	}
	cpu, err := r.cgroup.CPU()
	if err != nil {
		return err
	}
	if err := r.awaitSync(ctx); err != nil {
		return err
	}
	settled, err := r.settle(ctx)
	if err != nil {
		return err
	}
	r.run.Start = &report.Start{
		Served: served.Sub(start).Seconds(), CPU: (cpu - before).Seconds(), Settled: (settled - before).Seconds(),
	}
	r.logf("served after %.2f s, CPU %.2f s, %.2f s until settled", r.run.Start.Served, r.run.Start.CPU, r.run.Start.Settled)
	return nil
}

// inRandomOrder are the frontends of all Services, so that those looked at first
// are not those that a program serves first.
func (r *runner) inRandomOrder() []netip.AddrPort {
	var all []netip.AddrPort
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(r.Size.Services) {
		all = append(all, load.Frontend(i))
	}
	return all
}

// awaitSync waits until the program says that a pass has succeeded.
func (r *runner) awaitSync(ctx context.Context) error {
	for start := time.Now(); !r.process.Synced(ctx); {
		if err := r.process.Ended(); err != nil {
			return err
		}
		if err := pause(ctx, 50*time.Millisecond, start); err != nil {
			return fmt.Errorf("no pass has succeeded: %w", err)
		}
	}
	return nil
}

// idle watches the program while nothing changes.
func (r *runner) idle(ctx context.Context) error {
	before, err := r.cgroup.CPU()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := pause(ctx, r.Effort.Idle, start); err != nil {
		return err
	}
	after, err := r.cgroup.CPU()
	if err != nil {
		return err
	}
	memory, err := r.process.Memory()
	if err != nil {
		return err
	}
	const mib = 1 << 20
	r.run.Idle = &report.Idle{Seconds: time.Since(start).Seconds(), CPU: (after - before).Seconds()}
	r.run.Memory = &report.Memory{Steady: float64(memory.Resident) / mib, Peak: float64(memory.Peak) / mib}
	r.logf("CPU %.3f s, resident %.0f MiB, peak %.0f MiB", r.run.Idle.CPU, r.run.Memory.Steady, r.run.Memory.Peak)
	return nil
}

// restart ends the program and starts it again with the kernel already right.
func (r *runner) restart(ctx context.Context) error {
	if _, err := r.settle(ctx); err != nil {
		return err
	}
	if err := r.process.Stop(); err != nil {
		return err
	}
	start, before, err := r.launch()
	if err != nil {
		return err
	}
	if err := r.awaitSync(ctx); err != nil {
		return err
	}
	synced := time.Since(start)
	settled, err := r.settle(ctx)
	if err != nil {
		return err
	}
	counters, err := r.process.Counters(ctx)
	if err != nil {
		return err
	}
	r.run.Restart = &report.Restart{Synced: synced.Seconds(), CPU: (settled - before).Seconds(), Written: r.written(counters)}
	r.logf("synced after %.2f s, CPU %.2f s", r.run.Restart.Synced, r.run.Restart.CPU)
	return nil
}

// written is how much the program has written since its start; nil if it does not
// tell. kube-proxy does not count what it writes in a start.
func (r *runner) written(c measure.Counters) *float64 {
	if r.Kind.Program != subject.Ours {
		return nil
	}
	return new(c["kubeproxier_chains_written_total"] + c["kubeproxier_rules_written_total"] + c["kubeproxier_chains_deleted_total"])
}
