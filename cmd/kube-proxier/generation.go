package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/ipvs/mode"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
	"github.com/kube-proxier/kube-proxier/proxier/traffic"
)

// A generation is what one configuration makes of this host: its dataplanes and
// the Reconcilers that drive them. One comes after the other, on the same Store,
// as a process comes after the one before: the first pass reads the kernel, and
// changes only what is not right. So a new mode serves before the old one is
// removed.
type generation struct {
	config      *config.Config
	host        *host
	reconcilers []*proxier.Reconciler
	// watch begins to watch for drift, for each Reconciler.
	watch []func()
	// pollers count the traffic of Services, where that is asked for.
	pollers map[proxier.Family]*traffic.Poller

	// life ends with the generation.
	life    context.Context
	cancel  context.CancelFunc
	stop    chan struct{}
	running sync.WaitGroup
	// stopCounting ends the pollers.
	stopCounting context.CancelFunc
}

// prepare makes all that can fail, while another generation may serve. Nothing that
// stays is written yet.
func (r *resident) prepare(ctx context.Context, c *config.Config) (*generation, error) {
	g := &generation{config: c, stop: make(chan struct{})}
	g.life, g.cancel = context.WithCancel(ctx)
	if err := r.furnish(g); err != nil {
		g.discard()
		return nil, err
	}
	return g, nil
}

func (r *resident) furnish(g *generation) (err error) {
	if g.host, err = newHost(g.life, g.config); err != nil {
		return err
	}
	for _, tool := range r.tools {
		reconciler, err := r.newReconciler(g, tool)
		if err != nil {
			return err
		}
		g.reconcilers = append(g.reconcilers, reconciler)
	}
	if g.config.Traffic.Counted && !r.dryRun {
		g.pollers = r.newPollers(g)
	}
	if err = g.host.prepare(g.life, r.tools); err != nil || r.dryRun {
		return err
	}
	return g.host.checkRequired(r.tools)
}

// require sets what the mode cannot do without, after prepare and before adopt.
func (r *resident) require(g *generation) error {
	if r.dryRun {
		return nil
	}
	return g.host.setRequired(g.life, r.tools)
}

func (r *resident) newReconciler(g *generation, tool *iptables.Tool) (*proxier.Reconciler, error) {
	tool = tool.Clone() // for the sentries of this generation
	dataplanes, err := g.host.dataplanes(g.life, tool)
	if err != nil {
		return nil, err
	}
	c := g.config
	reconciler := &proxier.Reconciler{
		Store:      r.store,
		Options:    c.Options(tool.Family),
		Dataplanes: dataplanes,
		Followers:  g.host.followers(tool),
		Reporter:   r.reporters[tool.Family],
		Pacer:      proxier.Pacer{MinInterval: c.MinSyncPeriod, MaxBackoff: c.SyncPeriod, Resync: c.SyncPeriod, CPUTime: cpuTime},
		Progress:   r.progress(tool.Family),
	}
	g.watch = append(g.watch, func() { r.watchForDrift(g.host, reconciler, tool) })
	if r.dryRun {
		reconciler.DryRun = func(dataplane string, plan proxier.Plan) {
			if _, ok := plan.(mode.OtherTurn); ok {
				return
			}
			r.printing.Lock()
			defer r.printing.Unlock()
			printPlan(r.out, tool.Family, dataplane, plan)
		}
	}
	return reconciler, nil
}

// watchForDrift comes when no other generation writes any more: that would be
// somebody else.
func (r *resident) watchForDrift(h *host, reconciler *proxier.Reconciler, tool *iptables.Tool) {
	if r.dryRun {
		return
	}
	reconciler.Sentries = h.sentries(tool)
	reconciler.SentryFailed = func(_ proxier.Sentry, err error) { r.driftUnwatched(tool, err) }
}

// driftUnwatched says that what others change is only found at the sync period.
func (r *resident) driftUnwatched(tool *iptables.Tool, err error) {
	r.logger.Error(err, "What others change is not noticed at once; it is found by the comparison at each sync period", "tool", tool)
}

// adopt lets a generation serve. No other one may.
func (r *resident) adopt(g *generation) {
	r.inForce.Store(g.config)
	r.healthy.begin(g.config)
	r.measured.begin(g.pollers)
	heedOtherNodes(r.store, g.config)
	r.setParameters(g)
	g.host.parametersAreSet()
	counting, stopCounting := context.WithCancel(g.life)
	g.stopCounting = stopCounting
	for _, poller := range g.pollers {
		g.running.Go(func() { poller.Run(counting) })
	}
	for _, watch := range g.watch {
		watch()
	}
	for _, reconciler := range g.reconcilers {
		g.running.Go(func() { _ = reconciler.RunUntil(g.life, g.stop) }) // only ever the end of its context
	}
}

// setParameters sets what is set once, and again when the configuration of it
// changes. Services are served without what cannot be set, too.
func (r *resident) setParameters(g *generation) {
	c, before := g.config, r.parametersOf
	r.parametersOf = c
	if before == nil || before.Conntrack != c.Conntrack || before.OOMScoreAdj != c.OOMScoreAdj {
		if r.dryRun {
			printNodeParameters(r.out, c)
		} else if err := r.setNodeParameters(r.logger, c); err != nil {
			r.node.warning("KernelParametersNotSet", "%.900v", err)
		}
	}
	if r.dryRun {
		return
	}
	if err := g.host.setTimeouts(r.tools); err != nil {
		r.logger.Error(err, "Cannot set a kernel parameter")
		r.node.warning("KernelParametersNotSet", "%.900v", err)
	}
}

// await waits until the generation has ended with its context.
func (g *generation) await() {
	g.running.Wait()
	g.discard()
}

// lastPass is how long a pass may go on that is being made when its generation
// ends. A full load of a very large cluster takes half of it.
const lastPass = time.Minute

// end lets the passes end that are being made, so that nobody is killed half way
// through a write; but not for longer than lastPass. Nothing is written by this
// generation afterwards.
func (g *generation) end() (err error) {
	close(g.stop)
	g.stopCounting()
	timer := time.AfterFunc(lastPass, g.cancel)
	g.running.Wait()
	if !timer.Stop() {
		err = errors.New("the last pass under the former configuration was cut off: it took longer than " + lastPass.String())
	}
	g.discard()
	return err
}

// discard releases what a generation holds that does not run.
func (g *generation) discard() {
	g.cancel()
	if g.host != nil {
		g.host.close()
	}
}
