package main

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/kube-proxier/kube-proxier/iptables"
	"github.com/kube-proxier/kube-proxier/proxier"
	"github.com/kube-proxier/kube-proxier/proxier/config"
)

// A resident is what lives as long as the process, while one configuration
// follows the other: the objects, this host's tools, and all who are told how
// things go.
type resident struct {
	logger  klog.Logger
	objects *objectSource
	store   *proxier.Store
	tools   []*iptables.Tool
	node    nodeEvents
	// healthy and measured are nil in a dry run.
	healthy  *healthService
	measured *metricsService
	// reporters are those of each family.
	reporters map[proxier.Family]proxier.Reporter
	// inForce is the configuration of the generation that serves.
	inForce atomic.Pointer[config.Config]
	// setNodeParameters is that function, but for tests; parametersOf are whose
	// parameters were set last.
	setNodeParameters func(klog.Logger, *config.Config) error
	parametersOf      *config.Config
	withoutNetRaw     sync.Once // that it is missing was said

	dryRun   bool
	out      io.Writer
	printing sync.Mutex
}

// newResident finds what has to be there whatever the configuration says later.
// It writes nothing.
func (d *daemon) newResident(ctx context.Context, c *config.Config, in io.Reader, out io.Writer) (*resident, error) {
	logger := klog.FromContext(ctx)
	objects, err := newSource(c, d.manifests, in)
	if err != nil {
		return nil, err
	}
	tools, without, err := findServing(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range without {
		logger.Info("One IP family is left out", "reason", err)
	}
	r := &resident{
		logger: logger, objects: objects, store: proxier.NewStore(), tools: tools,
		reporters: map[proxier.Family]proxier.Reporter{}, setNodeParameters: setNodeParameters, dryRun: d.dryRun, out: out,
	}
	r.inForce.Store(c)
	var recorder record.EventRecorder
	if objects.client != nil && !d.dryRun {
		recorder = startEvents(ctx, objects.client.Events, c.NodeName)
	}
	r.node = nodeEvents{recorder, c.NodeName}
	if !d.dryRun {
		r.healthy = newHealthService(logger, c, r.store, r.node, objects.client == nil)
		r.measured = newMetricsService(logger, r.inForce.Load, r.store, r.node, r.healthy)
		if objects.contact != nil {
			r.healthy.pages.Status.APILost = objects.contact.Lost
			r.measured.ObserveAPI(objects.contact.Lost)
		}
		if objects.manifests != nil {
			r.healthy.pages.Status.ManifestProblems = objects.manifests.Problems
			r.measured.ObserveManifests(objects.manifests.Problems)
		}
	}
	memory := newMemoryReporter(tools)
	for _, tool := range tools {
		r.healthy.add(tool.Family)
		r.reporters[tool.Family] = reporters{
			newReporter(logger, recorder, c.NodeName), r.healthy.reporter(), r.measured.reporter(tool.Family), memory,
		}
	}
	return r, nil
}

// progress is told of the passes over a family as a whole; nobody is in a dry
// run.
func (r *resident) progress(family proxier.Family) proxier.Progress {
	if r.dryRun {
		return nil
	}
	return progresses{r.healthy.progress(family), r.measured}
}

// progresses tell several of each pass.
type progresses []proxier.Progress

// Due tells each.
func (ps progresses) Due(family proxier.Family) {
	for _, p := range ps {
		p.Due(family)
	}
}

// Done tells each.
func (ps progresses) Done(state *proxier.State, refused []proxier.Refusal, err error) {
	for _, p := range ps {
		p.Done(state, refused, err)
	}
}
